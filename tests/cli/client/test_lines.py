"""Tests for L{socketd.cli.client.lines}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.lines import LineSplitter

CASES = {
    b"": [],
    b"\n\n \n\t\n": [],
    b"one": [b"one"],
    b"one\n": [b"one"],
    b"one\r\ntwo\r\n": [b"one", b"two"],
    b"  one  word \n\n\ntwo": [b"one  word", b"two"],
    b"\xff\x00\n\xe2\x82\xac": [b"\xff\x00", b"\xe2\x82\xac"],
}


class LineSplitterTests(SynchronousTestCase):
    """Tests for L{LineSplitter}."""

    def test_split_anywhere(self) -> None:
        """The lines are the same whole, byte by byte, and cut at every place."""
        for data, lines in CASES.items():
            cuts = [[data[:cut], data[cut:]] for cut in range(len(data) + 1)]
            for pieces in [[data], [bytes([byte]) for byte in data], *cuts]:
                self.assertEqual(self.split(pieces), lines)

    def split(self, pieces: list[bytes]) -> list[bytes]:
        """
        Feed pieces to a new splitter.

        @param pieces: the input.
        @return: the lines.
        """
        splitter = LineSplitter()
        lines = [line for piece in pieces for line in splitter.feed(piece)]
        return lines + splitter.end()

    def test_limit(self) -> None:
        """A line may have as many bytes as the limit says, not one more, ended or not."""
        self.assertEqual(LineSplitter(3).feed(b"abc\nde"), [b"abc"])
        for data in (b"abcd", b"abcd\n", b"a\nbcde\n"):
            self.assertRaises(ValueError, LineSplitter(3).feed, data)
        splitter = LineSplitter(3)
        splitter.feed(b"ab")
        self.assertRaises(ValueError, splitter.feed, b"cd\n")
