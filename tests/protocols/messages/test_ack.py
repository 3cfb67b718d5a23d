"""Tests for L{socketd.protocols.messages.ack}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.operator_queue import MAX_WAITING, OperatorQueue
from socketd.protocols.frames import MAX_MESSAGE
from socketd.protocols.framing import MAX_QUEUED, PIECE_OVERHEAD
from socketd.protocols.messages.ack import Ack, AckOptions
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import Wire, declaration_of
from tests.protocols.feeding import Outcome, feed, outcomes

ACK = b"\nI get it!\n"


class Case(SynchronousTestCase):
    """Connections to C{ack}, and an operator."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.operator = OperatorQueue(self.clock)

    def looking_on(self) -> None:
        """Take part as an operator who has time."""

    def make(self, **options: Any) -> Ack:
        """Make the protocol of a connection."""
        return Ack(AckOptions(**options), ProtocolContext(self.clock.seconds, self.operator))

    def connect(self, **options: Any) -> tuple[Ack, Wire]:
        """Connect a peer."""
        protocol, wire = self.make(**options), Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def say(self, word: bytes) -> None:
        """Answer the oldest connection that waits."""
        self.operator.answer(self.operator.waiting[0], word)


class AloneTests(Case):
    """Tests for L{Ack} without an operator."""

    def test_acknowledged(self) -> None:
        """Each message comes back with the acknowledgement behind it."""
        for wanted in ("auto", "never"):
            found = feed(lambda: self.make(operator=wanted), [b"hello", b"\0"])
            self.assertEqual(found, Outcome(b"hello" + ACK + b"\0" + ACK, False))

    def test_end(self) -> None:
        """A peer that shuts down its writing side gets all of it before the close."""
        found = feed(self.make, [b"hello"], then_end=True)
        self.assertEqual(found, Outcome(b"hello" + ACK, True))

    def test_reply(self) -> None:
        """The acknowledgement can be any bytes, or none."""
        self.assertEqual(feed(lambda: self.make(reply=b"\xff"), [b"a"]).sent, b"a\xff")
        self.assertEqual(feed(lambda: self.make(reply=b""), [b"a"]).sent, b"a")

    def test_long_message(self) -> None:
        """A message that is longer than allowed is several."""
        found = feed(lambda: self.make(reply=b"!", max_message=2), [b"abcde"])
        self.assertEqual(found.sent, b"ab!cd!e!")

    def test_lines(self) -> None:
        """
        With lines, a line comes back without its end, in which the
        acknowledgement begins; the last line needs none.
        """
        found = outcomes(
            lambda: self.make(framing="line", reply=b"!"), b"a\nb c\r\n\nd", then_end=True
        )
        self.assertEqual(found, {Outcome(b"a!b c!!d!", True)})

    def test_long_line(self) -> None:
        """A line that is too long closes; those before it are acknowledged."""
        found = outcomes(
            lambda: self.make(framing="line", reply=b"!", max_message=4), b"ab\nabcd\nc\n"
        )
        self.assertEqual(found, {Outcome(b"ab!", True)})

    def test_delimiter(self) -> None:
        """So it is with a delimiter; a length is part of what comes back."""
        found = outcomes(lambda: self.make(framing=r"delimiter:\x03", reply=b"!"), b"a\x03b\x03")
        self.assertEqual(found, {Outcome(b"a!b!", False)})
        found = outcomes(lambda: self.make(framing="length:1", reply=b"!"), b"\x01a\x00")
        self.assertEqual(found, {Outcome(b"\x01a!\x00!", False)})

    def test_silence(self) -> None:
        """With C{idle} a silence ends a message; a lost connection has no timer."""
        protocol, wire = self.connect(framing="idle:50ms")
        protocol.dataReceived(b"hel")
        protocol.dataReceived(b"lo")
        self.assertEqual(wire.value(), b"")
        self.clock.advance(0.05)
        self.assertEqual(wire.value(), b"hello" + ACK)
        protocol.dataReceived(b"more")
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_streams_only(self) -> None:
        """A datagram has no connection that waits."""
        self.assertIdentical(declaration_of("ack").datagram, None)

    def test_always(self) -> None:
        """With C{always} a message waits for an operator who may yet come."""
        protocol, wire = self.connect(operator="always")
        protocol.dataReceived(b"hello")
        self.assertEqual((wire.taken(), protocol.waiting), (b"hello" + ACK, True))
        self.say(b"ok")
        self.assertEqual((wire.taken(), protocol.waiting), (b"ok", False))


class OperatorTests(Case):
    """Tests for L{Ack} with an operator attached."""

    def setUp(self) -> None:
        super().setUp()
        self.operator.attach(self.looking_on)

    def test_tutorial(self) -> None:
        """The peer gets its message, the acknowledgement, the word, and the end."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"hello")
        protocol.readConnectionLost()
        self.assertEqual((wire.value(), wire.disconnecting), (b"hello" + ACK, False))
        self.say(b"ok")
        self.assertEqual((wire.value(), wire.disconnecting), (b"hello" + ACK + b"ok", True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        """With C{never} the operator is not asked."""
        protocol, wire = self.connect(operator="never")
        protocol.dataReceived(b"hello")
        self.assertEqual((wire.taken(), protocol.waiting), (b"hello" + ACK, False))
        self.assertEqual(self.operator.waiting, ())

    def test_paused(self) -> None:
        """While the word is awaited the peer is read from, up to a bound."""
        for piece, count in ((b"a" * MAX_QUEUED, 1), (b"a", MAX_QUEUED // (PIECE_OVERHEAD + 1))):
            protocol, wire = self.connect(reply=b"!", max_message=MAX_MESSAGE)
            protocol.dataReceived(b"first")
            for _ in range(count - 1):
                protocol.dataReceived(piece)
                self.assertFalse(wire.paused)
            protocol.dataReceived(piece)
            self.assertTrue(wire.paused)
            for _ in range(count + 1):
                self.assertTrue(wire.paused)
                self.say(b"")
            self.assertFalse(wire.paused)
            self.assertEqual(wire.taken(), b"first!" + (piece + b"!") * count)

    def test_messages_in_turn(self) -> None:
        """Messages that came together are acknowledged and answered one after the other."""
        protocol, wire = self.connect(framing="line", reply=b"!")
        protocol.dataReceived(b"a\nb\nc\n")
        for word, sent in ((b"1", b"a!"), (b"2", b"1b!"), (b"3", b"2c!")):
            self.assertEqual((wire.taken(), protocol.waiting), (sent, True))
            self.assertEqual(len(self.operator.waiting), 1)
            self.say(word)
        self.assertEqual((wire.taken(), protocol.waiting), (b"3", False))

    def test_data_while_waiting(self) -> None:
        """What comes while the word is awaited waits for its turn."""
        protocol, wire = self.connect(reply=b"!")
        protocol.dataReceived(b"a")
        protocol.dataReceived(b"b")
        self.assertEqual(wire.taken(), b"a!")
        self.say(b"1")
        self.assertEqual((wire.taken(), protocol.waiting), (b"1b!", True))
        self.say(b"2")
        self.assertEqual((wire.taken(), protocol.waiting), (b"2", False))

    def test_timeout(self) -> None:
        """When the operator takes too long there is no word, and all goes on."""
        protocol, wire = self.connect(operator_timeout=3.0)
        protocol.dataReceived(b"a")
        self.clock.advance(2.9)
        self.assertEqual((wire.taken(), protocol.waiting), (b"a" + ACK, True))
        self.clock.advance(0.2)
        self.assertEqual((wire.taken(), protocol.waiting), (b"", False))
        self.assertEqual(self.operator.waiting, ())
        protocol.dataReceived(b"b")
        self.assertEqual(wire.taken(), b"b" + ACK)

    def test_timeout_after_end(self) -> None:
        """A peer that has shut down its writing side is then closed."""
        protocol, wire = self.connect(operator_timeout=3.0)
        protocol.dataReceived(b"a")
        protocol.readConnectionLost()
        self.clock.advance(3.0)
        self.assertEqual((wire.value(), wire.disconnecting), (b"a" + ACK, True))

    def test_line_at_the_end(self) -> None:
        """A last line without its end is asked about, too, before the close."""
        protocol, wire = self.connect(framing="line", reply=b"!")
        protocol.dataReceived(b"a")
        protocol.readConnectionLost()
        self.assertEqual((wire.taken(), wire.disconnecting), (b"a!", False))
        self.say(b"ok")
        self.assertEqual((wire.taken(), wire.disconnecting), (b"ok", True))

    def test_connection_lost(self) -> None:
        """A peer that is gone waits no more, and no timer stays behind."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"a")
        wire.taken()
        protocol.connectionLost()
        self.assertEqual(self.operator.waiting, ())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(wire.taken(), b"")

    def test_lost_after_the_word(self) -> None:
        """A peer that goes when it has its word was not waiting."""
        protocol, wire = self.connect()
        protocol.dataReceived(b"a")
        self.say(b"ok")
        protocol.connectionLost()
        self.assertEqual(self.operator.waiting, ())

    def test_oldest_first(self) -> None:
        """Connections wait in the order in which they asked."""
        first, second = self.connect(reply=b"!"), self.connect(reply=b"!")
        second[0].dataReceived(b"b")
        first[0].dataReceived(b"a")
        self.say(b"1")
        self.say(b"2")
        self.assertEqual((first[1].value(), second[1].value()), (b"a!2", b"b!1"))

    def test_operator_leaves(self) -> None:
        """What waits when the operator leaves goes on waiting; what comes then does not."""
        waiting, later = self.connect(reply=b"!"), self.connect(reply=b"!")
        waiting[0].dataReceived(b"a")
        self.operator.detach(self.looking_on)
        later[0].dataReceived(b"b")
        self.assertEqual((waiting[0].waiting, later[0].waiting), (True, False))

    def test_full_queue(self) -> None:
        """Where too many wait, a connection goes on without a word."""
        peers = [self.connect(reply=b"!") for _ in range(MAX_WAITING + 1)]
        for protocol, _ in peers:
            protocol.dataReceived(b"a")
        protocol, wire = peers[-1]
        self.assertEqual(len(self.operator.waiting), MAX_WAITING)
        self.assertEqual((wire.value(), wire.paused), (b"a!", False))
        protocol.dataReceived(b"b")
        self.assertEqual(wire.value(), b"a!b!")
