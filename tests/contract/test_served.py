"""Protocols that come with Twisted, served by our ports."""

from __future__ import annotations

import socket
import struct
from io import BytesIO
from typing import Any

from twisted.conch.telnet import DO, ECHO, IAC, LINEMODE, WILL, TelnetProtocol, TelnetTransport
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.mail.smtp import ESMTP, ESMTPSenderFactory, IMessage
from twisted.protocols.portforward import ProxyFactory
from twisted.protocols.socks import SOCKSv4Factory
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from socketd.net.reactor.batch import BatchReactor
from tests.support.certificates import issued
from tests.support.fakes import OneFactory

HOST = "127.0.0.1"

#: A test that hangs is ended after so many seconds.
PATIENCE = 60.0


class Peer(Protocol):
    """Notes what it receives, and waits for it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[type[BaseException] | None] = Deferred()
        self._waiting: tuple[bytes, Deferred[bytes]] | None = None

    def until(self, end: bytes) -> Deferred[bytes]:
        """Wait until so much has come."""
        waiting: Deferred[bytes] = Deferred()
        self._waiting = (end, waiting)
        self.dataReceived(b"")
        return waiting

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._waiting is not None and self._waiting[0] in self.received:
            (_, waiting), self._waiting = self._waiting, None
            waiting.callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.type)


class ServedCase(TestCase):
    """Serves factories with our ports, and connects to them."""

    timeout = PATIENCE

    def setUp(self) -> None:
        self.batch = BatchReactor(reactor)
        self.ports: list[Any] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for port in self.ports:
            await port.stopListening()
        await self.batch._service_state.when_empty()
        reactor.removeReader(self.batch)
        self.batch.connectionLost(Failure(ConnectionDone()))

    def serve(self, factory: Any) -> int:
        """Serve a factory; return the port's number."""
        factory.noisy = False
        self.ports.append(self.batch.listenTCP(0, factory, interface=HOST))
        return self.ports[-1].getHost().port  # type: ignore[no-any-return]

    def dial(self, number: int) -> Deferred[Any]:
        dialed: Deferred[Any] = connectProtocol(TCP4ClientEndpoint(reactor, HOST, number), Peer())
        return dialed

    async def hang_up(self, peer: Peer) -> None:
        """Close a connection, and wait for its clean end."""
        peer.transport.loseConnection()
        self.assertIs(await peer.ended, ConnectionDone)


class ServedTests(ServedCase):
    """Each protocol does what it is for, and its connections end."""

    async def test_web(self) -> None:
        """A server of HTTP whose client keeps its connection, and then goes."""

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"secure" if request.isSecure() else b"plain"

        peer = await self.dial(self.serve(Site(Page())))
        for _ in range(2):
            peer.received = b""
            peer.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await peer.until(b"\r\n\r\nplain")
        await self.hang_up(peer)

    async def test_port_forward(self) -> None:
        """A forwarder passes on what either side says, and the end of either."""
        number = self.serve(ProxyFactory(HOST, self.serve(Factory.forProtocol(Echo))))
        peer = await self.dial(number)
        peer.transport.write(b"x" * 300_000 + b"end")
        self.assertEqual(len(await peer.until(b"end")), 300_003)
        await self.hang_up(peer)

    async def test_socks(self) -> None:
        """A proxy of SOCKS 4 connects where it is asked to."""
        target = self.serve(Factory.forProtocol(Echo))
        peer = await self.dial(self.serve(SOCKSv4Factory("")))
        peer.transport.write(struct.pack("!BBH4sx", 4, 1, target, socket.inet_aton(HOST)))
        granted = await peer.until(b"\0\x5a")
        peer.transport.write(b"through")
        self.assertEqual((await peer.until(b"through"))[len(granted) :][-7:], b"through")
        await self.hang_up(peer)

    async def test_telnet(self) -> None:
        """A server of telnet negotiates, and has what is said without the negotiation."""
        made: list[Any] = []

        class Said(TelnetProtocol):
            transport: Any

            def connectionMade(self) -> None:
                made.append(self)
                self.said = b""

            def enableRemote(self, option: bytes) -> bool:
                return option == ECHO

            def dataReceived(self, data: bytes) -> None:
                self.said += data
                self.transport.write(data.upper())

        factory = OneFactory(lambda: TelnetTransport(Said))
        peer = await self.dial(self.serve(factory))
        negotiation = IAC + WILL + ECHO + IAC + WILL + LINEMODE
        peer.transport.write(negotiation + b"hel" + IAC + IAC + b"lo")
        await peer.until(b"LO")
        self.assertEqual(made[0].said, b"hel" + IAC + b"lo")
        self.assertIn(IAC + DO + ECHO, peer.received)
        await self.hang_up(peer)

    async def test_mail(self) -> None:
        """A server of SMTP takes a message over TLS that was begun on its connection."""
        lines: list[bytes] = []
        secure: list[bool] = []

        @implementer(IMessage)
        class Message:
            """Keeps the lines."""

            def lineReceived(self, line: bytes) -> None:
                lines.append(line)

            def eomReceived(self) -> Deferred[None]:
                return succeed(None)

            def connectionLost(self) -> None:
                """Nothing: it is whole or it is not."""

        class Server(ESMTP):
            def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
                return b"Received: here"

            def validateFrom(self, helo: Any, origin: Any) -> Any:
                secure.append(self.startedTLS)
                return origin

            def validateTo(self, user: Any) -> Any:
                return Message

        made = issued("mail.example.org")
        private = PrivateCertificate.loadPEM(made.pem() + made.key_pem())
        factory = OneFactory(lambda: Server(contextFactory=private.options()))
        number = self.serve(factory)
        sent: Deferred[Any] = Deferred()
        sender = ESMTPSenderFactory(
            None,
            None,
            b"a@example.org",
            b"b@example.org",
            BytesIO(b"Subject: hello\n\nhello\n"),
            sent,
            contextFactory=CertificateOptions(),
            requireAuthentication=False,
            hostname=HOST,
        )
        sender.noisy = False
        reactor.connectTCP(HOST, number, sender)
        count, _ = await sent
        self.assertEqual((count, secure, lines[-1]), (1, [True], b"hello"))
        await deferLater(reactor, 0)
