"""
Tests for L{socketd.cli.screen}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.screen import Screen
from tests.cli.support import MemoryOutput


class ScreenTests(SynchronousTestCase):
    """
    Tests for L{Screen}.
    """

    def setUp(self) -> None:
        self.output = MemoryOutput()
        self.screen = Screen(self.output, prompts=True, encoding="utf-8")

    def test_prompt_once(self) -> None:
        """
        A prompt that is still to be seen is not written again.
        """
        self.screen.prompt()
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: ")

    def test_prompt_after_line(self) -> None:
        """
        The line end that the user typed brings the next prompt to the start of a line.
        """
        self.screen.prompt()
        self.screen.line_typed()
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: >>: ")

    def test_prompt_after_answer(self) -> None:
        """
        The prompt comes on a line of its own.
        """
        self.screen.show(b"hel", False)
        self.screen.show(b"lo", False)
        self.screen.prompt()
        self.assertEqual(self.output.data, b"hello\n>>: ")

    def test_answer_over_prompt(self) -> None:
        """
        An answer that comes while the prompt is shown begins on a line of its own.
        """
        self.screen.prompt()
        self.screen.show(b"news\n", False)
        self.screen.prompt()
        self.assertEqual(self.output.data, b">>: \nnews\n>>: ")

    def test_messages_on_lines(self) -> None:
        """
        Each message begins on a line of its own, and takes nothing of the one before.
        """
        self.screen.show(b"one\xe2", True)
        self.screen.show(b"\x82two\n", True)
        self.screen.show(b"three", True)
        self.assertEqual(self.output.data, b"one\\xe2\n\\x82two\nthree")

    def test_without_prompts(self) -> None:
        """
        Nothing but the answers is written where nobody types.
        """
        screen = Screen(self.output, prompts=False, encoding="utf-8")
        screen.prompt()
        screen.line_typed()
        screen.show(b"answer", False)
        screen.prompt()
        screen.close()
        self.assertEqual(self.output.data, b"answer\n")

    def test_close(self) -> None:
        """
        In the end half a character is shown escaped, and the line is ended once.
        """
        self.screen.show(b"\xe2\x82", False)
        self.screen.close()
        self.screen.close()
        self.assertEqual(self.output.data, b"\\xe2\\x82\n")

    def test_poor_encoding(self) -> None:
        """
        A terminal that lacks a character gets its escape.
        """
        Screen(self.output, prompts=False, encoding="ascii").show("\u20ac".encode(), False)
        self.assertEqual(self.output.data, b"\\u20ac")

    def test_encoding_of_standard_output(self) -> None:
        """
        Without being told, the screen writes what standard output understands.
        """
        Screen(self.output, prompts=False).show(b"plain", False)
        self.assertEqual(self.output.data, b"plain")
