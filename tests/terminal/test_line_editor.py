"""Tests for L{socketd.terminal.line_editor}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.terminal.line_editor import MAX_HISTORY, MAX_TEXT, Editor

UP, DOWN, RIGHT, LEFT = (f"\x1b[{letter}" for letter in "ABCD")
WORDS = ("status", "services", "show")


class EditorTests(SynchronousTestCase):
    """Tests for L{Editor}."""

    def setUp(self) -> None:
        self.editor = Editor(lambda before: [w for w in WORDS if w.startswith(before)])

    def type(self, text: str) -> list[str]:
        """Type text."""
        return list(self.editor.feed(text.encode()))

    def line(self, keys: str) -> str:
        """Type keys and Enter; say which line that is."""
        (found,) = self.type(keys + "\r")
        return found

    def test_keys(self) -> None:
        """Each key does what it does in a shell."""
        expected = {
            "hello": "hello",
            "": "",
            "größer 長い": "größer 長い",
            "helo\x1b[Dl": "hello",
            "ello\x01h\x05!": "hello!",
            "ello\x1b[Hh\x1b[F!": "hello!",
            "hellx\x7fo": "hello",
            "xhello\x01\x04": "hello",
            "xhello\x01\x1b[3~": "hello",
            "hello there\x17": "hello ",
            "hello there\x1b\x7f": "hello ",
            "one two\x1bb\x1bbx": "xone two",
            "one two\x01\x1bf\x1b[1;5Cx\x1b[1;5Dy": "one ytwox",
            "one two\x01\x1bd": " two",
            "hello  \x17x": "x",
            "hello\x15bye": "bye",
            "hello\x02\x02\x0b": "hel",
            "\x7f\x7f\x08a": "a",
            f"{LEFT}{RIGHT}ab{LEFT}{LEFT}{LEFT}c": "cab",
            "a\x1b[15~b\x1b[1;5Cc\x07\x00": "abc",
        }
        self.assertEqual({keys: self.line(keys) for keys in expected}, expected)

    def test_history(self) -> None:
        """Earlier lines come back, and the one that was begun, too."""
        for line in ("one", "two", "two", "  "):
            self.line(line)
        self.type("begun" + UP)
        self.assertEqual(self.editor.text, "two")
        self.type(UP + UP + UP)
        self.assertEqual(self.editor.text, "one")
        self.type(DOWN + DOWN + DOWN)
        self.assertEqual(self.editor.text, "begun")

    def test_search(self) -> None:
        """Page Up and Page Down bring back lines that begin with what is before the cursor."""
        for line in ("show 1", "status", "show 2", "show 3"):
            self.line(line)
        for keys, text in (
            ("sh\x1b[5~", "show 3"),
            ("\x1b[5~\x1b[5~\x1b[5~", "show 1"),
            ("\x1b[6~", "show 2"),
            ("\x1b[6~\x1b[6~\x1b[6~", "sh"),
            ("x\x1b[5~", "shx"),
        ):
            self.type(keys)
            self.assertEqual(self.editor.text, text)
            self.assertEqual(self.editor.cursor, len("shx" if "x" in text else "sh"))

    def test_history_is_bounded(self) -> None:
        """The oldest lines are forgotten."""
        for number in range(MAX_HISTORY + 10):
            self.line(f"line {number}")
        self.assertEqual(self.line(UP * (MAX_HISTORY + 100)), "line 10")

    def test_completion(self) -> None:
        """Tab adds what all that fits has in common, and a space behind the only one."""
        for keys, text in (("st\t", "status "), ("s\t", "s"), ("se\t", "services "), ("x\t", "x")):
            self.assertEqual(self.line(keys), text)

    def test_pieces(self) -> None:
        """A character or a key in pieces is the same as in one."""
        lines: list[str] = []
        for byte in f"größer{LEFT}x\r".encode():
            lines += self.editor.feed(bytes([byte]))
        self.assertEqual(lines, ["größexr"])

    def test_several_lines(self) -> None:
        """What is pasted is several lines, and the rest of the last one stays."""
        self.assertEqual(self.type("one\ntwo\nthr"), ["one", "two"])
        self.assertEqual((self.editor.text, self.editor.cursor), ("thr", 3))

    def test_end(self) -> None:
        """Ctrl-D ends on an empty line only."""
        self.type("a\x04")
        self.assertFalse(self.editor.has_ended)
        self.type("\x7f\x04")
        self.assertTrue(self.editor.has_ended)

    def test_long(self) -> None:
        """A line takes no more than the daemon would."""
        self.type("x" * (MAX_TEXT + 100))
        self.assertEqual(len(self.editor.text), MAX_TEXT)

    @given(some.lists(some.binary(max_size=20), max_size=10))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever is typed, the line is printable and the cursor in it."""
        editor = Editor(lambda before: WORDS)
        for piece in pieces:
            for line in editor.feed(piece):
                self.assertTrue(line.isprintable())
            self.assertTrue(editor.text.isprintable())
            self.assertTrue(0 <= editor.cursor <= len(editor.text))
            self.assertLess(len(editor._rest), 20)
