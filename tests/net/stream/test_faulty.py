"""Tests of C{socketd.net.stream.faulty}."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone

from socketd.net.faults.held_output import PORTION
from socketd.net.stream.connection import FaultyConnection, StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE, LIFETIME
from socketd.net.stream.faulty import LOOK_INTERVAL
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.net.timer_wheel import TICK
from socketd.settings.faults.values import (
    NEVER_READ,
    REFUSE,
    SILENT,
    SLOW,
    Accept,
    After,
    Latency,
    Slices,
)
from tests.net.faults.faulty_case import drawn
from tests.net.stream.faulty_case import FaultyCase
from tests.support.fakes import HalfCloseable, Producer, Recorder, read_all

BIG = bytes(range(256)) * 4096

#: A latency in seconds that none of the deadlines and steps here is a part of.
LATE = Latency(0.08)


class Greeting(Recorder):
    """Says something first, and closes."""

    def connectionMade(self) -> None:
        self.transport.write(b"welcome")
        self.transport.loseConnection()


class LatencyTests(FaultyCase):
    """What is sent comes later, and in order."""

    def test_exact(self) -> None:
        """Nothing comes before its time, and all then."""
        self.connect(latency=LATE)
        self.ask(b"hello")
        self.reactor.advance(0.079)
        self.assertEqual(self.answer(), (b"", False))
        self.reactor.advance(0.001)
        self.assertEqual(self.answer(), (b"HELLO", False))
        self.assertEqual(self.acted, {"latency": 1})

    def test_one_timer(self) -> None:
        """However much is held, a connection has one timer."""
        self.connect(latency=LATE)
        for _ in range(100):
            self.connection.write(b"x")
            self.reactor.advance(0.0001)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(0.1)
        self.assertEqual(self.answer(), (b"x" * 100, False))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_close_waits(self) -> None:
        """A close comes after what was written before it, longer than a grace if need be."""
        self.connect(Greeting(), latency=Latency(2 * CLOSE_GRACE))
        self.wait(2 * CLOSE_GRACE - TICK)
        self.assertEqual(self.answer(), (b"", False))
        self.wait(TICK)
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"welcome", True))
        self.peer.close()
        self.reactor.turn(2)
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionDone])

    def test_end_of_input(self) -> None:
        """A peer that ends its side gets what is held, and the end then."""
        self.connect(latency=LATE)
        self.ask(b"hello")
        self.peer.shutdown(socket.SHUT_WR)
        self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"", False))
        self.reactor.advance(0.08)
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"HELLO", True))
        self.assertEqual(self.reason(), "closed")

    def test_half_close(self) -> None:
        """The writing side is shut down after what is held."""
        self.connect(HalfCloseable(), latency=LATE)
        self.connection.write(b"bye")
        self.connection.loseWriteConnection()
        self.reactor.turn(2)
        self.assertEqual((self.answer(), self.protocol.halves), ((b"", False), []))
        self.reactor.advance(0.08)
        self.reactor.turn()
        self.assertEqual((self.answer(), self.protocol.halves), ((b"bye", True), ["write"]))

    def test_abort(self) -> None:
        """A reset throws away what is held, and leaves no timer."""
        self.connect(latency=LATE)
        self.connection.write(b"never")
        self.connection.abortConnection()
        self.reactor.turn(2)
        self.assertEqual([lost.type for lost in self.protocol.lost], [ConnectionAborted])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.answer()[0], b"")

    def test_backpressure(self) -> None:
        """Held bytes count: with too many the connection is not read, until they are sent."""
        self.connect(latency=LATE)
        for _ in range(3):
            self.ask(b"x" * HIGH_WATER)
            self.reactor.turn()
        self.assertNotIn(self.connection, self.reactor.readers)
        self.assertTrue(HIGH_WATER < self.connection.bytes_received <= 3 * HIGH_WATER)
        self.reactor.advance(0.08)
        self.reactor.turn()
        self.assertIn(self.connection, self.reactor.readers)

    def test_push_producer(self) -> None:
        """A producer that writes by itself is told to wait, and to go on when all is sent."""
        self.connect(latency=LATE)
        producer = Producer()
        self.connection.registerProducer(producer, True)
        self.connection.write(b"x" * (HIGH_WATER + 1))
        self.assertEqual(producer.calls, ["pause"])
        self.reactor.turn(2)
        self.assertEqual(producer.calls, ["pause"])
        self.reactor.advance(0.08)
        read_all(self.peer)
        self.reactor.turn()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_producer_that_writes_late(self) -> None:
        """What a producer writes as it is told to wait comes behind what it wrote before."""
        self.connect(Recorder(), small=True, slice=Slices(65536, 65536))
        producer: Any = Producer()
        producer.pauseProducing = lambda: self.connection.write(b"last")
        self.connection.registerProducer(producer, True)
        self.connection.write(BIG)
        received = b""
        while len(received) < len(BIG) + 4:
            self.reactor.turn()
            received += read_all(self.peer)[0]
        self.assertEqual(received, BIG + b"last")

    def test_pull_producer(self) -> None:
        """One that is asked for each piece is asked when the last one was sent."""
        self.connect(latency=LATE)
        producer = Producer(self.connection, 3)
        self.connection.registerProducer(producer, False)
        self.connection.loseConnection()
        for asked in (1, 2, 3):
            self.assertEqual(len(producer.calls), asked)
            self.reactor.advance(0.08)
            self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"x" * 3000, True))

    def test_full_socket(self) -> None:
        """What the kernel does not take follows in order."""
        self.connect(Recorder(), small=True, latency=LATE, slice=Slices(1000, 5000))
        self.connection.write(BIG)
        self.connection.loseConnection()
        received, ended = b"", False
        while not ended:
            self.reactor.turn()
            part, ended = read_all(self.peer)
            received += part
            self.reactor.advance(0.08)
        self.assertEqual(received, BIG)

    def test_only_bytes(self) -> None:
        """Text is refused."""
        self.connect(latency=LATE)
        self.assertRaises(TypeError, self.connection.write, "text")


class PaceTests(FaultyCase):
    """Bandwidth and slices, on the reactor's clock."""

    def test_bandwidth(self) -> None:
        """After each second, so many bytes more have come."""
        self.connect(bandwidth=10000)
        self.connection.write(BIG[:50000])
        self.connection.loseConnection()
        received = b""
        for second in range(5):
            self.assertTrue(0 <= second * 10000 - len(received) <= 10000 * PORTION)
            self.wait(1, 0.01)
            received += read_all(self.peer)[0]
        self.wait(PORTION, 0.01)
        part, ended = read_all(self.peer)
        self.assertEqual((received + part, ended), (BIG[:50000], True))
        self.assertEqual(self.acted, {"bandwidth": 1})

    def test_slices(self) -> None:
        """A piece comes at each step, of a size that is allowed."""
        self.connect(slice=Slices(1, 16, 0.05))
        self.connection.write(BIG[:200])
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < 200:
            pieces.append(self.answer()[0])
            self.reactor.advance(0.05)
        self.assertTrue(all(1 <= len(piece) <= 16 for piece in pieces), pieces)
        self.assertEqual(b"".join(pieces), BIG[:200])
        self.assertEqual(self.acted, {"slice": 1})


class EndTests(FaultyCase):
    """A connection ends after so many bytes, or a time."""

    def test_reset_after_bytes(self) -> None:
        """The peer reads just these, and is reset then."""
        self.connect_tcp(reset=After(size=100))
        self.ask(b"x" * 300)
        self.wait_for_end()
        self.assertEqual(self.peer.recv(1000), b"X" * 100)
        self.assertRaises(ConnectionResetError, self.peer.recv, 1)
        self.assertEqual((self.reason(), self.acted), ("reset by fault", {"reset": 1}))

    def test_reset_in_pieces(self) -> None:
        """Bytes count over writes; held ones are sent first."""
        self.connect_tcp(reset=After(size=100), latency=LATE)
        for _ in range(4):
            self.ask(b"x" * 30)
        self.reactor.advance(0.07)
        self.assertEqual(self.answer(), (b"", False))
        self.reactor.advance(0.01)
        self.wait_for_end()
        self.assertEqual(self.peer.recv(1000), b"X" * 100)
        self.assertRaises(ConnectionResetError, self.peer.recv, 1)

    def test_reset_waits_for_slow_peer(self) -> None:
        """A peer that reads slowly reads all before it is reset."""
        self.connect(Recorder(), small=True, reset=After(size=40000))
        self.connection.write(BIG)
        received = b""
        while self.connection.connected:
            self.reactor.turn()
            try:
                received += self.peer.recv(1000)
            except BlockingIOError:
                pass
            self.reactor.advance(0.05)
        self.assertEqual(received, BIG[:40000])

    def test_reset_of_stuck_peer(self) -> None:
        """One that reads nothing is reset after the grace of a close."""
        self.connect(Recorder(), reset=After(size=100))
        self.connection.write(BIG)
        self.reactor.turn()
        self.wait(CLOSE_GRACE - 2 * TICK)
        self.assertTrue(self.connection.connected)
        self.wait(4 * TICK)
        self.assertEqual(self.reason(), "reset by fault")

    def test_reset_after_time(self) -> None:
        """At its time the connection is reset, whatever is held."""
        self.connect_tcp(reset=After(seconds=2.0), latency=Latency(3.0))
        self.ask(b"x")
        self.wait(1.75)
        self.assertEqual(self.answer(), (b"", False))
        self.wait(0.5)
        self.assertIsNone(self.answer())
        self.assertEqual(self.acted, {"latency": 1, "reset": 1})

    def test_at_once(self) -> None:
        """At once, no byte is sent, not even by a protocol that speaks first."""
        for end in ("reset", "close", "half_close"):
            self.connect_tcp(Greeting(), **{end: After(seconds=0.0)})
            self.reactor.turn(2)
            self.assertEqual(self.answer(), None if end == "reset" else (b"", True), end)

    def test_reset_at_once_before_end(self) -> None:
        """It comes before what the peer has sent and ended already is read."""
        self.connect_tcp(reset=After(seconds=0.0))
        self.peer.sendall(b"hello")
        self.peer.shutdown(socket.SHUT_WR)
        self.connection.doRead()
        self.reactor.turn(2)
        self.assertIsNone(self.answer())
        self.assertEqual((self.reason(), self.acted), ("reset by fault", {"reset": 1}))

    def test_close_after_bytes(self) -> None:
        """The peer reads just these, and the end; its own end is waited for."""
        self.connect(close=After(size=1024))
        self.ask(b"x" * 3000)
        self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"X" * 1024, True))
        self.assertTrue(self.connection.connected)
        self.peer.close()
        self.reactor.turn()
        self.assertEqual((self.reason(), self.acted), ("closed by fault", {"close": 1}))

    def test_not_reached(self) -> None:
        """A connection that sends less ends as ever."""
        self.connect(Greeting(), close=After(size=1024))
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"welcome", True))
        self.peer.close()
        self.reactor.turn()
        self.assertEqual((self.reason(), self.acted), ("closed", {}))

    def test_close_after_time(self) -> None:
        """A close by time sends what is held."""
        self.connect(close=After(seconds=5.0), latency=Latency(1.0))
        self.wait(4.5)
        self.ask(b"last")
        self.wait(0.75)
        self.assertEqual(self.answer(), (b"", False))
        self.wait(0.5)
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"LAST", True))

    def test_half_close(self) -> None:
        """The peer reads the end, and is still read."""
        self.connect(HalfCloseable(), half_close=After(size=10))
        self.connection.write(b"x" * 30)
        self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"x" * 10, True))
        self.ask(b"still here")
        self.assertEqual(self.protocol.received, b"still here")
        self.assertEqual((self.protocol.halves, self.acted), (["write"], {"half-close": 1}))

    def test_half_close_then_reset(self) -> None:
        """A half-close may be followed by an end by time."""
        self.connect_tcp(half_close=After(size=10), reset=After(seconds=2.0))
        self.ask(b"x" * 30)
        self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"X" * 10, True))
        self.wait(2.25)
        self.assertEqual(self.acted, {"half-close": 1, "reset": 1})
        self.assertFalse(self.connection.connected)

    def test_pull_producer(self) -> None:
        """A producer of what is no longer sent does not keep the connection open."""
        self.connect(close=After(size=1500))
        producer = Producer(self.connection, 1000)
        self.connection.registerProducer(producer, False)
        self.reactor.turn(4)
        self.assertEqual(self.answer(), (b"x" * 1500, True))
        self.assertEqual(producer.calls, ["resume"] * 2)

    def test_push_producer(self) -> None:
        """One that writes by itself is told to wait, also if it comes later."""
        self.connect(half_close=After(size=10))
        first, second = Producer(), Producer()
        self.connection.registerProducer(first, True)
        self.connection.write(b"x" * 30)
        self.connection.unregisterProducer()
        self.connection.registerProducer(second, True)
        self.assertEqual((first.calls, second.calls), (["pause"], ["pause"]))


class AcceptTests(FaultyCase):
    """What becomes of a connection at its start."""

    def test_silent(self) -> None:
        """A silent connection reads, and answers nothing; no deadline but its lifetime ends it."""
        limits = {"first_byte": 2, "idle": 4, "stall": 4, "lifetime": 60}
        self.connect(accept=Accept(SILENT), limits=limits)
        self.ask(b"hello")
        self.wait(55)
        self.assertEqual(self.answer(), (b"", False))
        self.assertEqual((self.protocol.received, self.acted), (b"hello", {"silent": 1}))
        self.wait(10)
        self.assertEqual(self.service_state.counters.timed_out, {LIFETIME: 1})

    def test_silent_close(self) -> None:
        """It stays when its protocol closes, and ends with its peer, who gets nothing."""
        self.connect(Greeting(), accept=Accept(SILENT))
        self.wait(60)
        self.assertEqual(self.answer(), (b"", False))
        self.peer.shutdown(socket.SHUT_WR)
        self.wait(LOOK_INTERVAL + TICK)
        self.assertEqual((self.answer(), self.reason()), ((b"", True), "closed"))

    def test_silent_end(self) -> None:
        """It ends as soon as its peer does, though its protocol might have more to say."""
        self.connect(HalfCloseable(), accept=Accept(SILENT))
        self.connection.write(b"never")
        self.peer.close()
        self.reactor.turn()
        self.assertEqual(self.reason(), "closed")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_never_read(self) -> None:
        """The peer's window fills, and nothing is read; what the protocol says is sent."""
        self.connect(Recorder(), small=True, accept=Accept(NEVER_READ), limits={"idle": 4})
        self.connection.write(b"welcome")
        sent = 0
        with self.assertRaises(BlockingIOError):
            while True:
                sent += self.peer.send(b"x" * 1000)
        self.wait(60)
        self.assertEqual((self.connection.bytes_received, self.answer()[0]), (0, b"welcome"))
        self.peer.close()
        self.wait(2 * LOOK_INTERVAL)
        self.assertFalse(self.connection.connected)
        self.assertEqual(self.acted, {"never-read": 1})

    def test_never_read_close(self) -> None:
        """A close of the protocol has the grace of any close."""
        self.connect(Greeting(), accept=Accept(NEVER_READ))
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"welcome", True))
        self.wait(CLOSE_GRACE + 2 * LOOK_INTERVAL)
        self.assertFalse(self.connection.connected)

    def test_slow(self) -> None:
        """A slow connection is not served before its time, and as any other then."""
        self.connect(accept=Accept(SLOW, 5.0), limits={"first_byte": 2, "idle": 4})
        self.connection.write(b"welcome ")
        self.ask(b"hello")
        self.wait(4.75)
        self.assertEqual((self.protocol.received, self.answer()), (b"", (b"", False)))
        self.wait(0.5)
        self.assertEqual(self.answer(), (b"welcome HELLO", False))
        self.wait(6)
        self.assertEqual(self.answer(), (b"", True))
        self.assertEqual(self.acted, {"slow": 1})

    def test_refuse(self) -> None:
        """To refuse a connection that is there is to reset it."""
        self.connect_tcp(accept=Accept(REFUSE))
        self.reactor.turn(2)
        self.assertIsNone(self.answer())
        self.assertEqual((self.reason(), self.acted), ("reset by fault", {"refuse": 1}))


class ChangeTests(FaultyCase):
    """A profile begins and ends on a live connection."""

    def test_removed(self) -> None:
        """What is held is sent at once, in order; the connection is as any other."""
        self.connect(latency=LATE, slice=Slices(1, 3, 1.0))
        self.ask(b"one")
        self.ask(b"two")
        self.connection.change_fault(None)
        self.connection.write(b"three")
        self.assertEqual(self.answer(), (b"ONETWOthree", False))
        self.assertIs(type(self.connection), StreamConnection)
        self.assertIsNone(self.connection.fault)
        self.assertEqual((self.connection._buffered, self.reactor.getDelayedCalls()), (0, []))

    def test_removed_from_full_socket(self) -> None:
        """What the kernel does not take then follows in order, and a close waits for it."""
        self.connect(Recorder(), small=True, latency=LATE)
        self.connection.write(BIG)
        self.connection.loseConnection()
        self.connection.change_fault(None)
        received, ended = b"", False
        while not ended:
            self.reactor.turn()
            part, ended = read_all(self.peer)
            received += part
        self.assertEqual(received, BIG)

    def test_removed_from_each(self) -> None:
        """A connection that was silent, not read, or slow is served."""
        for action in (SILENT, NEVER_READ, SLOW):
            self.connect(accept=Accept(action, 60.0))
            self.ask(b"hello")
            self.connection.change_fault(None)
            self.reactor.turn()
            self.assertEqual(self.answer(), (b"HELLO", False), action)

    def test_changed(self) -> None:
        """Another profile begins with nothing held, and counts from then on."""
        self.connect_tcp(latency=LATE)
        self.ask(b"before")
        self.connection.change_fault(drawn(reset=After(size=3)))
        self.ask(b"after")
        self.wait_for_end()
        self.assertEqual(self.peer.recv(100), b"BEFOREAFT")
        self.assertRaises(ConnectionResetError, self.peer.recv, 1)

    def test_begins(self) -> None:
        """A profile begins on a connection that had none."""
        self.connect(latency=LATE)
        self.connection.change_fault(None)
        draw = drawn(latency=LATE)
        self.connection.change_fault(draw)
        self.ask(b"x")
        self.assertEqual(self.answer(), (b"", False))
        self.assertIs(type(self.connection), FaultyConnection)
        self.assertIs(self.connection.fault, draw)
        self.reactor.advance(0.08)
        self.assertEqual(self.answer(), (b"X", False))

    def test_too_late(self) -> None:
        """An end that has come stays, and one that has ended is not changed."""
        self.connect(HalfCloseable(), half_close=After(size=3))
        self.connection.write(b"abcdef")
        self.connection.change_fault(None)
        self.connection.write(b"more")
        self.reactor.turn(2)
        self.assertEqual(self.answer(), (b"abc", True))
        self.connection.abortConnection()
        before = self.connection.fault
        self.connection.change_fault(drawn(latency=LATE))
        self.assertIs(self.connection.fault, before)

    def test_drain(self) -> None:
        """A drain sends what is held, and closes."""
        for options in ({"latency": Latency(60.0)}, {"accept": Accept(SILENT)}):
            self.connect(**options)
            self.ask(b"held")
            self.peer.send(b" and waiting")
            self.connection.drain_and_close()
            self.reactor.turn()
            self.assertEqual(self.answer(), (b"HELD AND WAITING", True))

    def test_close_by_operator(self) -> None:
        """An operator closes without waiting, also what was closing already."""
        self.connect(Greeting(), accept=Accept(SILENT))
        self.wait(30)
        self.connection.close()
        self.reactor.turn()
        self.assertEqual(self.answer(), (b"welcome", True))

    def test_event(self) -> None:
        """The event of the connection has what was drawn; without a profile it has not."""
        self.connect(latency=LATE)
        (facts,) = self.events.named("connection_made")
        assert self.connection.fault is not None
        self.assertEqual(facts["fault"], self.connection.fault.text)
        self.assertIn("latency 80ms", facts["fault"])


class DeadlineTests(FaultyCase):
    """Deadlines do not count the time for which the profile holds something."""

    def test_held(self) -> None:
        """What is held for longer than every deadline arrives."""
        limits = {"first_byte": 1, "idle": 2, "stall": 2}
        self.connect(latency=Latency(20.0), limits=limits)
        self.ask(b"hello")
        self.wait(20.25)
        self.assertEqual(self.answer(), (b"HELLO", False))
        self.wait(3)
        self.assertEqual(self.answer(), (b"", True))

    def test_stalled_peer(self) -> None:
        """A peer that does not take what was let through has stalled as ever."""
        self.connect(Recorder(), small=True, bandwidth=100_000, limits={"stall": 4})
        self.connection.write(BIG)
        self.wait(8)
        self.assertEqual(self.service_state.counters.timed_out, {"stall_timeout": 1})

    def test_handshake(self) -> None:
        """In a handshake the peer has its time for the answer to what was held."""
        self.connect(Recorder(), latency=Latency(6.0), limits={"handshake": 4})
        self.connection.handshaking = True
        self.connection.start_deadlines()
        self.connection.write(b"server hello")
        self.wait(9.5)
        self.assertTrue(self.connection.connected)
        self.wait(1)
        self.assertEqual(self.service_state.counters.timed_out, {"handshake_timeout": 1})
