"""Tests for L{socketd.common.text}."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.text import (
    SHOWN_BYTES,
    ascii_line,
    columns,
    escaped,
    hexadecimal,
    one_line,
    printable,
)

#: Bytes of a peer, and how they are shown.
ESCAPED = [
    (b"", ""),
    (b"hello world", "hello world"),
    ("größer 語 😀".encode(), "größer 語 😀"),
    # What moves the cursor, rings, or ends a line.
    (b"a\nb\r\nc\t", r"a\nb\r\nc\t"),
    (b"\x00\x07\x08\x7f", r"\x00\x07\x08\x7f"),
    (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
    ("\x85\x9b2J".encode(), r"\x85\x9b2J"),
    # A backslash is told from an escape.
    (rb"\n", r"\\n"),
    (rb"\x1b", r"\\x1b"),
    (b"\\", r"\\"),
    # What is no UTF-8.
    (b"\xff\xfe", r"\xff\xfe"),
    (b"a\x9b2Jb", r"a\x9b2Jb"),
    (b"\xc3", r"\xc3"),
    (b"\xc0\xaf", r"\xc0\xaf"),
    (b"\xed\xa0\x80", r"\xed\xa0\x80"),
    (b"\\\xff", r"\\\xff"),
    # What reorders or hides text, or breaks the line in a log viewer.
    ("\u202eabc\u202c".encode(), r"\u202eabc\u202c"),
    ("\u2066a\u2069".encode(), r"\u2066a\u2069"),
    ("a\u200bb\ufeff".encode(), r"a\u200bb\ufeff"),
    ("\u2028\u2029\u00a0".encode(), r"\u2028\u2029\xa0"),
    ("\U000e0041".encode(), r"\U000e0041"),
    # What formatters act on.
    (b"{0} {x!r} %s %(a)s", "{0} {x!r} %s %(a)s"),
]

#: Text, and how it is shown on several lines.
SHOWN = {
    "plain": "plain",
    "two\nlines\tand a tabulator": "two\nlines\tand a tabulator",
    "carriage return\r\nand line end": "carriage return\nand line end",
    "over\rwritten": "over\\rwritten",
    "\x1b[31mred": "\\x1b[31mred",
    "\x9b31mred": "\\x9b31mred",
    "\x07\x08\x7f\0": "\\x07\\x08\\x7f\\x00",
    "turned \u202e round": "turned \\u202e round",
    "\u2028": "\\u2028",
    "gr\u00fc\u00df \u6642 \U0001f600": "gr\u00fc\u00df \u6642 \U0001f600",
}


class EscapedTests(SynchronousTestCase):
    """Tests for L{escaped} and L{hexadecimal}."""

    def test_table(self) -> None:
        """Text stays legible, and all that a terminal or a log would act on is escaped."""
        self.assertEqual([(data, escaped(data)) for data, _ in ESCAPED], ESCAPED)

    def test_every_byte(self) -> None:
        """Whatever the bytes, the text is printable and one line."""
        for first in range(256):
            for second in (b"", b"\x80", b"\xbf", b"\\", b"\n", b"a"):
                text = escaped(bytes([first]) + second)
                self.assertTrue(text.isprintable(), repr(text))

    def test_cap(self) -> None:
        """Only the first bytes are shown, and the number of all."""
        self.assertEqual(escaped(b"x" * SHOWN_BYTES), "x" * SHOWN_BYTES)
        expected = "x" * SHOWN_BYTES + f"... ({SHOWN_BYTES + 1} bytes)"
        self.assertEqual(escaped(b"x" * (SHOWN_BYTES + 1)), expected)
        self.assertEqual(escaped(b"abcdef", 3), "abc... (6 bytes)")
        self.assertEqual(escaped(b"abc", 3), "abc")

    def test_cap_in_a_character(self) -> None:
        """A character that the cap divides is shown as bytes."""
        self.assertEqual(escaped("aä".encode(), 2), r"a\xc3... (3 bytes)")

    def test_hexadecimal(self) -> None:
        """Hexadecimal digits show the same bytes, with the same cap."""
        self.assertEqual(hexadecimal(b""), "")
        self.assertEqual(hexadecimal(b"a\n\xff"), "61 0a ff")
        self.assertEqual(hexadecimal(b"abc", 2), "61 62... (3 bytes)")
        self.assertIn(f"({SHOWN_BYTES + 1} bytes)", hexadecimal(b"x" * (SHOWN_BYTES + 1)))


class PrintableTests(SynchronousTestCase):
    """Tests for L{printable}, L{one_line} and L{ascii_line}."""

    def test_table(self) -> None:
        """Whatever could drive the terminal is escaped, the rest stays."""
        for text, shown in SHOWN.items():
            self.assertEqual(printable(text), shown)

    def test_nothing_slips_through(self) -> None:
        """No character comes through that Python does not count as printable, but two."""
        every = "".join(map(chr, range(sys.maxunicode + 1)))
        left = {c for c in printable(every) if not c.isprintable()}
        self.assertEqual(left, {"\n", "\t"})

    def test_one_line(self) -> None:
        """For a message of one line, line ends are escaped too."""
        self.assertEqual(one_line("a\nb\tc\r\n"), "a\\nb\\tc\\r\\n")

    def test_ascii(self) -> None:
        """A backslash is left as it is, and all else that is not printable ASCII is escaped."""
        self.assertEqual(ascii_line("a\\b\n\xfc\u6642\ud800"), r"a\b\n\xfc\u6642\ud800")

    def test_columns(self) -> None:
        """Wide and combining characters take the columns that they take."""
        texts = ("abc", "\u9577\u3044", "e\u0301", "\u3044\u302a", "")
        self.assertEqual([columns(text) for text in texts], [3, 4, 1, 2, 0])
