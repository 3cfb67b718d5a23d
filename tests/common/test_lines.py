"""Tests for L{socketd.common.lines}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.lines import LineBuffer

STREAM = b"one\n\ntwo\r\nlongest\ntoo long, and more\nlast"


class LineBufferTests(SynchronousTestCase):
    """Tests for L{LineBuffer}."""

    def test_pieces(self) -> None:
        """However the bytes come, the lines are the same; of one too long a beginning is kept."""
        for size in range(1, len(STREAM) + 1):
            buffer = LineBuffer(7)
            for at in range(0, len(STREAM), size):
                buffer.feed(STREAM[at : at + size])
            expected = [b"one", b"", b"two\r", b"longest", b"too long"]
            self.assertEqual((list(buffer.lines), buffer.is_begun), (expected, True), size)
            self.assertEqual(list(buffer.end())[5:], [b"last"])

    def test_end(self) -> None:
        """At the end of the input an incomplete line is one, and nothing is none."""
        buffer = LineBuffer(7)
        self.assertEqual(list(buffer.end()), [])
        buffer.feed(b"a")
        self.assertEqual((list(buffer.end()), buffer.is_begun), ([b"a"], False))

    def test_bounded(self) -> None:
        """A line without an end is kept up to the limit, and known to be longer."""
        buffer = LineBuffer(7)
        buffer.feed(b"x" * 7)
        self.assertFalse(buffer.is_too_long)
        for _ in range(3):
            buffer.feed(b"x" * 100)
            self.assertTrue(buffer.is_too_long)
        self.assertEqual(list(buffer.feed(b"\n")), [b"x" * 8])
        self.assertFalse(buffer.is_too_long)
