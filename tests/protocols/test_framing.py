"""Tests for L{socketd.protocols.framing}."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.protocols.frames import MAX_MESSAGE
from socketd.protocols.framing import (
    BATCH_BYTES,
    BATCH_REPLIES,
    DEFAULT_MAX_MESSAGE,
    MessageProtocol,
    framing_option,
    max_message_option,
)
from socketd.settings.options import declared
from tests.protocols.fakes import Wire
from tests.protocols.feeding import Outcome, outcomes
from tests.settings.refusals import refusal


@frozen
class Options:
    """The options of a protocol that answers messages."""

    framing: str = framing_option()
    max_message: int = max_message_option()


@frozen
class TimedOptions:
    """The options of one that has a clock."""

    framing: str = framing_option(timed=True)


class OptionTests(SynchronousTestCase):
    """Tests for the options that go with framing."""

    def test_framing(self) -> None:
        """C{chunk} is the default; C{idle} is offered only by protocols with a clock."""
        parse = declared(Options)["framing"].type.parse
        self.assertEqual([parse("chunk"), parse("fixed:8")], ["chunk", "fixed:8"])
        self.assertEqual(Options(), Options(framing="chunk", max_message=DEFAULT_MAX_MESSAGE))
        self.assertIn("write line", refusal(parse, "idle:50ms"))
        self.assertEqual(declared(TimedOptions)["framing"].type.parse("idle:50ms"), "idle:50ms")

    def test_max_message(self) -> None:
        """A message has at least one byte, and at most what a connection may hold."""
        parse = declared(Options)["max_message"].type.parse
        self.assertEqual([parse("1"), parse("64KiB")], [1, MAX_MESSAGE])
        for text in ("0", "65537", "1MiB"):
            self.assertIn("write 1 to 64KiB", refusal(parse, text), text)
        self.assertTrue(1 <= DEFAULT_MAX_MESSAGE <= MAX_MESSAGE)


class Quoting(MessageProtocol):
    """Sends each message back in brackets; the message C{?} is answered later, by L{answered}."""

    later = False

    @property
    def waiting(self) -> bool:
        return self.later

    def message_received(self, message: bytes) -> None:
        self.later = message.startswith(b"?")
        self.transport.write(b"[" + message.rstrip(b"\n") + b"]")

    def answered(self) -> None:
        """Have the answer complete."""
        self.later = False
        self.go_on()


class Shouting(MessageProtocol):
    """Sends each message back in capital letters and without its line feed, at once."""

    def message_received(self, message: bytes) -> None:
        self.answer(message.upper().rstrip(b"\n"))


class MessageProtocolTests(SynchronousTestCase):
    """Tests for L{MessageProtocol}."""

    def connect(self, framing: str = "line", max_message: int = 16) -> tuple[Quoting, Wire]:
        """Connect a protocol."""
        protocol, wire = Quoting(framing, max_message), Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def test_interface(self) -> None:
        """It knows the end of the input from the end of the connection."""
        verifyObject(IHalfCloseableProtocol, Quoting("line", 16))

    def test_answers(self) -> None:
        """Each message is answered, the last one without its end too; then it closes."""
        found = outcomes(lambda: Quoting("line", 16), b"a\nbc\n\nd", then_end=True)
        self.assertEqual(found, {Outcome(b"[a][bc][][d]", True)})

    def test_too_long(self) -> None:
        """
        A line that is too long closes the connection, without an answer to it
        or to what follows; the lines before it are answered.
        """
        for end in (False, True):
            found = outcomes(lambda: Quoting("line", 4), b"a\nbc\ndefg\nh\n", end)
            self.assertEqual(found, {Outcome(b"[a][bc]", True)})

    def test_chunks(self) -> None:
        """Each chunk is answered; the end of the input brings no other."""
        protocol, wire = self.connect("chunk", 4)
        protocol.dataReceived(b"a\nbcde")
        protocol.dataReceived(b"f")
        protocol.readConnectionLost()
        self.assertEqual(wire.value(), b"[a\nbc][de][f]")
        self.assertTrue(wire.disconnecting)

    def test_waiting(self) -> None:
        """
        While an answer is not complete, the messages behind it wait, those of
        the same receive and those of later ones.
        """
        protocol, wire = self.connect()
        protocol.dataReceived(b"a\n?b\nc\nd")
        self.assertEqual(wire.value(), b"[a][?b]")
        protocol.dataReceived(b"e\n?f\n")
        protocol.dataReceived(b"g\n")
        self.assertEqual(wire.value(), b"[a][?b]")
        protocol.answered()
        self.assertEqual(wire.value(), b"[a][?b][c][de][?f]")
        protocol.answered()
        self.assertEqual(wire.value(), b"[a][?b][c][de][?f][g]")
        self.assertFalse(wire.disconnecting)

    def test_end_while_waiting(self) -> None:
        """The end of the input waits, too, and the rest of a line is a message."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"?a\nb\n?c")
        protocol.readConnectionLost()
        self.assertEqual((wire.value(), wire.disconnecting), (b"[?a]", False))
        protocol.answered()
        self.assertEqual((wire.value(), wire.disconnecting), (b"[?a][b][?c]", False))
        protocol.answered()
        self.assertTrue(wire.disconnecting)

    def test_too_long_while_waiting(self) -> None:
        """A line that is too long closes the connection when its turn comes."""
        protocol, wire = self.connect(max_message=4)
        protocol.dataReceived(b"?a\nb\n")
        protocol.dataReceived(b"too long\nc\n")
        self.assertEqual((wire.value(), wire.disconnecting), (b"[?a]", False))
        protocol.answered()
        self.assertEqual((wire.value(), wire.disconnecting), (b"[?a][b]", True))

    def test_nothing_after_close(self) -> None:
        """Once it has closed, it answers nothing that a transport still delivers."""
        for long_line in (b"abcdefg", b"abcdefg\n"):
            for more in (b"", b"h\ni\n"):
                protocol, wire = self.connect(max_message=4)
                protocol.dataReceived(long_line)
                protocol.dataReceived(more)
                protocol.readConnectionLost()
                self.assertEqual((wire.value(), wire.disconnecting), (b"", True))

    def test_write_side(self) -> None:
        """The end of this side's output changes nothing."""
        protocol, wire = self.connect()
        protocol.writeConnectionLost()
        self.assertFalse(wire.disconnecting)

    def test_no_answer(self) -> None:
        """A protocol that does not say what it answers fails where that is seen."""
        protocol = MessageProtocol("line", 16)
        protocol.makeConnection(Wire())
        self.assertRaises(NotImplementedError, protocol.dataReceived, b"a\n")


class IdleTests(SynchronousTestCase):
    """Tests for L{MessageProtocol} whose messages end with a silence."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol, self.wire = Quoting("idle:50ms", 8, self.clock), Wire()
        self.protocol.makeConnection(self.wire)

    def receive(self, *pieces: bytes) -> None:
        """Receive pieces, with a silence behind each."""
        for piece in pieces:
            self.protocol.dataReceived(piece)
            self.clock.advance(0.05)

    def test_answers(self) -> None:
        """A message is answered after the silence, not before."""
        self.protocol.dataReceived(b"a")
        self.clock.advance(0.04)
        self.protocol.dataReceived(b"b")
        self.clock.advance(0.04)
        self.assertEqual(self.wire.value(), b"")
        self.clock.advance(0.01)
        self.assertEqual(self.wire.value(), b"[ab]")

    def test_waiting(self) -> None:
        """What comes while an answer is not complete is cut by its silences, and waits."""
        self.receive(b"?a", b"b", b"c")
        self.protocol.dataReceived(b"d")
        self.protocol.readConnectionLost()
        self.assertEqual((self.wire.value(), self.wire.disconnecting), (b"[?a]", False))
        self.protocol.answered()
        self.assertEqual((self.wire.value(), self.wire.disconnecting), (b"[?a][b][c][d]", True))

    def test_too_long(self) -> None:
        """A message that is too long closes the connection, after those before it."""
        self.receive(b"?a", b"b")
        self.protocol.dataReceived(b"123456789")
        self.assertFalse(self.wire.disconnecting)
        self.protocol.answered()
        self.receive(b"c")
        self.assertEqual((self.wire.value(), self.wire.disconnecting), (b"[?a][b]", True))

    def test_no_timer_left(self) -> None:
        """Neither a lost connection nor one that accepts nothing more keeps a timer."""
        for end in (self.protocol.connectionLost, self.protocol.finish):
            self.protocol.dataReceived(b"a")
            end()
            self.assertEqual(self.clock.getDelayedCalls(), [])


class MuchToAnswerTests(SynchronousTestCase):
    """Tests for L{MessageProtocol} when one receive has more to answer than goes at once."""

    def connect(self, framing: str = "line") -> tuple[Shouting, Wire]:
        """Connect a protocol."""
        protocol, wire = Shouting(framing, BATCH_BYTES // 4), Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def test_interface(self) -> None:
        """The transport asks it for more, when there is room for more."""
        verifyObject(IPullProducer, Shouting("line", 16))

    def test_answers(self) -> None:
        """So many answers are sent at once; the peer is read from again when all are."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"a\n" * (2 * BATCH_REPLIES + 1))
        self.assertEqual((wire.taken(), wire.paused), (b"A" * BATCH_REPLIES, True))
        self.assertEqual((wire.producer, wire.streaming), (protocol, False))
        protocol.resumeProducing()
        self.assertEqual((wire.taken(), wire.paused), (b"A" * BATCH_REPLIES, True))
        protocol.resumeProducing()
        self.assertEqual((wire.taken(), wire.paused, wire.producer), (b"A", False, None))
        protocol.dataReceived(b"b\n")
        self.assertEqual(wire.taken(), b"B")

    def test_bytes(self) -> None:
        """So are so many bytes of answers, however few answers they are."""
        protocol, wire = self.connect("chunk")
        protocol.dataReceived(b"a" * (BATCH_BYTES - 1))
        self.assertEqual((len(wire.taken()), wire.paused), (BATCH_BYTES - 1, False))
        protocol.dataReceived(b"b" * (BATCH_BYTES + 1))
        self.assertEqual((wire.taken(), wire.paused), (b"B" * BATCH_BYTES, True))
        protocol.resumeProducing()
        self.assertEqual((wire.taken(), wire.paused), (b"B", False))

    def test_empty_answers(self) -> None:
        """What is not sent does not count."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"\n" * BATCH_REPLIES + b"a\n")
        self.assertEqual((wire.taken(), wire.paused), (b"A", False))

    def test_end(self) -> None:
        """At the end of the input it closes when all answers are sent, not before."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"a\n" * (2 * BATCH_REPLIES) + b"b")
        protocol.readConnectionLost()
        self.assertFalse(wire.disconnecting)
        protocol.resumeProducing()
        self.assertEqual(wire.taken(), b"A" * (2 * BATCH_REPLIES) + b"B")
        self.assertEqual((wire.producer, wire.disconnecting), (None, True))

    def test_gone(self) -> None:
        """When the peer is gone nothing more is answered."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"a\n" * (BATCH_REPLIES + 1))
        wire.taken()
        wire.unregisterProducer()
        protocol.stopProducing()
        protocol.go_on()
        self.assertEqual(wire.taken(), b"")
