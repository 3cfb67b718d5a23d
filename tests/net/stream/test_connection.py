"""Tests of C{socketd.net.stream.connection}."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any
from unittest import mock

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport, ITLSTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementedBy, implementer
from zope.interface.verify import verifyClass, verifyObject

from socketd.faults.draws import ConnectionDraw
from socketd.net.stream import read_side
from socketd.net.stream.connection import FaultyConnection, StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE
from socketd.net.stream.read_side import RECEIVE_SIZE
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.net.timer_wheel import TICK
from socketd.protocols.spec import IDrainable, IFarewell
from socketd.settings.faults.values import Latency, Slices
from tests.net.faults.faulty_case import drawn
from tests.support.fakes import (
    HalfCloseable,
    HandReactor,
    Producer,
    Recorder,
    connect,
    make_service_state,
    read_all,
)

BIG = os.urandom(1 << 20)

#: A latency that is short beside all that tests wait for.
LATE = Latency(0.001)


class ConnectionTestCase(SynchronousTestCase):
    """A connection over a pair of sockets, turned by hand."""

    small = False
    draw: ConnectionDraw | None = None

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.service_state, self.events = make_service_state(self.reactor)
        self.protocol = self.make_protocol()
        self.connection, self.peer = connect(
            self.reactor, self.protocol, self.service_state, self.small, self.draw
        )
        self.addCleanup(self.peer.close)
        self.addCleanup(self.connection.getHandle().close)

    def make_protocol(self) -> Any:
        """Make the protocol of the connection."""
        return Recorder()

    def connect_tcp(self, protocol: Any) -> tuple[StreamConnection, socket.socket]:
        """Make a connection over TCP, and its peer."""
        connection, peer = connect(
            self.reactor, protocol, self.service_state, draw=self.draw, over_tcp=True
        )
        self.addCleanup(peer.close)
        self.addCleanup(connection.getHandle().close)
        return connection, peer

    def read_to_end(self, seconds: float = 0) -> bytes:
        """Let the connection send all, and the peer read it until the end, at a pace."""
        received, ended = b"", False
        while not ended:
            self.reactor.turn()
            part, ended = read_all(self.peer)
            received += part
            self.reactor.advance(seconds)
        return received

    def exchange(self, data: bytes) -> bytes:
        """Send all from the peer while the peer reads all, and close its side."""
        received, rest = [], memoryview(data)
        ended = False
        while not ended:
            if rest:
                try:
                    rest = rest[self.peer.send(rest[:70001]) :]
                except BlockingIOError:
                    pass
                if not rest:
                    self.peer.shutdown(socket.SHUT_WR)
            self.reactor.turn()
            part, ended = read_all(self.peer)
            received.append(part)
        return b"".join(received)


class InterfaceTests(ConnectionTestCase):
    """A connection is what Twisted expects of a transport."""

    def test_interfaces(self) -> None:
        """It provides the interfaces of a TCP transport and of a descriptor."""
        for interface in implementedBy(StreamConnection):
            self.assertTrue(verifyClass(interface, StreamConnection))
            self.assertTrue(verifyObject(interface, self.connection))
        for interface in (ITCPTransport, ITLSTransport):
            self.assertTrue(interface.providedBy(self.connection))

    def test_counts(self) -> None:
        """It counts messages and bytes, and hands its counts to the service at the end."""
        self.peer.send(b"hello")
        self.reactor.turn()
        self.connection.write(b"hi")
        self.assertEqual(self.connection.messages_received, 1)
        self.connection.abortConnection()
        self.reactor.turn()
        counters = self.service_state.counters
        self.assertEqual((counters.bytes_received, counters.bytes_sent), (5, 2))
        self.assertEqual((counters.messages_received, counters.connections), (1, 1))
        self.assertEqual(len(self.service_state.connection_table), 0)


class WriteTests(ConnectionTestCase):
    """Bytes are written at once where they can be, and in order always."""

    small = True

    def test_eager(self) -> None:
        """A write reaches the peer before the reactor's next turn."""
        self.connection.write(b"now")
        self.assertEqual(self.peer.recv(10), b"now")
        self.assertEqual(self.reactor.writers, [])

    def test_order(self) -> None:
        """What the kernel does not take follows in order, whatever the pieces."""
        sizes = [1, 70000, 3, 200000, 5, 100000]
        pieces = [os.urandom(size) for size in sizes]
        for piece in pieces:
            self.connection.write(piece)
        self.connection.writeSequence([b"a", b"", b"b"])
        self.connection.loseConnection()
        self.assertEqual(self.read_to_end(), b"".join(pieces) + b"ab")

    def test_only_bytes(self) -> None:
        """Text is refused."""
        self.assertRaises(TypeError, self.connection.write, "text")

    def test_write_after_end(self) -> None:
        """A write after the end is thrown away."""
        self.connection.abortConnection()
        self.connection.write(b"late")
        self.reactor.turn()
        self.connection.write(b"later")
        self.assertEqual(self.protocol.lost[0].type, ConnectionAborted)

    def test_write_to_reset_peer(self) -> None:
        """A write to a peer that is gone ends the connection, once, without an error."""
        self.peer.close()
        self.connection.write(b"x")
        self.connection.write(BIG)
        self.reactor.turn(3)
        self.assertEqual(len(self.protocol.lost), 1)
        self.assertEqual(self.flushLoggedErrors(), [])


class BackpressureTests(ConnectionTestCase):
    """A peer that does not read is not read from."""

    def make_protocol(self) -> Any:
        return Recorder(bytes)

    def test_bounded(self) -> None:
        """Beyond the high-water mark the connection stops reading."""
        sent = 0
        for _ in range(200):
            try:
                sent += self.peer.send(BIG)
            except BlockingIOError:
                pass
            self.reactor.turn()
        self.assertNotIn(self.connection, self.reactor.readers)
        held = self.connection.bytes_received - self.connection.bytes_sent
        self.assertTrue(HIGH_WATER < held <= HIGH_WATER + RECEIVE_SIZE, held)

    def test_all_comes_back(self) -> None:
        """Once the peer reads, all comes back, and nothing twice."""
        self.assertEqual(self.exchange(BIG * 4), BIG * 4)


class HalfCloseTests(ConnectionTestCase):
    """A peer that shuts down its writing side gets what it is owed."""

    def make_protocol(self) -> Any:
        return Recorder(bytes.upper)

    def test_reply_before_close(self) -> None:
        """The reply comes complete, then the end; the protocol is told once."""
        self.assertEqual(self.exchange(b"hello"), b"HELLO")
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionDone])

    def test_reset(self) -> None:
        """A peer that resets in the middle ends the connection as lost."""
        protocol = Recorder()
        _, peer = self.connect_tcp(protocol)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        self.reactor.turn(2)
        self.assertEqual([lost.type for lost in protocol.lost], [ConnectionLost])


class HalfCloseableProtocolTests(ConnectionTestCase):
    """A protocol that knows of half-close decides itself when to close."""

    def make_protocol(self) -> Any:
        return HalfCloseable()

    def test_goes_on_writing(self) -> None:
        """It may write long after the end of the input."""
        self.peer.shutdown(socket.SHUT_WR)
        self.reactor.turn(3)
        self.assertEqual(self.protocol.halves, ["read"])
        self.assertEqual(self.protocol.lost, [])
        self.connection.write(b"late")
        self.connection.loseConnection()
        self.reactor.turn(2)
        self.assertEqual(read_all(self.peer), (b"late", True))
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionDone])

    def test_shut_down_writing(self) -> None:
        """It may shut down its own writing side and go on reading."""
        self.connection.write(b"bye")
        self.connection.loseWriteConnection()
        self.reactor.turn(2)
        self.assertEqual(read_all(self.peer), (b"bye", True))
        self.assertEqual(self.protocol.halves, ["write"])
        self.peer.send(b"still here")
        self.reactor.turn()
        self.assertEqual(self.protocol.received, b"still here")

    def test_shut_down_too_late(self) -> None:
        """To shut down a connection that is being reset, or has ended, does nothing."""
        self.connection.abortConnection()
        self.connection.loseWriteConnection()
        self.assertEqual(self.reactor.writers, [])
        self.reactor.turn()
        self.connection.loseWriteConnection()
        self.assertEqual(self.reactor.writers, [])


class CloseTests(ConnectionTestCase):
    """A close sends what is owed and never hangs."""

    def test_unread_input_does_not_reset(self) -> None:
        """Unread input does not cost the peer its reply."""
        self.connection.write(b"reply")
        self.connection.loseConnection()
        self.peer.send(b"more than was wanted")
        self.reactor.turn(2)
        self.assertEqual(read_all(self.peer), (b"reply", True))
        self.assertEqual(self.protocol.lost, [])
        self.peer.close()
        self.reactor.turn(2)
        self.assertEqual(self.protocol.received, b"")
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionDone])

    def test_peer_never_closes(self) -> None:
        """A peer that does not close is reset after the grace."""
        self.connection.loseConnection()
        self.reactor.turn(2)
        self.reactor.advance(CLOSE_GRACE - 0.1)
        self.reactor.turn()
        self.assertEqual(self.protocol.lost, [])
        self.reactor.advance(0.1 + TICK)
        self.reactor.turn()
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionAborted])

    def test_peer_never_reads(self) -> None:
        """A peer that takes no byte is reset after the grace."""
        self.connection.write(BIG)
        self.connection.loseConnection()
        self.reactor.turn(3)
        self.assertEqual(self.protocol.lost, [])
        self.reactor.advance(CLOSE_GRACE + TICK)
        self.reactor.turn()
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionAborted])

    def test_slow_peer_is_waited_for(self) -> None:
        """A peer that takes some bytes within each grace gets all of them."""
        self.connection.write(BIG)
        self.connection.loseConnection()
        self.assertEqual(self.read_to_end(CLOSE_GRACE - 0.1), BIG)

    def test_abort(self) -> None:
        """An abort throws away what is buffered, and tells the protocol once and later."""
        self.connection.write(BIG)
        self.connection.abortConnection()
        self.connection.abortConnection()
        self.assertEqual(self.protocol.lost, [])
        self.reactor.turn(2)
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionAborted])
        self.assertEqual((self.reactor.readers, self.reactor.writers), ([], []))
        self.assertEqual(self.connection.fileno(), -1)

    def test_no_timer_is_left(self) -> None:
        """A connection that has ended leaves no timer behind."""
        self.connection.loseConnection()
        self.reactor.turn(2)
        self.peer.close()
        self.reactor.turn(2)
        self.reactor.advance(TICK)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_log_line(self) -> None:
        """The end is an event with its reason and the counts."""
        self.peer.close()
        self.reactor.turn(2)
        name, facts = self.events[-1]
        self.assertEqual(name, "connection_lost")
        self.assertEqual((facts["reason"], facts["received"], facts["sent"]), ("closed", 0, 0))


class ProducerTests(ConnectionTestCase):
    """Producers are treated as C{IConsumer} says."""

    def test_streaming(self) -> None:
        """A push producer is paused when too much is buffered and resumed when all is sent."""
        producer = Producer()
        self.connection.registerProducer(producer, True)
        self.connection.write(BIG)
        self.assertEqual(producer.calls, ["pause"])
        ended = False
        while "resume" not in producer.calls and not ended:
            self.reactor.turn()
            _, ended = read_all(self.peer)
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_pull(self) -> None:
        """A pull producer is asked for each piece, and then the connection closes."""
        producer = Producer(self.connection, 5)
        self.connection.registerProducer(producer, False)
        self.connection.loseConnection()
        self.reactor.turn(10)
        self.assertEqual(read_all(self.peer), (b"x" * 5000, True))
        self.assertEqual(producer.calls, ["resume"] * 5)

    def test_only_one(self) -> None:
        """A second producer is refused."""
        self.connection.registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, self.connection.registerProducer, Producer(), True)

    def test_stopped_at_the_end(self) -> None:
        """A producer is stopped when the connection ends, and at once when it has ended."""
        producer, late = Producer(), Producer()
        self.connection.registerProducer(producer, True)
        self.connection.abortConnection()
        self.reactor.turn()
        self.connection.registerProducer(late, True)
        self.assertEqual((producer.calls, late.calls), (["stop"], ["stop"]))

    def test_close_waits_for_producer(self) -> None:
        """
        A close waits for a producer that was told to wait: it is asked once more, and
        what it says then is sent.
        """
        producer: Any = Producer()
        self.connection.registerProducer(producer, True)
        self.connection.write(BIG)
        self.connection.loseConnection()
        producer.resumeProducing = lambda: self.connection.write(b"the rest")
        self.assertEqual(self.read_to_end(), BIG + b"the rest")

    def test_close_does_not_wait_for_ever(self) -> None:
        """
        One that may produce whenever it likes has said what it had to say, as Twisted's
        transports take it: a server of HTTP is a producer as long as its connection.
        """
        self.connection.registerProducer(Producer(), True)
        self.connection.write(b"all")
        self.connection.loseConnection()
        self.reactor.turn(2)
        self.assertEqual(read_all(self.peer), (b"all", True))

    def test_end_of_input(self) -> None:
        """
        When the peer ends, its connection ends at once and cleanly, with a producer too;
        a producer that was told to wait is heard first, and one that is asked for each
        piece until it is through.
        """
        for streaming in (True, False):
            service_state, events = make_service_state(self.reactor)
            connection, peer = connect(
                self.reactor, self.protocol, service_state, draw=self.draw
            )
            self.addCleanup(peer.close)
            producer = Producer(connection, 3)
            connection.registerProducer(producer, streaming)
            peer.shutdown(socket.SHUT_WR)
            self.reactor.turn(6)
            expected = b"" if streaming else b"x" * 3000
            self.assertEqual(read_all(peer), (expected, True))
            self.assertEqual(events[-1][1]["reason"], "closed")
            self.assertFalse(connection.connected)


@implementer(IDrainable)
class Drainable(Recorder):
    """
    A protocol that closes when it likes to.

    @ivar drained: how often it was asked to.
    """

    drained = 0

    def drain(self) -> None:
        self.drained += 1


class DrainTests(ConnectionTestCase):
    """The daemon stops."""

    def make_protocol(self) -> Any:
        return Drainable()

    def test_by_protocol(self) -> None:
        """A protocol that drains gets what has come, and closes by itself; once."""
        verifyClass(IDrainable, Drainable)
        self.peer.send(b"last words")
        self.connection.drain_and_close()
        self.assertEqual((self.protocol.received, self.protocol.drained), (b"last words", 1))
        self.reactor.advance(2 * CLOSE_GRACE)
        self.assertFalse(self.connection.disconnecting)
        self.connection.loseConnection()
        self.connection.drain_and_close()
        self.assertEqual(self.protocol.drained, 1)

    def test_operator(self) -> None:
        """An operator's close does not ask."""
        self.connection.close()
        self.assertTrue(self.connection.disconnecting)
        self.assertEqual(self.protocol.drained, 0)


@implementer(IFarewell)
class Polite(Recorder):
    """A protocol that says something before it is closed."""

    def say_farewell(self) -> None:
        self.transport.write(b"bye")


class FarewellTests(ConnectionTestCase):
    """An operator closes a connection whose protocol has something to say."""

    def make_protocol(self) -> Any:
        return Polite()

    def test_said_once(self) -> None:
        """It is said before the close, behind all that was sent; once."""
        verifyClass(IFarewell, Polite)
        self.connection.write(b"all, ")
        self.connection.close()
        self.connection.close()
        self.reactor.turn(3)
        self.assertEqual(read_all(self.peer), (b"all, bye", True))

    def test_not_by_itself(self) -> None:
        """A protocol that closes by itself says what it likes to."""
        self.connection.loseConnection()
        self.connection.close()
        self.reactor.turn(3)
        self.assertEqual(read_all(self.peer), (b"", True))


class FaultyFarewellTests(FarewellTests):
    """So it is with a profile, which a close does not wait for."""

    draw = drawn(latency=Latency(60.0))


class LeavingTests(ConnectionTestCase):
    """The reactor may end while a connection waits for its peer's own end."""

    def test_closed_all_the_same(self) -> None:
        """What was sent and ended is closed cleanly for its protocol."""
        self.connection.write(b"all")
        self.connection.loseConnection()
        self.reactor.turn()
        self.assertTrue(self.connection.connected)
        self.connection.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([reason.type for reason in self.protocol.lost], [ConnectionDone])

    def test_handed_on_at_once(self) -> None:
        """A protocol may take its socket from the reactor as soon as it is there."""

        class Taking(Recorder):
            def connectionMade(self) -> None:
                self.transport.reactor.removeReader(self.transport)

        connection, peer = connect(self.reactor, Taking(), self.service_state, draw=self.draw)
        self.addCleanup(peer.close)
        self.assertNotIn(connection, self.reactor.readers)
        connection.abortConnection()
        self.reactor.turn()


class PauseTests(ConnectionTestCase):
    """A paused connection reads nothing."""

    def test_pause_and_resume(self) -> None:
        """What comes meanwhile is read after the pause."""
        self.connection.pauseProducing()
        self.peer.send(b"wait")
        self.reactor.turn(2)
        self.assertEqual(self.protocol.received, b"")
        self.connection.resumeProducing()
        self.reactor.turn()
        self.assertEqual(self.protocol.received, b"wait")


class Failing(Recorder):
    """Raises at each message and at its end."""

    def dataReceived(self, data: bytes) -> None:
        raise ValueError("a fault of the protocol")


class FailingProtocolTests(ConnectionTestCase):
    """A protocol that raises loses its connection; others are unaffected."""

    def make_protocol(self) -> Any:
        return Failing()

    def test_reset_and_logged(self) -> None:
        """The connection is reset, and an event says why."""
        self.peer.send(b"x")
        self.reactor.turn(2)
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionAborted])
        facts = dict(self.events)["protocol_failed"]
        self.assertEqual(facts["error"], "ValueError: a fault of the protocol")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class MemoryTests(ConnectionTestCase):
    """Memory does not suffice to receive."""

    def test_receive(self) -> None:
        """The connection is reset, and one event says why."""
        self.peer.send(b"x")
        with mock.patch.object(read_side, "read", side_effect=MemoryError):
            self.reactor.turn()
        self.reactor.turn()
        self.assertRaises(ConnectionResetError, self.peer.recv, 1)
        (facts,) = self.events.named("protocol_failed")
        self.assertEqual(facts["error"], read_side.NO_MEMORY)


class AcknowledgeTests(ConnectionTestCase):
    """What came is acknowledged before there is an answer."""

    def test_small_pieces(self) -> None:
        """A peer of TCP that holds small pieces back until then sends the next one."""
        protocol = Recorder()
        talking, peer = self.connect_tcp(protocol)
        peer.setblocking(True)
        # After some questions and answers the kernel expects an answer to each.
        for _ in range(3):
            peer.send(b"question")
            self.reactor.turn()
            talking.write(b"answer")
            peer.recv(100)
        protocol.received = b""
        peer.send(b"one")
        self.reactor.turn()
        peer.send(b"two")
        talking.acknowledge()
        self.reactor.turn()
        self.assertEqual(protocol.received, b"onetwo")

    def test_unix(self) -> None:
        """A UNIX socket has nothing to acknowledge, and is served as before."""
        self.connection.acknowledge()
        self.peer.send(b"hello")
        self.reactor.turn()
        self.assertEqual(self.protocol.received, b"hello")


class ObservedTests(ConnectionTestCase):
    """Messages are events while the event bus is watched."""

    def test_message(self) -> None:
        """Each message is an event, escaped."""
        self.peer.send(b"hel\x1blo")
        self.reactor.turn()
        self.assertEqual(self.events[-1][0], "message_received")
        self.assertEqual(self.events[-1][1]["text"], "hel\\x1blo")


class LateReactor(HandReactor):
    """One whose clock goes further with each turn than a faulty connection takes."""

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            super().turn()
            self.advance(LATE.base)
            super().turn()


class Timed:
    """Mixin: the same with a profile that changes nothing but when bytes leave."""

    connection: StreamConnection
    draw: ConnectionDraw | None

    def setUp(self) -> None:
        self.draw = drawn(latency=LATE, slice=Slices(1000, 50000))
        patch = self.patch  # type: ignore[attr-defined]
        patch(sys.modules[__name__], "HandReactor", LateReactor)
        super().setUp()  # type: ignore[misc]
        assert type(self.connection) is FaultyConnection


class TimedInterfaceTests(Timed, InterfaceTests):
    """So it is with a profile, whose connection is what Twisted expects, too."""

    def test_counts(self) -> None:
        """What is held when the connection is reset was not sent."""
        self.connection.write(b"hi")
        self.reactor.turn()
        self.connection.write(b"never")
        self.connection.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.service_state.counters.bytes_sent, 2)


class TimedWriteTests(Timed, WriteTests):
    """So it is with a profile, but that nothing is sent at once."""

    def test_eager(self) -> None:
        """A write reaches the peer when its time has come."""
        self.connection.write(b"now")
        self.assertRaises(BlockingIOError, self.peer.recv, 10)
        self.reactor.advance(LATE.base)
        self.assertEqual((self.peer.recv(10), self.reactor.writers), (b"now", []))


for _case in (
    BackpressureTests,
    HalfCloseTests,
    HalfCloseableProtocolTests,
    CloseTests,
    ProducerTests,
    LeavingTests,
    PauseTests,
    FailingProtocolTests,
    ObservedTests,
):
    _name = f"Timed{_case.__name__}"
    _more = {"__module__": __name__, "__doc__": f"With a profile: {_case.__doc__}"}
    globals()[_name] = type(_name, (Timed, _case), _more)
del _case
