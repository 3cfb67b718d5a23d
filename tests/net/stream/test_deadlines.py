"""Tests of C{socketd.net.stream.deadlines}."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.capacity import Capacity
from socketd.access.policy import CHECKS_PER_DEADLINE, AccessPolicy, Deadlines
from socketd.net.stream.deadlines import CLOSE_GRACE, FIRST_BYTE, HANDSHAKE, IDLE, LIFETIME, STALL
from socketd.net.timer_wheel import TICK
from tests.support.fakes import HandReactor, Recorder, connect, make_service_state, read_all

BIG = b"x" * (1 << 20)


class DeadlineTestCase(SynchronousTestCase):
    """A connection with one deadline or more."""

    def connect(self, **deadlines: float) -> None:
        """Make the connection."""
        self.reactor = HandReactor()
        self.awaiting: list[int] = []
        self.service_state, self.events = make_service_state(
            self.reactor,
            policy=AccessPolicy(Capacity(1), deadlines=Deadlines(**deadlines)),
            awaits_us=self.awaiting.__contains__,
        )
        self.protocol = Recorder(bytes.upper)
        self.connection, self.peer = connect(self.reactor, self.protocol, self.service_state)
        self.addCleanup(self.peer.close)
        self.addCleanup(self.connection.getHandle().close)

    def wait(self, seconds: float) -> None:
        """Let time pass, a tick at a time."""
        for _ in range(round(seconds / TICK)):
            self.reactor.advance(TICK)
            self.reactor.turn()

    def said(self) -> Any:
        """Say how the connection ended, as the log has it."""
        return [facts["reason"] for facts in self.events.named("connection_lost")]


class DeadlineTests(DeadlineTestCase):
    """Each deadline ends what it is there for, and nothing else."""

    def test_first_byte(self) -> None:
        """A peer that says nothing is closed when its time is over, not before."""
        self.connect(first_byte=4)
        self.wait(3.75)
        self.assertEqual(read_all(self.peer), (b"", False))
        self.wait(0.5)
        self.assertEqual(read_all(self.peer), (b"", True))
        self.assertEqual(self.service_state.counters.timed_out, {FIRST_BYTE: 1})

    def test_slot(self) -> None:
        """Its slot is free at once, though it does not close: it is owed nothing."""
        self.connect(first_byte=4)
        self.assertTrue(self.service_state.policy.capacity.is_full)
        self.wait(4.5)
        self.assertFalse(self.service_state.policy.capacity.is_full)
        self.assertFalse(self.connection.connected)
        self.assertEqual((len(self.protocol.lost), self.said()), (1, [FIRST_BYTE]))

    def test_stopped(self) -> None:
        """
        What came while the process was stopped counts, though a timer is due first; who
        was silent all the time is closed.
        """
        self.connect(idle=4, first_byte=2)
        self.peer.send(b"x")
        self.reactor.advance(60)
        self.assertEqual(read_all(self.peer), (b"X", False))
        self.assertEqual(self.service_state.counters.timed_out, {})
        self.reactor.advance(60)
        self.reactor.turn()
        self.assertEqual(read_all(self.peer), (b"", True))
        self.assertEqual(self.service_state.counters.timed_out, {IDLE: 1})

    def test_stopped_while_owing(self) -> None:
        """A peer that read on while the process was stopped has not stalled."""
        self.connect(stall=4)
        self.peer.send(b"x")
        self.reactor.turn()
        self.connection.write(BIG)
        self.wait(0.5)
        taken = len(read_all(self.peer)[0])
        self.reactor.advance(60)
        self.assertEqual(self.service_state.counters.timed_out, {})
        self.assertGreater(len(read_all(self.peer)[0]), 0)
        self.assertLess(taken, len(BIG))

    def test_gone_while_stopped(self) -> None:
        """A peer that closed meanwhile is closed, and not overdue."""
        self.connect(idle=4)
        self.peer.send(b"x")
        self.reactor.turn()
        self.assertEqual(self.peer.recv(2), b"X")
        self.peer.close()
        self.reactor.advance(60)
        self.reactor.turn()
        self.assertEqual((self.said(), self.service_state.counters.timed_out), (["closed"], {}))

    def test_first_byte_came(self) -> None:
        """A peer that has said something may be silent as long as nothing else limits it."""
        self.connect(first_byte=4)
        self.peer.send(b"x")
        self.wait(60)
        self.assertEqual(read_all(self.peer), (b"X", False))

    def test_server_speaks(self) -> None:
        """Where the daemon has spoken, the peer need not."""
        self.connect(first_byte=4)
        self.connection.write(b"hello")
        self.wait(60)
        self.assertEqual(read_all(self.peer), (b"hello", False))

    def test_idle(self) -> None:
        """A connection on which nothing moves is closed, an eighth late at most."""
        self.connect(idle=8)
        self.wait(7)
        self.peer.send(b"x")
        self.wait(7.5)
        self.assertEqual(read_all(self.peer), (b"X", False))
        self.wait(8 / CHECKS_PER_DEADLINE + 2)
        self.assertEqual(read_all(self.peer), (b"", True))
        self.assertEqual(self.service_state.counters.timed_out, {IDLE: 1})

    def test_lively(self) -> None:
        """A connection on which a byte moves now and then is not idle."""
        self.connect(idle=8)
        for _ in range(20):
            self.peer.send(b"x")
            self.wait(6)
        self.assertEqual(read_all(self.peer), (b"X" * 20, False))

    def test_lifetime(self) -> None:
        """However lively it is, a connection ends when its time is over."""
        self.connect(lifetime=10, idle=4)
        for _ in range(9):
            self.peer.send(b"x")
            self.wait(1)
        self.assertEqual(read_all(self.peer), (b"X" * 9, False))
        self.wait(2)
        self.assertEqual(read_all(self.peer), (b"", True))
        self.assertEqual(self.service_state.counters.timed_out, {LIFETIME: 1})

    def test_stall(self) -> None:
        """A peer that takes nothing of what it is owed is reset, however much it sends."""
        self.connect(stall=8)
        self.connection.write(BIG)
        for _ in range(5):
            self.peer.send(b"x")
            self.wait(2)
        self.assertFalse(self.connection.connected)
        self.assertTrue(self.protocol.lost[0].check(ConnectionAborted))
        self.assertEqual(self.service_state.counters.timed_out, {STALL: 1})

    def test_slow_is_not_stalled(self) -> None:
        """A peer that takes a little now and then is served on."""
        self.connect(stall=8)
        self.connection.write(BIG * 4)
        for _ in range(10):
            self.peer.recv(1 << 18)
            self.wait(5)
        self.assertTrue(self.connection.connected)

    def test_handshake(self) -> None:
        """A connection that agrees on nothing is reset when its time is over."""
        self.connect(handshake=4, idle=100)
        self.handshake_again()
        self.wait(3.5)
        self.assertTrue(self.connection.connected)
        self.wait(1)
        self.assertFalse(self.connection.connected)
        self.assertEqual(self.service_state.counters.timed_out, {HANDSHAKE: 1})

    def test_no_handshake_deadline(self) -> None:
        """Without that deadline the others still hold."""
        self.connect(idle=8)
        self.handshake_again()
        self.wait(7)
        self.assertEqual(read_all(self.peer), (b"", False))
        self.wait(8 / CHECKS_PER_DEADLINE + 2)
        self.assertEqual(self.service_state.counters.timed_out, {IDLE: 1})

    def handshake_again(self) -> None:
        """Start the deadlines of the connection again, with a handshake first."""
        self.service_state.wheel.remove(self.connection)
        self.connection.handshaking = True
        self.connection.start_deadlines()

    def test_said(self) -> None:
        """The log says which deadline it was."""
        self.connect(idle=2)
        self.wait(4)
        self.peer.close()
        self.wait(1)
        self.assertEqual(self.said(), [IDLE])

    def test_closing_peer_is_owed(self) -> None:
        """
        After a deadline a peer that has not taken all has the grace of every close, and
        is reset then.
        """
        self.connect(idle=2)
        self.connection.write(b"hello")
        self.wait(3)
        self.assertTrue(self.connection.connected)
        self.wait(CLOSE_GRACE + 1)
        self.assertFalse(self.connection.connected)
        self.assertEqual(self.service_state.counters.timed_out, {IDLE: 1})
        self.assertEqual(read_all(self.peer), (b"hello", True))

    def test_closing_peer_has_all(self) -> None:
        """One that has all is gone at once."""
        self.connect(idle=2)
        self.connection.write(b"hello")
        self.assertEqual(read_all(self.peer), (b"hello", False))
        self.wait(2 + 2 / CHECKS_PER_DEADLINE + TICK)
        self.assertFalse(self.connection.connected)
        self.assertEqual(read_all(self.peer), (b"", True))

    def test_closing_lively_peer(self) -> None:
        """
        One that may still say something is waited for: else what it has not read could
        be lost.
        """
        self.connect(lifetime=2)
        self.wait(2 + 2 * TICK)
        self.assertTrue(self.connection.connected)
        self.peer.close()
        self.reactor.turn()
        self.assertFalse(self.connection.connected)

    def test_awaits_us(self) -> None:
        """
        Who waits for this side is not idle meanwhile, and has its whole time after that,
        less a look.
        """
        self.connect(idle=8)
        self.awaiting.append(self.connection.connection_id)
        self.wait(60)
        self.awaiting.clear()
        self.wait(8 - 8 / CHECKS_PER_DEADLINE - TICK)
        self.assertTrue(self.connection.connected)
        self.wait(3)
        self.assertFalse(self.connection.connected)

    def test_none(self) -> None:
        """Without deadlines there is no timer, and the connection stays."""
        self.connect()
        self.wait(10000)
        self.assertTrue(self.connection.connected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ended(self) -> None:
        """A connection that has ended is not checked, and leaves no timer."""
        self.connect(idle=8, lifetime=3600)
        self.peer.close()
        self.reactor.turn(3)
        self.assertTrue(self.protocol.lost[0].check(ConnectionDone))
        self.wait(1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
