"""Tests for L{socketd.terminal}: the prompt line, the device and the addressee."""

from __future__ import annotations

import os
import pty
import termios

from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.terminal.addressee import REACTION, Addressee
from socketd.terminal.device import Keys
from socketd.terminal.line_editor import columns
from socketd.terminal.prompt_line import PromptLine
from tests.support.client_fakes import Paper

WIDTH = 30
"""
The columns of the terminal here.
"""


class PromptLineTests(SynchronousTestCase):
    """Tests for L{PromptLine}."""

    def setUp(self) -> None:
        self.paper = Paper(WIDTH)
        self.line = PromptLine(self.paper.write, lambda: WIDTH)

    def test_cursor(self) -> None:
        """The cursor stands where is typed, behind a change, too."""
        self.line.prompt = "> "
        self.assertEqual(list(self.line.take(b"hello\x02\x02\x7f")), [])
        self.assertEqual((self.paper.last, self.paper.column), ("> helo", 4))
        self.line.show("one\ntwo")
        self.assertEqual((self.paper.last, self.paper.column), ("> helo", 4))
        self.assertEqual(["".join(line).rstrip() for line in self.paper.lines[:2]], ["one", "two"])

    def test_long_prompt(self) -> None:
        """A prompt that is too long leaves room to type."""
        self.line.prompt = "input the word for ack 123456 (192.0.2.1:50000):"
        list(self.line.take(b"hello"))
        self.assertEqual(self.paper.last, "input the word forhello")

    def test_wide(self) -> None:
        """A line of wide characters that is entered is cut to the columns that there are."""
        self.line.prompt = "> "
        word = "\u5b57" * WIDTH
        self.assertEqual(list(self.line.take(f"{word}\r".encode())), [word])
        shown = "".join(self.paper.lines[0])
        self.assertEqual(shown.count("\u5b57"), (WIDTH - len("> ") - 1) // 2)

    def test_held(self) -> None:
        """A terminal that takes nothing gets nothing, and all that counts later."""
        self.line.is_held = True
        self.line.show("event")
        self.assertEqual(list(self.line.take(b"one\rtw")), ["one"])
        self.assertEqual(self.paper.last, "")
        self.line.is_held = False
        self.line.draw()
        self.assertEqual(self.paper.last, "tw")

    @given(some.lists(some.one_of(
        some.binary(max_size=8),
        some.sampled_from([b"\x1b[D", b"\x1b[C", b"\x01", b"\x05", b"\x17", b"\r", b"\x1b[A"]),
        some.text(max_size=40).map(str.encode),
    ), max_size=12))  # fmt: skip
    def test_anything(self, pieces: list[bytes]) -> None:
        """
        Whatever is typed, what stands there is the prompt and what is typed, as far as it fits.
        """
        paper = Paper(WIDTH)
        line = PromptLine(paper.write, lambda: WIDTH)
        line.prompt = "go: "
        for number, piece in enumerate(pieces):
            list(line.take(piece))
            if number % 3 == 2:
                line.show("event")
            text = line._editor.window(WIDTH - 5)[0]
            if any(columns(character) != 1 for character in text):
                continue  # the paper here has one column for each character
            self.assertEqual(paper.last, f"go: {text}".rstrip(" "))


class KeysTests(SynchronousTestCase):
    """Tests for L{Keys}."""

    def setUp(self) -> None:
        self.keyboard, self.screen = pty.openpty()
        self.addCleanup(os.close, self.keyboard)

    def test_mode(self) -> None:
        """The terminal hands over keys and shows none, and is then as it was; twice is as once."""
        keys = Keys(self.screen)
        before = termios.tcgetattr(self.screen)
        for _ in range(2):
            keys.take()
        local = termios.tcgetattr(self.screen)[3]
        self.assertFalse(local & (termios.ECHO | termios.ICANON))
        self.assertTrue(local & termios.ISIG)
        for _ in range(2):
            keys.give_back()
        self.assertEqual(termios.tcgetattr(self.screen), before)
        os.close(self.screen)

    def test_gone(self) -> None:
        """A terminal that is gone meanwhile needs nothing."""
        keys = Keys(self.screen)
        keys.take()
        os.close(self.screen)
        keys.give_back()


class AddresseeTests(SynchronousTestCase):
    """Tests for L{Addressee}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.changes: list[float] = []
        self.addressee: Addressee[str] = Addressee(
            self.clock, lambda: self.changes.append(self.clock.seconds())
        )

    def test_oldest(self) -> None:
        """It is the one that waits the longest; behind an entered line, the next."""
        self.addressee.update(["a", "b"], False)
        self.assertEqual(self.addressee.enter(), ("a", False))
        self.addressee.update(["b"], False)
        self.assertEqual((self.addressee.current, self.addressee.is_gone), ("b", False))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_begun(self) -> None:
        """It stays while a line is begun, be it none."""
        self.addressee.update(["a"], True)
        self.assertEqual(self.addressee.enter(), (None, False))
        self.addressee.update(["a"], False)
        self.addressee.update(["b"], True)
        self.clock.advance(10 * REACTION)
        self.addressee.update(["b"], True)
        self.assertEqual(self.addressee.enter(), ("a", True))

    def test_gone(self) -> None:
        """One that has gone is replaced when there was time to see that, which is told."""
        self.addressee.update(["a", "b"], False)
        self.addressee.update(["b"], False)
        self.assertEqual((self.addressee.current, self.addressee.is_gone), ("a", True))
        self.clock.advance(REACTION)
        self.assertEqual(self.changes, [REACTION])
        self.addressee.update(["b"], False)
        self.assertEqual((self.addressee.current, self.addressee.is_gone), ("b", False))

    def test_come_back(self) -> None:
        """One that asks again is asked anew: the line was meant for its first question."""
        self.addressee.update(["a"], False)
        self.addressee.update([], True)
        self.addressee.update(["a"], True)
        self.assertEqual(self.addressee.enter(), ("a", True))
        self.assertEqual(self.clock.getDelayedCalls(), [])
