"""Tests of L{socketd.net.stream.starttls}."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IConsumer,
    INegotiated,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITLSTransport,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from socketd.net.stream.connection import StartedTlsConnection, StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE
from socketd.net.tls.context import ServerContext
from socketd.settings.tls import TlsOptions
from tests.support.certificates import NOW, client_context, issued
from tests.support.fakes import HalfCloseable, HandReactor, connect, make_service_state
from tests.support.tls_client import TURNS, TlsClient

#: What a client asks with for TLS, in the clear.
ASK = b"STARTTLS"


class Server(HalfCloseable):
    """
    Starts TLS when it is asked to, and answers with what came from then on.

    @ivar after: called with the transport as soon as TLS was started.
    """

    def __init__(self, context: Any, after: Any = None) -> None:
        super().__init__()
        self.context = context
        self.after = after
        self.is_secure = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if data == ASK:
            self.transport.write(b"go ahead")
            self.is_secure = ISSLTransport.providedBy(self.transport)
            self.transport.startTLS(self.context)
            if self.after is not None:
                self.after(self.transport)
        else:
            self.transport.writeSequence([data.upper(), b"!"])


class Contexts:
    """Gives a context as Twisted's older factories do."""

    def __init__(self, context: SSL.Context | None) -> None:
        self.context = context

    def getContext(self) -> SSL.Context:
        if self.context is None:
            raise ValueError("no context")
        return self.context


def greet_and_close(transport: Any) -> None:
    transport.write(b"welcome")
    transport.loseConnection()


class StartTlsTests(SynchronousTestCase):
    """A protocol starts TLS on its own transport."""

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.service_state, self.events = make_service_state(self.reactor)
        made = issued("www.example.org")
        path = made.write(self.mktemp())
        options = TlsOptions(tls_certificate=path, tls_alpn=(b"p",))
        self.context = ServerContext(options, lambda: NOW)
        self.assertEqual(self.context.load(), [])

    def serve(self, after: Any = None) -> socket.socket:
        """Serve one peer that has asked for TLS."""
        self.server = Server(self.context, after)
        self.connection, peer = connect(self.reactor, self.server, self.service_state)
        self.addCleanup(peer.close)
        self.addCleanup(self.connection._socket.close)
        peer.send(ASK)
        self.reactor.turn()
        self.assertEqual(peer.recv(8), b"go ahead")
        return peer

    def dial(self, after: Any = None) -> TlsClient:
        """Be that peer, through the handshake."""
        tls = SSL.Connection(client_context())
        tls.set_alpn_protos([b"p"])
        client = TlsClient(self.reactor, self.serve(after), tls)
        client.go()
        return client

    def test_interfaces(self) -> None:
        """
        A transport offers TLS, and is one of TLS once that was started; it is the same
        object, which the protocol has.
        """
        verifyClass(ITLSTransport, StreamConnection)
        self.dial()
        self.assertFalse(self.server.is_secure)
        self.assertIs(self.server.transport, self.connection)
        for interface in (INegotiated, ITCPTransport, IConsumer, IPushProducer):
            verifyClass(interface, StartedTlsConnection)
            verifyObject(interface, self.server.transport)

    def test_exchange(self) -> None:
        """
        What is said from then on is said in TLS, whole and in order, and both sides close
        cleanly.
        """
        client = self.dial()
        client.say(b"hello")
        self.assertEqual(client.received, b"HELLO!")
        client.say(b"x" * 100_000)
        self.assertEqual(client.received.count(b"X"), 100_000)
        self.server.transport.loseConnection()
        self.server.transport.write(b"too late")
        client.go()
        self.assertEqual(client.ended, ["close_notify", "end"])
        self.assertNotIn(b"too late", client.received)
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual(len(self.server.lost), 1)
        self.assertFalse(self.connection.connected)

    def test_what_was_agreed_on(self) -> None:
        """The transport tells of the handshake."""
        self.dial()
        transport = self.server.transport
        self.assertEqual(transport.negotiatedProtocol, b"p")
        self.assertIs(transport.getPeerCertificate(), None)
        self.assertEqual((transport.peer_names, transport.proxy), ((), None))
        self.assertEqual(transport.getHandle().get_protocol_version_name(), "TLSv1.3")

    def test_written_before_the_handshake(self) -> None:
        """What is written, and a close behind it, wait for the handshake."""
        client = self.dial(greet_and_close)
        self.assertEqual(client.received, b"welcome")
        self.assertEqual(client.ended, ["close_notify", "end"])

    def test_no_handshake(self) -> None:
        """Where there is none, that close resets the connection after a while."""
        self.serve(greet_and_close)
        self.reactor.advance(CLOSE_GRACE - 1)
        self.assertTrue(self.connection.connected)
        self.reactor.advance(1)
        self.reactor.turn(2)
        self.assertFalse(self.connection.connected)
        self.assertEqual(self.events[-1][1]["reason"], "reset here")

    def test_closed_before_the_handshake(self) -> None:
        """With nothing to say there is nothing to wait for."""
        self.serve(lambda transport: transport.loseConnection())
        self.reactor.turn(3)
        self.assertFalse(self.connection.connected)
        self.assertEqual(len(self.server.lost), 1)

    def test_abort(self) -> None:
        """It can be reset, and the protocol receives nothing more."""
        client = self.dial()
        client.tls.send(b"hello")
        client.push()
        self.server.transport.abortConnection()
        self.reactor.turn(3)
        self.assertEqual(self.server.received, ASK)
        self.assertFalse(self.connection.connected)

    def test_peer_ends(self) -> None:
        """The peer's end in TLS ends the connection at once and cleanly."""
        client = self.dial()
        client.tls.shutdown()
        client.go()
        self.assertEqual(client.ended[-1], "end")
        client.sock.close()
        self.reactor.turn(3)
        self.assertEqual(self.events[-1][1]["reason"], "closed")

    def test_half_close(self) -> None:
        """A protocol may end its side and still hear the other one."""
        client = self.dial()
        self.server.transport.loseWriteConnection()
        client.go()
        self.assertEqual(client.ended, ["close_notify", "end"])
        self.assertEqual(self.server.halves, ["write"])
        client.tls.send(b"still here")
        client.push()
        self.reactor.turn(2)
        self.assertEqual(self.server.received, ASK + b"still here")

    def test_as_client(self) -> None:
        """The side that accepted the connection can be the client of TLS."""
        connection, peer = connect(self.reactor, HalfCloseable(), self.service_state)
        self.addCleanup(peer.close)
        connection.startTLS(Contexts(SSL.Context(SSL.TLS_METHOD)), False)
        hello = peer.recv(4096)
        # A record of a handshake, and in it a client hello (RFC 8446, 5.1 and 4).
        self.assertEqual((hello[0], hello[5]), (22, 1))
        connection.abortConnection()
        self.reactor.turn()

    def test_bad_context(self) -> None:
        """A context that fails changes nothing."""
        connection, peer = connect(self.reactor, Server(None), self.service_state)
        self.addCleanup(peer.close)
        self.assertRaises(ValueError, connection.startTLS, Contexts(None))
        self.assertIs(type(connection), StreamConnection)
        peer.send(b"hello")
        self.reactor.turn()
        self.assertEqual(peer.recv(9), b"HELLO!")
        connection.abortConnection()
        self.reactor.turn()
