"""Tests for L{socketd.protocols.messages.upper}."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.fakes import answers, make_stream
from tests.protocols.feeding import Outcome, feed, outcomes

#: A message, and its upper case: only ASCII letters have one.
CASES = [
    (b"", b""),
    (b"hello", b"HELLO"),
    (b"Hello, World 1!", b"HELLO, WORLD 1!"),
    ("größer".encode(), "GRößER".encode()),
    (bytes(range(256)), bytes(range(97)) + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + bytes(range(123, 256))),
]


class UpperTests(SynchronousTestCase):
    """Tests for C{upper}."""

    def test_stream(self) -> None:
        """What comes in goes out in upper case, however it is cut."""
        for data, expected in CASES:
            for end in (False, True):
                found = outcomes(lambda: make_stream("upper"), data, end)
                self.assertEqual(found, {Outcome(expected, end)})

    def test_short_messages(self) -> None:
        """A message that is longer than allowed is several."""
        found = feed(lambda: make_stream("upper", max_message=3), [b"abcdefgh"])
        self.assertEqual(found, Outcome(b"ABCDEFGH", False))

    def test_lines(self) -> None:
        """With lines, an answer waits for the end of its line."""
        pieces = [b"he", b"llo\nwor"]
        self.assertEqual(feed(self.lines, pieces), Outcome(b"HELLO\n", False))
        self.assertEqual(feed(self.lines, pieces, then_end=True), Outcome(b"HELLO\nWOR", True))

    def test_lines_in_pieces(self) -> None:
        """However it is cut, each line is answered once."""
        found = outcomes(self.lines, b"one\r\n\ntwo\nthree", then_end=True)
        self.assertEqual(found, {Outcome(b"ONE\r\n\nTWO\nTHREE", True)})

    def test_line_too_long(self) -> None:
        """A line that is too long ends the connection, after the lines before it."""
        found = outcomes(lambda: self.lines(max_message=4), b"abc\nabcd\nabc\n")
        self.assertEqual(found, {Outcome(b"ABC\n", True)})

    def test_length(self) -> None:
        """A length in front is no letter, though its bytes may be those of one."""
        message = b"\0a" + b"b" * 97
        found = outcomes(lambda: make_stream("upper", framing="length:2"), message)
        self.assertEqual(found, {Outcome(b"\0a" + b"B" * 97, False)})

    def test_datagrams(self) -> None:
        """Each datagram is answered with its upper case."""
        datagrams = [data for data, _ in CASES]
        self.assertEqual(answers("upper", *datagrams), [expected for _, expected in CASES])

    def lines(self, max_message: int = 4096) -> Protocol:
        """Make an C{upper} that takes lines."""
        protocol: Protocol = make_stream("upper", framing="line", max_message=max_message)
        return protocol
