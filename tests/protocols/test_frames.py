"""Tests for L{socketd.protocols.frames}."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.frames import (
    MAX_DELIMITER,
    MAX_MESSAGE,
    MAX_OFFSET,
    Chunks,
    Delimited,
    Framing,
    Idle,
    Lines,
    Measured,
    MessageTooLong,
    framing_type,
    parse_framing,
)
from tests.protocols.feeding import ways
from tests.settings.refusals import refusal


def messages(framing: Framing, pieces: Sequence[bytes]) -> list[bytes]:
    """
    Cut pieces into messages, with the end of the stream behind them.

    @return: the messages; at last C{b"too long"} if one was.
    """
    found: list[bytes] = []
    try:
        for piece in pieces:
            found.extend(framing.feed(piece))
    except MessageTooLong:
        return [*found, b"too long"]
    return [*found, *framing.end()]


#: A framing, a longest message, a stream, and its messages.
MARKED = [
    ("length:1", 8, b"\x02ab\x00\x01c", [b"\x02ab", b"\x00", b"\x01c"]),
    ("length:2", 8, b"\x00\x02ab\x00\x00", [b"\x00\x02ab", b"\x00\x00"]),
    ("length:2:little", 8, b"\x02\x00ab\x00\x00", [b"\x02\x00ab", b"\x00\x00"]),
    ("length:4", 8, b"\0\0\0\x01a\0\0\0\x02bc", [b"\0\0\0\x01a", b"\0\0\0\x02bc"]),
    ("length:4:little", 8, b"\x01\0\0\0a", [b"\x01\0\0\0a"]),
    # Two requests of Modbus TCP: transaction, protocol, length, unit and function.
    (
        "length:2:at=4", 12, b"\0\1\0\0\0\2\1\x07" b"\0\2\0\0\0\6\1\3\0\0\0\1",
        [b"\0\1\0\0\0\2\1\x07", b"\0\2\0\0\0\6\1\3\0\0\0\1"],
    ),
    ("length:1:little:at=1", 8, b"h\x01ah\x00", [b"h\x01a", b"h\x00"]),
    # A message that is cut off by the end is none.
    ("length:2", 8, b"\x00\x02ab\x00", [b"\x00\x02ab"]),
    ("length:2", 8, b"\x00\x01a\x00\x02b", [b"\x00\x01a"]),
    # The length field counts; a message is known to be too long before it is there.
    ("length:1", 4, b"\x03abc\x03def", [b"\x03abc", b"\x03def"]),
    ("length:1", 4, b"\x00\x04", [b"\x00", b"too long"]),
    ("length:4", 8, b"\xff\xff\xff\xff", [b"too long"]),
    ("length:2", 1, b"\0\0", [b"too long"]),
    (r"delimiter:\x03", 8, b"ab\x03\x03c", [b"ab\x03", b"\x03", b"c"]),
    (r"delimiter:\r\n", 8, b"a\r\nb\nc\r\r\nd\r", [b"a\r\n", b"b\nc\r\r\n", b"d\r"]),
    ("delimiter:::", 8, b"a:b::::c", [b"a:b::", b"::", b"c"]),
    (r"delimiter:\r\n", 4, b"ab\r\nabc\r\n", [b"ab\r\n", b"too long"]),
    (r"delimiter:\r\n", 4, b"abc\r", [b"too long"]),
    ("fixed:1", 8, b"abc", [b"a", b"b", b"c"]),
    ("fixed:3", 8, b"abcdefgh", [b"abc", b"def"]),
    # The size is its own limit.
    ("fixed:3", 1, b"abc", [b"abc"]),
]

#: A text that is no framing, and what the complaint says to write.
REFUSED = [
    ("lines", "write chunk, line, length:2"),
    ("", "write chunk, line"),
    ("line:3", "write chunk, line"),
    ("length", "write chunk, line"),
    ("length:", "write length:1, length:2 or length:4"),
    ("length:3", "write length:1, length:2 or length:4"),
    ("length:2:big", "then :little or :at=4"),
    ("length:2:at=4:little", "then :little or :at=4"),
    ("length:2:at=", "is not a whole number"),
    (f"length:2:at={MAX_OFFSET + 1}", "write at=0 to at=64"),
    ("delimiter:", "1 to 16 bytes"),
    ("delimiter:" + "x" * (MAX_DELIMITER + 1), "1 to 16 bytes"),
    (r"delimiter:\q", r"known are \n"),
    ("fixed:0", "write fixed:1 to fixed:64KiB"),
    (f"fixed:{MAX_MESSAGE + 1}", "write fixed:1 to fixed:64KiB"),
    ("fixed:x", "is not a size"),
    ("idle:0ms", "write idle:1ms to idle:1m"),
    ("idle:61s", "write idle:1ms to idle:1m"),
    ("idle:50", "is not a duration"),
]


class ParseTests(SynchronousTestCase):
    """Tests for L{parse_framing} and L{framing_type}."""

    def test_refused(self) -> None:
        """What is no framing is complained of, with what to write."""
        for text, remedy in REFUSED:
            self.assertIn(remedy, refusal(framing_type(timed=True).parse, text), text)

    def test_idle_without_clock(self) -> None:
        """Without a clock C{idle} is refused, and not in the syntax."""
        untimed, timed = framing_type(timed=False), framing_type(timed=True)
        self.assertIn("needs a clock", refusal(untimed.parse, "idle:50ms"))
        self.assertEqual(timed.parse("idle:50ms"), "idle:50ms")
        self.assertEqual(timed.syntax, untimed.syntax + " | idle:DURATION")


class MarkedTests(SynchronousTestCase):
    """Tests for the framings of which a message says where it ends."""

    def test_messages(self) -> None:
        """However a stream is cut, its messages are the same."""
        for text, limit, data, expected in MARKED:
            found = [messages(parse_framing(text)(limit), pieces) for pieces in ways(data)]
            self.assertEqual(found, [expected] * len(found), (text, data))

    def test_parts(self) -> None:
        """It is known what of a message is its header, and what marks its end."""
        found = {text: parse_framing(text)(8).header for text, *_ in MARKED}
        expected = {"length:1": 1, "length:2": 2, "length:2:little": 2, "length:4": 4}
        expected |= {"length:4:little": 4, "length:2:at=4": 6, "length:1:little:at=1": 2}
        self.assertEqual({text: header for text, header in found.items() if header}, expected)
        self.assertEqual(Lines(8).unterminated(b"a\r\n"), b"a")
        self.assertEqual(Delimited(8, b"\x03").unterminated(b"a\x03"), b"a")
        self.assertEqual(parse_framing("fixed:2")(8).unterminated(b"a\n"), b"a\n")

    def test_abstract(self) -> None:
        """A framing that does not say where messages end fails where that is seen."""
        self.assertRaises(NotImplementedError, Framing(16).feed, b"a")
        self.assertRaises(NotImplementedError, next, Measured(16).feed(b"a"))


class IdleTests(SynchronousTestCase):
    """Tests for L{Idle}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.found: list[bytes] = []
        self.idle = Idle(8, 0.05)
        self.idle.start(self.clock, self.found.extend)

    def feed(self, *pieces: bytes) -> None:
        """Feed pieces, 49 ms from one to the next."""
        for piece in pieces:
            self.assertEqual(list(self.idle.feed(piece)), [])
            self.clock.advance(0.049)

    def test_silence(self) -> None:
        """A silence ends a message; a shorter one does not."""
        self.feed(b"a", b"b", b"c")
        self.assertEqual(self.found, [])
        self.clock.advance(0.001)
        self.assertEqual(self.found, [b"abc"])
        self.feed(b"d")
        self.clock.advance(1)
        self.assertEqual(self.found, [b"abc", b"d"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """So does the end of the stream, once."""
        self.feed(b"ab")
        self.assertEqual(list(self.idle.end()), [b"ab"])
        self.clock.advance(1)
        self.assertEqual([self.found, list(self.idle.end())], [[], []])

    def test_stop(self) -> None:
        """When it is stopped, what came is no message."""
        self.feed(b"ab")
        self.idle.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(list(self.idle.end()), [])

    def test_too_long(self) -> None:
        """A message that grows too long is complained of in its turn, and dropped."""
        self.feed(b"12345678")
        turn = self.idle.feed(b"9")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertRaises(MessageTooLong, next, turn)


#: A longest message, a stream, and its lines.
LINES = [
    (8, b"", []),
    (8, b"\n", [b"\n"]),
    (8, b"\n\n\n", [b"\n", b"\n", b"\n"]),
    (8, b"a\n", [b"a\n"]),
    (8, b"a", [b"a"]),
    (8, b"a\r\nb\rc\r\n", [b"a\r\n", b"b\rc\r\n"]),
    (8, b"a\nb\n\nc", [b"a\n", b"b\n", b"\n", b"c"]),
    (8, b"\0\xff\n", [b"\0\xff\n"]),
    # The line feed counts, whether it came or not.
    (4, b"abc\n", [b"abc\n"]),
    (4, b"abc", [b"abc"]),
    (4, b"abc\nabc\nabc", [b"abc\n"] * 2 + [b"abc"]),
    (1, b"\n\n", [b"\n", b"\n"]),
    # A line that is too long ends the stream; what stood before it counts.
    (4, b"abcd", [b"too long"]),
    (4, b"abcd\n", [b"too long"]),
    (4, b"a\nabcd\nb\n", [b"a\n", b"too long"]),
    (4, b"a\nb\nabcdefghijk", [b"a\n", b"b\n", b"too long"]),
    (1, b"\na", [b"\n", b"too long"]),
]


class LinesTests(SynchronousTestCase):
    """Tests for L{Lines}."""

    def test_lines(self) -> None:
        """However a stream is cut, its lines are the same."""
        for limit, data, expected in LINES:
            found = [messages(Lines(limit), pieces) for pieces in ways(data)]
            self.assertEqual(found, [expected] * len(found), data)

    def test_one_by_one(self) -> None:
        """The lines before one that is too long are given before it is complained of."""
        lines = Lines(4).feed(b"a\nb\nabcd\n")
        self.assertEqual([next(lines), next(lines)], [b"a\n", b"b\n"])
        self.assertRaises(MessageTooLong, next, lines)


class ChunksTests(SynchronousTestCase):
    """Tests for L{Chunks}."""

    def test_chunks(self) -> None:
        """What one receive brings is a message, cut where it is too long."""
        pieces = [b"ab", b"abcd", b"abcde", b"abcdefghi", b""]
        expected = [b"ab", b"abcd", b"abcd", b"e", b"abcd", b"efgh", b"i"]
        self.assertEqual(messages(Chunks(4), pieces), expected)

    def test_nothing_lost(self) -> None:
        """However a stream is cut, the messages together are the stream."""
        data = bytes(range(40))
        for pieces in ways(data):
            self.assertEqual(b"".join(messages(Chunks(7), pieces)), data)
