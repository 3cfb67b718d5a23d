"""Tests of C{socketd.net.stream.port}."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from unittest import mock

from twisted.internet.interfaces import IListeningPort
from zope.interface.verify import verifyObject

from socketd.access.policy import AccessPolicy
from socketd.net.stream import port
from socketd.net.stream.port import ACCEPT_LOG_INTERVAL, ACCEPT_PAUSE, MAX_ACCEPTS
from tests.net.port_case import PortCase
from tests.support.fakes import Recorder


class FailingSocket:
    """A listening socket whose accept fails, for each errno that it is given."""

    def __init__(self, sock: socket.socket, *errors: int) -> None:
        self._sock = sock
        self.errors = list(errors)
        self.accepts = 0

    def _accept(self) -> Any:
        """Fail, or accept."""
        self.accepts += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        return self._sock._accept()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class StreamPortTests(PortCase):
    """A port accepts connections and gives each a protocol."""

    def setUp(self) -> None:
        super().setUp()
        self.listen(AccessPolicy(), self.make_factory())

    def make_socket(self) -> Any:
        return FailingSocket(super().make_socket())

    def test_interface(self) -> None:
        """It is a listening port as Twisted knows it, and tells its address."""
        self.assertTrue(verifyObject(IListeningPort, self.port))
        host: Any = self.port.getHost()
        self.assertEqual(host.port, self.socket.getsockname()[1])

    def test_serves(self) -> None:
        """A peer is answered, and the event of its connection names it."""
        peer = self.connect()
        peer.send(b"hello")
        self.reactor.turn(3)
        self.assertEqual(peer.recv(10), b"HELLO")
        host, port = peer.getsockname()
        self.assertEqual(self.told("connection_made"), [f"{host}:{port}"])

    def test_socket_on_demand(self) -> None:
        """The object of a socket is made when a protocol asks for it, and closed with the rest."""
        peers = [self.connect(), self.connect()]
        self.reactor.turn()
        asked, unasked = self.service_state.connections
        handle: Any = asked.getHandle()  # type: ignore[attr-defined]
        self.assertEqual(handle.getpeername(), peers[0].getsockname())
        self.assertEqual(handle.getsockname(), peers[0].getpeername())
        self.assertFalse(handle.getblocking())
        for connection, peer in zip([asked, unasked], peers):
            peer.close()
            self.reactor.turn()
            transport: Any = connection
            self.assertEqual((transport.fileno(), transport.socket.fileno()), (-1, -1))
        self.assertIs(asked.getHandle(), handle)  # type: ignore[attr-defined]

    def test_bounded_accepts(self) -> None:
        """One wake-up accepts L{MAX_ACCEPTS} at most; the next one accepts the rest."""
        for _ in range(MAX_ACCEPTS + 3):
            self.connect()
        self.reactor.turn()
        self.assertEqual(len(self.factory.made), MAX_ACCEPTS)
        self.reactor.turn()
        self.assertEqual(len(self.factory.made), MAX_ACCEPTS + 3)

    def test_exhausted(self) -> None:
        """Without descriptors or memory it pauses, and serves what waited afterwards."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self.socket.errors = [number]
            made = len(self.factory.made)
            self.connect()
            self.reactor.turn()
            self.assertNotIn(self.port, self.reactor.readers)
            self.reactor.advance(ACCEPT_PAUSE)
            self.reactor.turn()
            self.assertEqual(len(self.factory.made), made + 1)
        self.assertEqual(self.service_state.counters.accepts_failed, 4)

    def test_no_memory(self) -> None:
        """
        Where memory does not suffice for a connection, this one is closed, none is
        counted, and the port pauses; it serves the next one.
        """
        slot = mock.Mock()
        self.patch(self.port, "_admit", lambda peer: (None, slot))
        with mock.patch.object(port, "StreamConnection", side_effect=MemoryError):
            peer = self.connect()
            self.reactor.turn()
        self.assertEqual(peer.recv(1), b"")
        slot.leave.assert_called_once_with()
        self.assertNotIn(self.port, self.reactor.readers)
        facts = self.events.named("accept_failed")[0]
        self.assertEqual(facts["error"], os.strerror(errno.ENOMEM))
        self.connect()
        self.reactor.advance(ACCEPT_PAUSE)
        self.reactor.turn()
        self.assertEqual(len(self.factory.made), 1)

    def test_exhausted_is_logged_once(self) -> None:
        """However long that lasts, there is one event in each interval."""
        self.connect()
        self.socket.errors = [errno.EMFILE] * 25
        for _ in range(25):
            self.reactor.turn()
            self.reactor.advance(ACCEPT_PAUSE)
        self.assertEqual(len(self.told("accept_failed")), 3)
        self.assertEqual(ACCEPT_LOG_INTERVAL, 10 * ACCEPT_PAUSE)

    def test_aborted_before_accept(self) -> None:
        """A connection that is gone before it is accepted costs the next one nothing."""
        self.socket.errors = [errno.ECONNABORTED]
        self.connect()
        self.reactor.turn()
        self.assertEqual(len(self.factory.made), 1)

    def test_refused_by_factory(self) -> None:
        """A factory that makes no protocol has the connection closed."""
        self.factory.make = lambda: None
        peer = self.connect()
        self.reactor.turn()
        self.assertEqual(peer.recv(1), b"")
        self.assertEqual(len(self.service_state.connection_table), 0)

    def test_factory_that_raises(self) -> None:
        """A factory that raises costs that connection only."""
        self.factory.make = lambda: 1 / 0
        peer = self.connect()
        self.reactor.turn(2)
        self.assertEqual(peer.recv(1), b"")
        self.assertEqual(len(self.told("protocol_failed")), 1)
        self.events.clear()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.factory.make = Recorder
        self.connect()
        self.reactor.turn()
        self.assertEqual(len(self.service_state.connection_table), 1)

    def test_stop(self) -> None:
        """A stopped port is closed in the next turn; its connections live on."""
        peer = self.connect()
        self.reactor.turn()
        stopped = self.port.stopListening()
        self.assertNotIn(self.port, self.reactor.readers)
        self.reactor.turn()
        self.successResultOf(stopped)
        self.assertEqual(self.port.fileno(), -1)
        peer.send(b"still")
        self.reactor.turn()
        self.assertEqual(peer.recv(10), b"STILL")

    def test_serve_once(self) -> None:
        """
        A factory that stops the port as it makes its protocol serves that one and no
        other, though more wait.
        """

        def make() -> Recorder:
            self.port.stopListening()
            return Recorder(bytes.upper)

        self.factory.make = make
        first, second = self.connect(), self.connect()
        first.send(b"once")
        self.reactor.turn(3)
        self.assertEqual(first.recv(9), b"ONCE")
        self.assertRaises(ConnectionResetError, second.recv, 9)
        self.assertEqual((self.port.fileno(), len(self.factory.made)), (-1, 1))
        self.assertEqual(self.service_state.counters.accepts_failed, 0)

    def test_stop_while_paused(self) -> None:
        """A port that is stopped while it pauses does not come back."""
        self.socket.errors = [errno.EMFILE]
        self.connect()
        self.reactor.turn()
        self.port.stopListening()
        self.reactor.advance(ACCEPT_PAUSE)
        self.assertEqual(self.reactor.readers, [])
