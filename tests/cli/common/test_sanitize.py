"""Tests for L{socketd.cli.common.sanitize}."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.common.sanitize import AnswerDecoder, one_line, printable

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


class PrintableTests(SynchronousTestCase):
    """Tests for L{printable} and L{one_line}."""

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


class AnswerDecoderTests(SynchronousTestCase):
    """Tests for L{AnswerDecoder}."""

    def test_split_anywhere(self) -> None:
        """Characters come out whole wherever the bytes are cut."""
        text = "gr\u00fc\u00df \u6642 \U0001f600"
        data = text.encode()
        for cut in range(len(data) + 1):
            decoder = AnswerDecoder()
            shown = decoder.decode(data[:cut]) + decoder.decode(data[cut:])
            self.assertEqual(shown, text)

    def test_bytes_that_are_no_text(self) -> None:
        """Bytes that are not UTF-8 are shown as escapes, half a character at the end too."""
        decoder = AnswerDecoder()
        self.assertEqual(decoder.decode(b"a\xffb\xe2\x82"), "a\\xffb")
        self.assertEqual(decoder.decode(b"", final=True), "\\xe2\\x82")
