"""Tests for L{socketd.settings.value_types}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.value_types import (
    DURATION,
    LIST,
    NUMBER,
    SIZE,
    TEXT,
    WORD,
    YES_NO,
    ValueType,
    choice,
    parse_text,
    within,
)
from tests.settings.refusals import refusal

NEITHER = "is neither yes nor no"
NO_DURATION = "is not a duration; write 250ms, 10s, 5m or 1h"
NO_SIZE = "is not a size; write bytes as 4096, 64KiB or 1MiB"
NO_NUMBER = "is not a whole number"
NO_WORD = "is not one word"

LEVEL = choice("debug", "info")
NO_LEVEL = "is not known; write debug or info"

PERCENT = within(NUMBER, 1, 100, "write 1 to 100")
NO_PERCENT = "is out of range; write 1 to 100"

#: Kind, text, value.
GOOD: list[tuple[ValueType, str, Any]] = [
    (YES_NO, "yes", True),
    (YES_NO, "Yes", True),
    (YES_NO, "on", True),
    (YES_NO, "TRUE", True),
    (YES_NO, "1", True),
    (YES_NO, "no", False),
    (YES_NO, "OFF", False),
    (YES_NO, "false", False),
    (YES_NO, "0", False),
    (DURATION, "250ms", 0.25),
    (DURATION, "10s", 10.0),
    (DURATION, "1.5s", 1.5),
    (DURATION, "5m", 300.0),
    (DURATION, "1h", 3600.0),
    (DURATION, "2d", 172800.0),
    (DURATION, "0s", 0.0),
    (SIZE, "4096", 4096),
    (SIZE, "0", 0),
    (SIZE, "7B", 7),
    (SIZE, "64KiB", 65536),
    (SIZE, "64 KiB", 65536),
    (SIZE, "2MiB", 2097152),
    (SIZE, "1GiB", 1073741824),
    (NUMBER, "0", 0),
    (NUMBER, "007", 7),
    (NUMBER, "999999999", 999999999),
    (WORD, "eth0", "eth0"),
    (WORD, "a=b;c", "a=b;c"),
    (LIST, "", ()),
    (LIST, ",\n ,", ()),
    (LIST, "a", ("a",)),
    (LIST, "a, b,c", ("a", "b", "c")),
    (LIST, "\na\n b c\n", ("a", "b c")),
    (LIST, "a,\nb", ("a", "b")),
    (LEVEL, "info", "info"),
    (PERCENT, "1", 1),
    (PERCENT, "100", 100),
]

#: Kind, text, complaint.
BAD = [
    (YES_NO, "", NEITHER),
    (YES_NO, "maybe", NEITHER),
    (YES_NO, "yes no", NEITHER),
    (YES_NO, "2", NEITHER),
    (DURATION, "", NO_DURATION),
    (DURATION, "10", NO_DURATION),
    (DURATION, "10 s", NO_DURATION),
    (DURATION, "-1s", NO_DURATION),
    (DURATION, ".5s", NO_DURATION),
    (DURATION, "1.s", NO_DURATION),
    (DURATION, "1S", NO_DURATION),
    (DURATION, "1e3s", NO_DURATION),
    (DURATION, "infs", NO_DURATION),
    (DURATION, "1s\n", NO_DURATION),
    (DURATION, "٣s", NO_DURATION),
    (DURATION, "9" * 5000 + "s", NO_DURATION),
    (SIZE, "", NO_SIZE),
    (SIZE, "64kb", NO_SIZE),
    (SIZE, "64K", NO_SIZE),
    (SIZE, "1.5MiB", NO_SIZE),
    (SIZE, "-1", NO_SIZE),
    (SIZE, "²", NO_SIZE),
    (SIZE, "9" * 5000, NO_SIZE),
    (NUMBER, "", NO_NUMBER),
    (NUMBER, "+1", NO_NUMBER),
    (NUMBER, "-1", NO_NUMBER),
    (NUMBER, "1.0", NO_NUMBER),
    (NUMBER, "0x10", NO_NUMBER),
    (NUMBER, "1_000", NO_NUMBER),
    (NUMBER, "٣", NO_NUMBER),
    (NUMBER, "1000000000", NO_NUMBER),
    (WORD, "", NO_WORD),
    (WORD, "two words", NO_WORD),
    (WORD, "two\nwords", NO_WORD),
    (LEVEL, "Info", NO_LEVEL),
    (LEVEL, "", NO_LEVEL),
    (PERCENT, "0", NO_PERCENT),
    (PERCENT, "101", NO_PERCENT),
    (PERCENT, "x", f"{NO_NUMBER}; write 1 to 100"),
]

TEXTS = {
    "": b"",
    "plain": b"plain",
    r"\nI get it!\n": b"\nI get it!\n",
    r"a\tb\r\n": b"a\tb\r\n",
    r"\\n": rb"\n",
    r"\\\\": rb"\\",
    r"\x00\x7f\xff\xFf": b"\x00\x7f\xff\xff",
    r"\x410": b"A0",
    "100 % %s %(x)s ${x}": b"100 % %s %(x)s ${x}",
    "größer, 語": "größer, 語".encode(),
    "two\nlines": b"two\nlines",
}

BAD_TEXTS = {
    r"\q": r"\q",
    "a\\": "\\",
    r"\x": r"\x",
    r"\x4": r"\x",
    r"\xg0": r"\x",
    r"\N": r"\N",
    r"\é": r"\é",
    r"\0": r"\0",
    "\\\n": "\\\n",
}


class KindTests(SynchronousTestCase):
    """Tests for the kinds of value."""

    def test_good(self) -> None:
        """Each kind reads what is written in its form."""
        read = [(kind, text, kind.parse(text)) for kind, text, _ in GOOD]
        self.assertEqual(read, GOOD)
        self.assertEqual([type(value) for *_, value in read], [type(v) for *_, v in GOOD])

    def test_bad(self) -> None:
        """Each kind says what is wrong with anything else, and what would be right."""
        read = [(kind, text, refusal(kind.parse, text)) for kind, text, _ in BAD]
        self.assertEqual(read, BAD)

    def test_made_of_words(self) -> None:
        """A kind made of words takes each of them, and names all for any other."""
        parse = choice("a", "b", "c").parse
        self.assertEqual([parse(word) for word in "abc"], ["a", "b", "c"])
        self.assertEqual(choice("a", "b", "c").syntax, "a | b | c")
        self.assertEqual(refusal(parse, "d"), "is not known; write a or b or c")

    def test_narrowed(self) -> None:
        """A kind that is narrowed takes both ends of its range and what lies between."""
        kind = within(NUMBER, 5, 7, "write 5 to 7")
        self.assertEqual([kind.parse(text) for text in "567"], [5, 6, 7])
        complaint = "is out of range; write 5 to 7"
        self.assertEqual([refusal(kind.parse, text) for text in "48"], [complaint] * 2)
        self.assertEqual(kind.syntax, NUMBER.syntax)


class TextTests(SynchronousTestCase):
    """Tests for L{parse_text}."""

    def test_escapes(self) -> None:
        """Escapes become bytes, the rest is UTF-8, and nothing is interpolated."""
        self.assertEqual({text: parse_text(text) for text in TEXTS}, TEXTS)
        self.assertIdentical(TEXT.parse, parse_text)

    def test_unknown_escape(self) -> None:
        """An escape that is unknown or not complete is named, with the known ones."""
        known = r"known are \n \r \t \xNN and \\"
        expected = {
            text: f"has the unknown escape {escape}; {known}" for text, escape in BAD_TEXTS.items()
        }
        self.assertEqual({text: refusal(parse_text, text) for text in BAD_TEXTS}, expected)

    def test_every_byte(self) -> None:
        r"""C{\xNN} can write every byte."""
        written = "".join(f"\\x{byte:02x}" for byte in range(256))
        self.assertEqual(parse_text(written), bytes(range(256)))
