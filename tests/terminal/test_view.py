"""Tests for L{socketd.terminal.view}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.text import columns
from socketd.terminal.view import MAX_LINE, PlainView, PromptLine
from tests.support.client_fakes import Paper

#: The columns of the terminal here.
WIDTH = 30


class PromptLineTests(SynchronousTestCase):
    """Tests for L{PromptLine}."""

    def setUp(self) -> None:
        self.paper = Paper(WIDTH)
        self.line = PromptLine(self.paper.write, lambda: WIDTH)

    def test_cursor(self) -> None:
        """The cursor stands where is typed, behind a change, too."""
        self.line.prompt = "> "
        self.assertEqual(list(self.line.feed(b"hello\x02\x02\x7f")), [])
        self.assertEqual((self.paper.last, self.paper.column), ("> helo", 4))
        self.line.show("one\ntwo")
        self.assertEqual((self.paper.last, self.paper.column), ("> helo", 4))
        self.assertEqual(["".join(line).rstrip() for line in self.paper.lines[:2]], ["one", "two"])

    def test_long_prompt(self) -> None:
        """A prompt that is too long leaves room to type."""
        self.line.prompt = "input the word for ack 123456 (192.0.2.1:50000):"
        list(self.line.feed(b"hello"))
        self.assertEqual(self.paper.last, "input the word forhello")

    def test_wide(self) -> None:
        """A line of wide characters that is entered is cut to the columns that there are."""
        self.line.prompt = "> "
        word = "\u5b57" * WIDTH
        self.assertEqual(list(self.line.feed(f"{word}\r".encode())), [word])
        shown = "".join(self.paper.lines[0])
        self.assertEqual(shown.count("\u5b57"), (WIDTH - len("> ") - 1) // 2)

    def test_held(self) -> None:
        """A terminal that takes nothing gets nothing, and all that counts later."""
        self.line.is_held = True
        self.line.show("event")
        self.assertEqual(list(self.line.feed(b"one\rtw")), ["one"])
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
            list(line.feed(piece))
            if number % 3 == 2:
                line.show("event")
            text = line._editor.window(WIDTH - 5)[0]
            if any(columns(character) != 1 for character in text):
                continue  # the paper here has one column for each character
            self.assertEqual(paper.last, f"go: {text}".rstrip(" "))


class PlainViewTests(SynchronousTestCase):
    """Tests for L{PlainView}."""

    def setUp(self) -> None:
        self.written: list[str] = []
        self.view = PlainView(self.written.append)

    def test_lines(self) -> None:
        """Bytes that are no text come back as they were; a line may come in pieces."""
        self.assertEqual(list(self.view.feed(b"one\r\n\xff \ntw")), ["one", "\udcff "])
        self.assertTrue(self.view.is_begun)
        self.assertEqual(list(self.view.feed_eof()), ["tw"])
        self.assertFalse(self.view.is_begun)
        self.assertEqual(list(self.view.feed_eof()), [])

    def test_too_long(self) -> None:
        """A line that is too long is not used, which is said once."""
        self.assertEqual(list(self.view.feed(b"x" * MAX_LINE + b"\n")), ["x" * MAX_LINE])
        for piece in (b"x" * MAX_LINE, b"x" * MAX_LINE):
            self.assertEqual(list(self.view.feed(piece)), [])
        self.assertEqual(list(self.view.feed(b"\nnext\n")), ["next"])
        self.assertEqual(len(self.written), 1)

    def test_held(self) -> None:
        """What takes nothing gets nothing; the prompt comes later."""
        self.view.is_held = True
        self.view.prompt = "go:"
        self.view.show("event")
        self.view.is_held = False
        self.view.draw()
        self.view.show("event")
        self.assertEqual("".join(self.written), "go:\nevent\ngo:")
