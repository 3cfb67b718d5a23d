"""Tests for L{socketd.cli.client.screen}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.chat import LineDialog
from socketd.cli.client.screen import EditedScreen, Screen
from socketd.common.errors import CommandError
from tests.support.client_fakes import MemoryInput, MemoryOutput, MemoryTransport


class ScreenTests(SynchronousTestCase):
    """Tests for L{Screen}."""

    def setUp(self) -> None:
        self.output = MemoryOutput()
        self.screen = Screen(self.output, prompts=True, encoding="utf-8")

    def test_prompt_once(self) -> None:
        """A prompt that is still to be seen is not written again."""
        self.screen.prompt()
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: ")

    def test_prompt_after_line(self) -> None:
        """The line end that the user typed brings the next prompt to the start of a line."""
        self.screen.prompt()
        self.screen.line_typed()
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: >>: ")

    def test_prompt_after_answer(self) -> None:
        """The prompt comes on a line of its own."""
        self.screen.show(b"hel", False)
        self.screen.show(b"lo", False)
        self.screen.prompt()
        self.assertEqual(self.output.data, b"hello\n>>: ")

    def test_answer_over_prompt(self) -> None:
        """An answer that comes while the prompt is shown begins on a line of its own."""
        self.screen.prompt()
        self.screen.show(b"news\n", False)
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: \nnews\n>>: ")

    def test_messages_on_lines(self) -> None:
        """Each message begins on a line of its own, and takes nothing of the one before."""
        self.screen.show(b"one\xe2", True)
        self.screen.show(b"\x82two\n", True)
        self.screen.show(b"three", True)
        self.assertEqual(self.output.data, b"one\\xe2\n\\x82two\nthree")

    def test_without_prompts(self) -> None:
        """Without a terminal only the replies are written."""
        screen = Screen(self.output, prompts=False, encoding="utf-8")
        screen.prompt()
        screen.line_typed()
        screen.show(b"answer", False)
        screen.prompt()
        screen.close()
        self.assertEqual(self.output.data, b"answer\n")

    def test_split_anywhere(self) -> None:
        """Characters come out whole wherever the bytes are cut."""
        data = "gr\u00fc\u00df \u6642 \U0001f600".encode()
        for cut in range(len(data) + 1):
            output = MemoryOutput()
            screen = Screen(output, prompts=False, encoding="utf-8")
            screen.show(data[:cut], False)
            screen.show(data[cut:], False)
            self.assertEqual(output.data, data)

    def test_close(self) -> None:
        """
        What is no UTF-8 is shown escaped, half a character in the end too, and the line is
        ended once.
        """
        self.screen.show(b"a\xffb\xe2\x82", False)
        self.screen.close()
        self.screen.close()
        self.assertEqual(self.output.data, b"a\\xffb\\xe2\\x82\n")

    def test_poor_encoding(self) -> None:
        """A terminal that lacks a character gets its escape."""
        Screen(self.output, prompts=False, encoding="ascii").show("\u20ac".encode(), False)
        self.assertEqual(self.output.data, b"\\u20ac")

    def test_encoding_of_standard_output(self) -> None:
        """The default encoding is that of standard output."""
        Screen(self.output, prompts=False).show(b"plain", False)
        self.assertEqual(self.output.data, b"plain")


class EditedTests(SynchronousTestCase):
    """Tests for L{EditedScreen}, in a dialog."""

    def setUp(self) -> None:
        self.output, self.keys, self.clock = MemoryOutput(), MemoryInput(True), Clock()
        self.screen = EditedScreen(self.output, lambda: 40, "utf-8")
        self.transport = MemoryTransport()
        self.dialog = LineDialog(self.clock, self.keys, self.screen, self.output, 1.0, False)
        self.transport.connect(self.dialog)

    def test_edited(self) -> None:
        """A line is edited, and sent when it is entered; earlier ones come back."""
        self.assertEqual(self.output.take(), b">>: ")
        self.keys.feed(b"helo\x1b[Dl\r")
        self.assertEqual(self.transport.sent, [b"hello"])
        self.assertTrue(self.output.take().endswith(b"hello\n"))
        self.assertTrue(self.keys.is_paused)
        self.dialog.dataReceived(b"HELLO")
        self.clock.advance(1)
        self.assertEqual(self.output.take(), b"HELLO\n>>: ")
        self.keys.feed(b"\x1b[A\r")
        self.assertEqual(self.transport.sent, [b"hello"] * 2)

    def test_answer_meanwhile(self) -> None:
        """What comes while a line is typed is shown above it."""
        self.keys.feed(b"half")
        self.assertEqual(self.output.take(), b">>: half")
        self.dialog.dataReceived(b"news")
        erased = b"\r" + b" " * 8 + b"\r"
        self.assertEqual(self.output.take(), erased + b"news\n>>: half")
        self.keys.feed(b" done\r")
        self.assertEqual(self.transport.sent, [b"half done"])

    def test_typed_ahead(self) -> None:
        """Lines that are pasted are sent one after the other, behind each answer."""
        self.keys.feed(b"one\rtwo\rthr")
        self.assertEqual(self.transport.sent, [b"one"])
        self.assertEqual(self.output.take(), b">>: one\n")
        self.dialog.dataReceived(b"1")
        self.clock.advance(1)
        self.assertEqual(self.transport.sent, [b"one", b"two"])
        self.dialog.dataReceived(b"2")
        self.clock.advance(1)
        self.assertEqual(self.output.take(), b"1\n2\n>>: thr")

    def test_end(self) -> None:
        """Ctrl-D on an empty line is the end, and the prompt is taken away."""
        self.keys.feed(b"\x04")
        self.assertEqual(self.transport.calls, ["end"])
        self.assertEqual(self.output.take(), b">>: \r    \r")

    def test_failed(self) -> None:
        """A terminal that is gone, or at its end, ends the dialog."""
        receiver = self.keys.receiver
        assert receiver is not None
        receiver.input_failed(CommandError("standard input: Input/output error"))
        self.assertEqual(self.transport.calls, ["abort"])
        self.setUp()
        self.keys.end()
        self.assertEqual(self.transport.calls, ["end"])
