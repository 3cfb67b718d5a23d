"""Tests of C{socketd.net.stream.refusal}, and of what a port does with a fault profile."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from unittest import mock

from socketd.access.policy import AccessPolicy
from socketd.net.stream import port
from socketd.net.stream.port import ACCEPT_PAUSE, StreamPort
from socketd.net.stream.refusal import stop_listening
from socketd.settings.faults.values import REFUSE, Accept, After, Latency
from tests.net.faults.faulty_case import make_faults
from tests.net.port_case import PortCase
from tests.support.fakes import Recorder, read_all
from tests.support.sockets import connect_is_reset


class FaultyPortCase(PortCase):
    """A test with a port whose service may have a profile."""

    #: Without one, the kernel chooses the port.
    number = 0

    def setUp(self) -> None:
        super().setUp()
        self.listen(AccessPolicy(), self.make_factory())
        self.address = self.socket.getsockname()

    def misbehave(self, **options: Any) -> None:
        """Switch a profile on, or off without options."""
        self.service_state.faults = make_faults(**options) if options else None
        self.port.update_faults()

    def serves(self) -> bool:
        """Say whether a connection is served."""
        made = len(self.factory.made)
        with socket.create_connection(self.address):
            self.reactor.turn()
        return len(self.factory.made) == made + 1

    def assert_refused(self) -> None:
        """See that connect(2) fails."""
        self.assertRaises(ConnectionRefusedError, socket.create_connection, self.address)


class RefuseTests(FaultyPortCase):
    """The kernel refuses every connection where the profile is for all."""

    def test_refused(self) -> None:
        """connect(2) fails while the profile is on, and never before or after that."""
        for _ in range(2):
            self.assertTrue(self.serves())
            self.misbehave(accept=Accept(REFUSE))
            self.assert_refused()
            self.assert_refused()
            self.misbehave()

    def test_no_turn_in_vain(self) -> None:
        """Meanwhile the port is not watched, whatever waits for it."""
        self.misbehave(accept=Accept(REFUSE))
        self.port._watch()
        self.assertEqual(self.reactor.readers, [])
        self.port.finish()
        self.misbehave(latency=Latency(1.0))
        self.assertEqual(self.reactor.readers, [self.port])

    def test_those_that_wait(self) -> None:
        """Who has connected and was not accepted is reset: the profile is for the next accept."""
        waiting = socket.create_connection(self.address)
        self.addCleanup(waiting.close)
        self.misbehave(accept=Accept(REFUSE))
        self.assertRaises(ConnectionResetError, waiting.recv, 1)

    def test_connections_that_are_there(self) -> None:
        """Live connections are served as before."""
        peer = self.connect()
        self.reactor.turn()
        self.misbehave(accept=Accept(REFUSE))
        peer.send(b"still")
        self.reactor.turn()
        self.assertEqual(peer.recv(10), b"STILL")

    def test_from_the_start(self) -> None:
        """A port that starts with such a profile refuses the first connection."""
        self.port.release()
        self.service_state.faults = make_faults(accept=Accept(REFUSE))
        self.port = StreamPort(self.reactor, self.socket, self.factory, self.service_state)
        self.port.startListening()
        self.assert_refused()

    def test_backlog(self) -> None:
        """The socket has its own backlog again, and another port serves it."""
        self.socket.listen(3)
        self.misbehave(accept=Accept(REFUSE))
        self.port.release()
        self.assertEqual(stop_listening(self.socket), 3)

    def test_closed(self) -> None:
        """A socket that others hold, too, listens again when the port is closed."""
        other = self.socket.dup()
        self.addCleanup(other.close)
        self.misbehave(accept=Accept(REFUSE))
        self.port.close()
        self.assertTrue(other.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def test_closed_before(self) -> None:
        """A port that is closed is left alone."""
        self.port.close()
        self.misbehave(accept=Accept(REFUSE))
        self.assertIsNone(self.port._backlog)

    def test_full(self) -> None:
        """A port that waits for capacity waits for it still when it listens again."""
        self.service_state.policy.capacity.limit = 1
        peers = [self.connect(), self.connect()]
        self.reactor.turn(2)
        self.assertNotIn(self.port, self.reactor.readers)
        self.misbehave(accept=Accept(REFUSE))
        self.misbehave()
        self.assertNotIn(self.port, self.reactor.readers)
        peers[0].close()
        self.reactor.turn(3)
        self.assertIn(self.port, self.reactor.readers)
        self.assertTrue(self.serves())

    def test_taken(self) -> None:
        """If another program listens there meanwhile, that is logged, and tried again."""
        self.misbehave(accept=Accept(REFUSE))
        busy = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        with mock.patch.object(port, "listen_again", side_effect=busy):
            self.misbehave()
            self.reactor.advance(ACCEPT_PAUSE)
        self.assertEqual(len(self.events.named("accept_failed")), 1)
        self.reactor.advance(ACCEPT_PAUSE)
        self.assertTrue(self.serves())


class GivenPortTests(RefuseTests):
    """So it is at a port that was given, which stays bound."""

    def make_socket(self) -> Any:
        # The kernel chooses it for a socket that is closed at once.
        with super().make_socket() as first:
            address = first.getsockname()
        sock = socket.create_server(address, backlog=200)
        sock.setblocking(False)
        return sock


class SomeTests(FaultyPortCase):
    """Where a profile is for some connections, each is drawn once, when it is accepted."""

    def test_reset(self) -> None:
        """Those that it refuses are reset, and counted; others are served."""
        self.misbehave(accept=Accept(REFUSE), skip=1, first=2)
        self.assertTrue(self.serves())
        for _ in range(2):
            self.assertTrue(connect_is_reset(self._connect_and_turn))
        self.assertTrue(self.serves())
        self.assertEqual(self.service_state.counters.faults, {REFUSE: 2})
        self.assertEqual(self.service_state.counters.connections, 2)

    def _connect_and_turn(self) -> socket.socket:
        client = socket.create_connection(self.address)
        self.reactor.turn()
        return client

    def test_slot(self) -> None:
        """One that is refused has no part of its source's quota."""
        slot = mock.Mock()
        self.patch(self.port, "_admit", lambda peer: (None, slot))
        self.misbehave(accept=Accept(REFUSE), skip=0, share=0.999999)
        self.assertTrue(connect_is_reset(self._connect_and_turn))
        slot.leave.assert_called_once_with()

    def test_first_byte(self) -> None:
        """The profile is on before the first byte of a protocol that speaks first."""

        class Greeting(Recorder):
            def connectionMade(self) -> None:
                self.transport.write(b"welcome")

        self.factory.make = Greeting
        self.misbehave(latency=Latency(1.0), first=1)
        late, soon = self.connect(), self.connect()
        self.reactor.turn()
        self.assertEqual((read_all(late)[0], read_all(soon)[0]), (b"", b"welcome"))
        self.reactor.advance(1.0)
        self.assertEqual(read_all(late)[0], b"welcome")

    def test_switched(self) -> None:
        """Another profile is for the next connection, not for those that are there."""
        before = self.connect()
        self.reactor.turn()
        self.misbehave(close=After(size=3))
        after = self.connect()
        for peer in (before, after):
            peer.send(b"hello")
        self.reactor.turn(3)
        self.assertEqual(read_all(before), (b"HELLO", False))
        self.assertEqual(read_all(after), (b"HEL", True))


class UnixTests(FaultyPortCase):
    """A UNIX socket cannot listen again, so it accepts and closes."""

    def make_socket(self) -> Any:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("")
        sock.listen()
        sock.setblocking(False)
        return sock

    def test_refused(self) -> None:
        """Each connection is closed without a byte, and served when the profile is off."""
        for expected in (b"", b"HELLO"):
            self.misbehave(**({} if expected else {"accept": Accept(REFUSE)}))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.address)
                client.send(b"hello")
                self.reactor.turn(2)
                try:
                    self.assertEqual(client.recv(10), expected)
                except ConnectionResetError:
                    # What it had sent was not read.
                    self.assertEqual(expected, b"")
