"""Tests for L{socketd.net.port}: what the ports of streams and of datagrams have in common."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.access.capacity import Capacity
from socketd.access.policy import AccessPolicy
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.port import Port
from socketd.net.stream.port import MAX_ACCEPTS, StreamPort
from tests.support.fakes import (
    DatagramRecorder,
    HandReactor,
    OneFactory,
    Recorder,
    make_service_state,
    read_all,
)


class PortCase(SynchronousTestCase):
    """Serves both kinds of sockets."""

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.policy = AccessPolicy(capacity=Capacity(None))
        self.service_state, _ = make_service_state(self.reactor, policy=self.policy)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Reset the remaining connections."""
        for connection in self.service_state.connection_table:
            connection.abortConnection()
        self.reactor.advance(0)

    def bind(self, kind: int) -> socket.socket:
        """Make a bound socket on loopback."""
        sock = socket.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def stream(self, sock: socket.socket | None = None) -> tuple[Any, socket.socket]:
        """Serve a socket that listens, with an echo."""
        sock = sock or self.bind(socket.SOCK_STREAM)
        factory = OneFactory(lambda: Recorder(lambda data: data))
        port = StreamPort(self.reactor, sock, factory, self.service_state)
        port.startListening()
        return port, sock

    def datagram(self, sock: socket.socket | None = None) -> tuple[Any, socket.socket]:
        """Serve a datagram socket, with an echo."""
        sock = sock or self.bind(socket.SOCK_DGRAM)
        port = BatchedDatagramPort(self.reactor, sock, DatagramRecorder(), self.service_state)
        port.startListening()
        return port, sock

    def both(self) -> list[tuple[Any, socket.socket]]:
        """Serve one of each."""
        return [self.stream(), self.datagram()]

    def peer(self, sock: socket.socket) -> socket.socket:
        """Connect a peer to a socket that is served, and have it say something."""
        peer = socket.socket(sock.family, sock.type)
        self.addCleanup(peer.close)
        peer.connect(sock.getsockname())
        peer.setblocking(False)
        peer.send(b"hello")
        return peer


class PortTests(PortCase):
    """Tests for L{Port}."""

    def test_interface(self) -> None:
        """Both kinds are listening ports, and share what is here."""
        for port, _ in self.both():
            verifyObject(IListeningPort, port)
            self.assertIsInstance(port, Port)

    def test_host(self) -> None:
        """The address is that of the socket, with the protocol's name."""
        (port, sock), (other, datagrams) = self.both()
        self.assertEqual(port.getHost(), IPv4Address("TCP", *sock.getsockname()))
        self.assertEqual(other.getHost(), IPv4Address("UDP", *datagrams.getsockname()))

    def test_for_people(self) -> None:
        """Its text has the service and the address while it is open."""
        for port, sock in self.both():
            self.assertIn(f"Port of test: {port.getHost()}>", repr(port))
            self.assertTrue(port.connected)
            self.assertIs(port.socket, sock)
            port.close()
            self.assertIn("Port of test: closed>", repr(port))
            self.assertFalse(port.connected)

    def test_log_prefix(self) -> None:
        """In a log the port has the name of its service."""
        for port, _ in self.both():
            self.assertEqual(port.logPrefix(), "test")

    def test_stop(self) -> None:
        """
        A port that was stopped reads no more; in the next turn its socket is closed, and
        the result is there.
        """
        for port, sock in self.both():
            self.assertEqual(port.fileno(), sock.fileno())
            stopped = port.stopListening()
            self.assertNotIn(port, self.reactor.getReaders())
            self.assertNoResult(stopped)
            self.reactor.turn()
            self.assertIs(self.successResultOf(stopped), None)
            self.assertEqual((port.fileno(), sock.fileno()), (-1, -1))

    def test_close(self) -> None:
        """A port is closed at once, and waiters for its stop are told."""
        for port, sock in self.both():
            stopped = port.stopListening()
            port.close()
            self.assertEqual((port.fileno(), sock.fileno()), (-1, -1))
            self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_twice(self) -> None:
        """To stop it again does nothing; each result is there."""
        for port, _ in self.both():
            calls: list[None] = []
            port.stopping = lambda: calls.append(None)
            stopped = [port.stopListening(), port.stopListening()]
            self.reactor.turn()
            for result in [*stopped, port.stopListening()]:
                self.successResultOf(result)
            port.close()
            self.assertEqual(len(calls), 1)

    def test_stopping(self) -> None:
        """The callback for a stop is called while the socket is still open."""
        for port, sock in self.both():
            seen: list[int] = []
            port.stopping = lambda: seen.append(sock.fileno())
            number = sock.fileno()
            port.stopListening()
            self.reactor.turn()
            self.assertEqual(seen, [number])

    def test_end_raises(self) -> None:
        """
        What a factory or protocol raises at the end fails the result; where there is
        none, it is reported.
        """
        for wait in (True, False):
            (streams, _), (datagrams, _) = self.both()
            streams.factory.stopFactory = datagrams._protocol.stopProtocol = lambda: 1 / 0
            for port in (streams, datagrams):
                if wait:
                    stopped = port.stopListening()
                    self.reactor.turn()
                    self.failureResultOf(stopped, ZeroDivisionError)
                else:
                    port.close()
                self.assertEqual(port.fileno(), -1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_start_again(self) -> None:
        """A port that was stopped serves again at another socket, which is asked for."""
        for (port, old), kind in zip(self.both(), (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            fresh = self.bind(kind)
            port.stopListening()
            self.reactor.turn()
            self.assertEqual(old.fileno(), -1)
            port.rebind = lambda fresh=fresh: fresh
            port.startListening()
            peer = self.peer(fresh)
            self.reactor.turn(4)
            self.assertEqual(peer.recv(9), b"hello")

    def test_not_again(self) -> None:
        """One whose socket came from elsewhere cannot be started again, and says so."""
        for port, _ in self.both():
            port.close()
            self.assertRaises(CannotListenError, port.startListening)

    def test_lost(self) -> None:
        """A socket that the reactor lost is closed like one that was stopped."""
        for port, sock in self.both():
            calls: list[None] = []
            port.stopping = lambda: calls.append(None)
            port.connectionLost(Failure(ConnectionLost()))
            self.assertEqual((sock.fileno(), len(calls)), (-1, 1))
        self.assertEqual(self.reactor.getReaders(), [])


class FinishTests(PortCase):
    """Tests for L{Port.finish}: what has come is served before the socket is closed."""

    def test_all(self) -> None:
        """All that wait are served, though they are more than one turn takes."""
        for port, sock in self.both():
            peers = [self.peer(sock) for _ in range(MAX_ACCEPTS + 10)]
            port.finish()
            port.close()
            self.reactor.turn(3)
            self.assertEqual([peer.recv(100) for peer in peers], [b"hello"] * len(peers))
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nothing(self) -> None:
        """Where nothing waits, nothing is waited for."""
        for port, _ in self.both():
            port.finish()

    def test_no_room(self) -> None:
        """No connection is accepted without capacity."""
        self.policy.capacity.limit = 1
        port, sock = self.stream()
        peers = [self.peer(sock) for _ in range(3)]
        port.finish()
        self.assertEqual(
            (len(self.service_state.connection_table), self.service_state.counters.full), (1, 1)
        )
        port.finish()
        self.assertEqual(self.service_state.counters.full, 1)
        port.close()
        self.reactor.turn(3)
        self.assertEqual(peers[0].recv(100), b"hello")
        self.assertRaises(ConnectionResetError, peers[2].recv, 1)

    def test_system_has_none(self) -> None:
        """A port that waits for the system does not try more often for that."""
        port, sock = self.stream()
        self.peer(sock)
        port._pause(OSError(24, "Too many open files"))
        port.finish()
        self.assertEqual(len(self.service_state.connection_table), 0)
        port.close()


class ReleaseTests(PortCase):
    """Tests for L{Port.release}: another port serves the socket."""

    def test_open(self) -> None:
        """
        A port that was released reads no more; its socket is open, and no waiter is told
        of a stop.
        """
        for port, sock in self.both():
            calls: list[None] = []
            port.stopping = lambda: calls.append(None)
            port.release()
            self.assertNotEqual(sock.fileno(), -1)
            self.assertEqual(calls, [])
        self.assertEqual(self.reactor.getReaders(), [])

    def test_next_port(self) -> None:
        """What has come before, between and after is served by the next one."""
        for serve in (self.stream, self.datagram):
            port, sock = serve()
            before = self.peer(sock)
            port.release()
            between = self.peer(sock)
            self.reactor.turn(3)
            serve(sock)
            after = self.peer(sock)
            self.reactor.turn(5)
            answers = [peer.recv(100) for peer in (before, between, after)]
            self.assertEqual(answers, [b"hello"] * 3)

    def test_connections_stay(self) -> None:
        """The connections of a port that was released go on."""
        port, sock = self.stream()
        peer = self.peer(sock)
        self.reactor.turn(3)
        port.release()
        peer.send(b" again")
        self.reactor.turn(3)
        self.assertEqual(read_all(peer), (b"hello again", False))

    def test_protocol_is_stopped(self) -> None:
        """The protocol of datagrams is told that it is over, and has no transport."""
        port, _ = self.datagram()
        protocol = port._protocol
        port.release()
        self.assertIs(protocol.transport, None)

    def test_waits_for_room(self) -> None:
        """
        A port that waits for room when it is released is not told of it any more; the
        next one is.
        """
        self.policy.capacity.limit = 1
        port, sock = self.stream()
        first = self.peer(sock)
        self.reactor.turn(3)
        second = self.peer(sock)
        self.reactor.turn(3)
        self.assertEqual(self.service_state.counters.full, 1)
        port.release()
        fresh, _ = self.stream(sock)
        self.reactor.turn(3)
        first.close()
        self.reactor.turn(5)
        self.assertEqual(read_all(second), (b"hello", False))
        second.close()
        self.reactor.turn(5)
        self.assertEqual(self.reactor.getReaders(), [fresh])

    def test_waits_for_system(self) -> None:
        """A port that waits for the system when it is released never comes back."""
        port, sock = self.stream()
        port._pause(OSError(24, "Too many open files"))
        port.release()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.reactor.advance(10.0)
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertNotEqual(sock.fileno(), -1)
