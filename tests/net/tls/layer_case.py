"""A service behind TLS, and a client that takes turns with it."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory
from twisted.trial.unittest import SynchronousTestCase

from socketd.faults.draws import ConnectionDraw
from socketd.net.stream.connection import StreamConnection
from socketd.net.tls.context import ServerContext
from socketd.net.tls.layer import wrap_in_tls
from socketd.net.tls.transport import SecureTransport
from socketd.settings.tls import TlsOptions
from tests.support.certificates import NOW, Made, client_context, issued
from tests.support.fakes import HandReactor, OneFactory, Recorder, make_service_state
from tests.support.sockets import make_pair
from tests.support.tls_client import TlsClient


class Client(TlsClient):
    """
    The other end, which may be refused.

    @ivar failed: what OpenSSL failed with, but for the ends.
    """

    def __init__(self, reactor: HandReactor, sock: socket.socket, tls: SSL.Connection) -> None:
        super().__init__(reactor, sock, tls)
        self.failed: list[SSL.Error] = []

    def fail(self, problem: SSL.Error) -> None:
        """Note it."""
        self.failed.append(problem)


class LayerCase(SynchronousTestCase):
    """
    A test with a service behind TLS.

    @ivar draw: the faults of its connections.
    """

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.service_state, self.events = make_service_state(self.reactor)
        self.opened: list[socket.socket] = []
        self.draw: ConnectionDraw | None = None
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        """Close the sockets, and let our side see it."""
        for sock in self.opened:
            sock.close()
        for connection in list(self.service_state.connections):
            connection.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.service_state.connections, [])

    @property
    def secured(self) -> list[dict[str, Any]]:
        """What was agreed on, for each handshake that was done."""
        return self.events.named("tls_secured")

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Why connections were not let through: a reason, and more about it."""
        return [(facts["reason"], facts["error"]) for facts in self.events.named("tls_failed")]

    @property
    def heard(self) -> list[str]:
        """What was decrypted."""
        return [facts["text"] for facts in self.events.named("message_received")]

    @property
    def transports(self) -> list[SecureTransport]:
        """The transports of the protocols that were made."""
        return [made.transport for made in self.factory.made]

    def context(self, made: Made | None = None, **options: Any) -> ServerContext:
        """Make a context."""
        made = made or issued("www.example.org")
        path = made.write(self.mktemp())
        context = ServerContext(TlsOptions(tls_certificate=path, **options), lambda: NOW)
        self.assertEqual(context.load(), [])
        return context

    def serve(self, make: Any = None, allowed: Any = (), **options: Any) -> IProtocolFactory:
        """Make a service whose protocols come from a callable: echo by default."""
        self.factory = OneFactory(make or (lambda: Recorder(bytes)))
        return wrap_in_tls(
            self.factory, frozenset(allowed), self.context(**options), self.reactor
        )

    def accept(self, factory: IProtocolFactory) -> socket.socket:
        """
        Accept a connection.

        @return: the peer's socket.
        """
        ours, peer = make_pair()
        self.opened.append(peer)
        self.connection = StreamConnection(self.reactor, ours, "", self.service_state)
        protocol = factory.buildProtocol(self.connection.getPeer())
        assert protocol is not None
        self.connection.begin(protocol, handshaking=True, draw=self.draw)
        return peer

    def dial(
        self, factory: IProtocolFactory, client: SSL.Context | None = None, name: str = ""
    ) -> Client:
        """Connect a client."""
        found = self.client(self.accept(factory), client, name)
        found.go()
        return found

    def client(
        self, peer: socket.socket, client: SSL.Context | None = None, name: str = ""
    ) -> Client:
        """Make a client of a peer's socket."""
        tls = SSL.Connection(client or client_context())
        if name:
            tls.set_tlsext_host_name(name.encode())
        return Client(self.reactor, peer, tls)

    def assert_ended(self) -> None:
        """Check that nothing is left of the connection, and that nothing was reported."""
        self.assertFalse(self.connection.connected)
        self.assertEqual(self.events.named("protocol_failed"), [])
