"""A test with a stream port of loopback, whose reactor is turned by hand."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.access.policy import AccessPolicy
from socketd.net.stream.port import DIRECT, StreamPort, StreamTerms
from tests.support.fakes import HandReactor, OneFactory, Recorder, make_service_state


class PortCase(SynchronousTestCase):
    """A test with a stream port."""

    def setUp(self) -> None:
        self.reactor = HandReactor()

    def make_factory(self, make: Any = None) -> OneFactory:
        """Make the factory of protocols, which answer in upper case by default."""
        self.factory = OneFactory(make or (lambda: Recorder(bytes.upper)))
        return self.factory

    def listen(self, policy: AccessPolicy, factory: Any, terms: StreamTerms = DIRECT) -> None:
        """Serve at a free port."""
        self.service_state, self.events = make_service_state(self.reactor, policy=policy)
        self.socket = self.make_socket()
        self.port = StreamPort(self.reactor, self.socket, factory, self.service_state, terms)
        self.port.startListening()
        self.addCleanup(self.stop)

    def make_socket(self) -> Any:
        """Make the listening socket."""
        sock = socket.create_server(("127.0.0.1", 0), backlog=200)
        sock.setblocking(False)
        return sock

    def stop(self) -> None:
        """Close everything, and see that nothing is counted any more and no protocol failed."""
        self.port.stopListening()
        for connection in self.service_state.connections:
            connection.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.service_state.policy.capacity.occupancy, 0.0)
        self.assertEqual(self.told("protocol_failed"), [])

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of this machine; the socket does not block."""
        client = socket.create_connection(self.socket.getsockname(), None, (source, 0))
        client.setblocking(False)
        self.addCleanup(client.close)
        return client

    def was_reset(self, client: socket.socket) -> bool:
        """Say whether a client was reset without a byte."""
        self.reactor.turn(2)
        try:
            client.recv(1)
        except ConnectionResetError:
            return True
        except BlockingIOError:
            return False
        return False

    def told(self, name: str) -> list[Any]:
        """List the peers of all events of a name."""
        return [facts.get("peer") for facts in self.events.named(name)]
