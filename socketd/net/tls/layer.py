"""
Between TLS and a protocol: nothing is served before the handshake is done and the
client is found to be one of those that are served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.events import escaped
from socketd.net.tls.certificates import STRANGE, names_of
from socketd.net.tls.context import ServerContext, UnknownServerName, pending, reason_of
from socketd.net.written import NOT_BYTES, joined
from socketd.settings.tls import PeerName

#: So many names of a client are told to others; it is known by one or two.
MAX_NAMES_TOLD = 4

#: Why a connection was not let through, as counts and logs have it.
HANDSHAKE = "tls_handshake"
SERVER_NAME = "tls_server_name"
CLIENT_NAME = "tls_client_name"


@frozen
class TlsSession:
    """
    What was agreed on in a handshake.

    @ivar version: such as C{TLSv1.3}.
    @ivar cipher: OpenSSL's name of it.
    @ivar alpn: the application protocol, or the empty string.
    @ivar client: the client's names, fit for a log; empty if it has none.
    """

    version: str
    cipher: str
    alpn: str
    client: str


@frozen
class HandshakeFailure:
    """
    Why a connection was not let through.

    @ivar reason: L{HANDSHAKE}, L{SERVER_NAME} or L{CLIENT_NAME}.
    @ivar detail: more for people; OpenSSL's words or the client's names, fit for a log.
    """

    reason: str
    detail: str


@implementer(INegotiated, ITCPTransport, IConsumer, IPushProducer)
class SecureTransport:
    """
    What a protocol writes to: the connection, through TLS.

    Producers stand at the connection itself.  It asks for more when what is
    encrypted is sent, and it stops reading while too much is not; TLS in between
    keeps nothing back once the handshake is done.

    @ivar protocol: what writes here.
    @ivar spoken: whether either side has said anything through it.
    """

    spoken = True

    def __init__(self, tls: SecureProtocol, connection: Any, protocol: Any = None) -> None:
        """
        @param connection: what is under TLS.
        """
        self.protocol = protocol
        self._tls = tls
        self._connection = connection
        self._closing = self._concluded = False

    @property
    def connection_id(self) -> int:
        """
        The connection's id in logs and commands.
        """
        return self._connection.connection_id  # type: ignore[no-any-return]

    @property
    def disconnecting(self) -> bool:
        """
        Whether closing has begun.
        """
        return self._closing or bool(self._connection.disconnecting)

    def write(self, data: bytes) -> None:
        """
        Encrypt bytes and send them.

        @raise TypeError: if C{data} is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(NOT_BYTES)
        if self._closing and self._connection.producer is None:
            return
        if self._tls.connected:
            self.spoken = True
            self._tls.write(data)

    def writeSequence(self, data: Any) -> None:
        """
        Encrypt several pieces as one.
        """
        self.write(joined(data))

    def loseConnection(self) -> None:
        """
        Close once all that is owed is sent: tell the peer so in TLS, then as any
        connection does.

        The peer's own word of the end is not waited for (RFC 8446, 6.1), and one
        that takes nothing is reset as any other.
        """
        self._closing = True
        if self._tls.holds_back:
            self._connection.start_grace(self._connection.reactor.seconds())
        else:
            self._connection.loseConnection()

    def loseWriteConnection(self) -> None:
        """
        Tell the peer that no more will be sent, once all that is owed is; what it still
        sends is received.
        """
        self._connection.loseWriteConnection()

    def drain_and_close(self) -> None:
        """
        Say the last word, now that all else is sent.
        """
        if not self._concluded:
            self._concluded = True
            self._tls.loseConnection()

    def abortConnection(self) -> None:
        """
        Reset the connection.
        """
        self._closing = True
        if self._tls.connected:
            self._tls.abortConnection()

    def getPeerCertificate(self) -> Any:
        """
        The certificate that the client has shown, as pyOpenSSL has it; C{None} if none.
        """
        return self._tls.getPeerCertificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        The application protocol that was agreed on (ALPN), or C{None}.
        """
        return self._tls.negotiatedProtocol

    def getHandle(self) -> Any:
        """
        The TLS state of pyOpenSSL, as Twisted's other transports of TLS give it.
        """
        return self._tls.getHandle()

    def getTcpNoDelay(self) -> bool:
        """
        Whether small segments are sent at once.
        """
        return self._connection.getTcpNoDelay()  # type: ignore[no-any-return]

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Set whether small segments are sent at once.
        """
        self._connection.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Whether a silent peer is probed.
        """
        return self._connection.getTcpKeepAlive()  # type: ignore[no-any-return]

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Set whether a silent peer is probed.
        """
        self._connection.setTcpKeepAlive(enabled)

    def getPeer(self) -> Any:
        """
        The address of the other side.
        """
        return self._connection.getPeer()

    def getHost(self) -> Any:
        """
        The address of this side.
        """
        return self._connection.getHost()

    def pauseProducing(self) -> None:
        """
        Do not read any more; what is received already may still come.
        """
        self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Read on.
        """
        self._connection.resumeProducing()

    def stopProducing(self) -> None:
        """
        Close; the consumer of what is read here is gone.
        """
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Take what a producer writes, as fast as the peer does.

        @raise RuntimeError: if another one is registered.
        """
        self._connection.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        Let the producer go; a close that waited for it goes on.
        """
        self._connection.unregisterProducer()


OnSecured = Callable[[Any, TlsSession, SecureTransport], object]
OnFailed = Callable[[Any, HandshakeFailure], object]
OnReceived = Callable[[Any, bytes], object]


def _nothing(connection: Any, data: bytes) -> None:
    """
    Take the place of a hook that nobody has set.
    """


@frozen
class Hooks:
    """
    What is told to those who count; each is given the connection under TLS first.

    @ivar on_established: called once the handshake is done, before the protocol is there.
    @ivar on_failed: called once when the connection is not let through.
    @ivar on_received: called with what was decrypted, before the protocol has it.
    """

    on_established: OnSecured
    on_failed: OnFailed
    on_received: OnReceived = _nothing


@implementer(IHandshakeListener)
class TlsLayer(Protocol):
    """
    Stands for the protocol of a connection until the peer may be served, and hands
    on what it receives from then on.

    TLS has an end of each side's own (RFC 8446, 6.1), but Twisted closes as soon as
    the peer ends.  So a protocol is told of that end just before, and may answer at
    once what it has; it cannot answer later.
    """

    transport: Any

    def __init__(
        self,
        factory: IProtocolFactory,
        peer: IAddress,
        allowed: frozenset[PeerName],
        hooks: Hooks,
    ) -> None:
        self._factory = factory
        self._peer = peer
        self._allowed = allowed
        self._hooks = hooks
        self._protocol: Any = None
        self._secure: SecureTransport | None = None
        self._told = False

    def handshakeCompleted(self) -> None:
        """
        Make the protocol, if the client is one of those that are served.
        """
        tls = self.transport
        client = _client_names(tls)
        text = _told(client)
        if self._allowed and not client & self._allowed:
            self._fail(HandshakeFailure(CLIENT_NAME, text))
            tls.abortConnection()
            return
        self._told = True
        secure = SecureTransport(tls, tls.transport)
        secure.spoken = False
        tls.transport.app_transport = secure
        self._hooks.on_established(tls.transport, _agreed(tls, text), secure)
        protocol = self._factory.buildProtocol(self._peer)
        if protocol is None:
            tls.abortConnection()
            return
        self._secure, self._protocol = secure, protocol
        secure.protocol = protocol
        tls.getHandle().on_end = self.peer_ended
        protocol.makeConnection(secure)

    def dataReceived(self, data: bytes) -> None:
        """
        Hand on what was decrypted, unless the protocol has closed.
        """
        if self._secure is not None and not self._secure.disconnecting:
            self._secure.spoken = True
            self._hooks.on_received(self.transport.transport, data)
            self._protocol.dataReceived(data)

    def peer_ended(self) -> None:
        """
        Tell the protocol that the peer will send no more, if it wants to know.
        """
        if self._secure is not None and not self._secure.disconnecting:
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell the protocol, or that there was none.
        """
        protocol, self._protocol, self._secure = self._protocol, None, None
        if protocol is not None:
            protocol.connectionLost(reason)
        elif not self._told:
            name = SERVER_NAME if reason.check(UnknownServerName) else HANDSHAKE
            self._fail(HandshakeFailure(name, _explained(reason)))

    def _fail(self, failed: HandshakeFailure) -> None:
        self._told = True
        self._hooks.on_failed(self.transport.transport, failed)


class SecureProtocol(TLSMemoryBIOProtocol):
    """
    Twisted's TLS, with all that a receive gives to send sent at once, in one piece.

    Twisted sends each record by itself, and after a receive no more than 32 KiB.  A
    longer chain of certificates would wait for a peer that waits for it, and answers
    that TLS gives by itself would pile up.  Here nothing is kept back longer than one
    receive, and the answers to it that TLS gives by itself are no longer than it was.
    """

    transport: Any

    _corked = False

    @property
    def holds_back(self) -> bool:
        """
        Whether something that was written waits for the handshake.
        """
        return bool(self._appSendBuffer)

    def dataReceived(self, data: bytes) -> None:
        """
        Decrypt, and send what comes of it.
        """
        if self.transport.disconnecting:
            return
        self._corked = True
        try:
            super().dataReceived(data)
        finally:
            self._corked = False
        self._flushSendBIO()

    def _flushSendBIO(self) -> None:
        connection = self.getHandle()
        if connection is not None and not self._corked:
            self.transport.write(b"".join(pending(connection)))

    def _unbufferPendingWrites(self) -> None:
        super()._unbufferPendingWrites()
        app_transport = self.transport.app_transport
        if app_transport is not None and app_transport.disconnecting and not self.holds_back:
            # The close has waited, too.
            app_transport.loseConnection()

    # Twisted closes the connection in both: what is to be sent has to go before.

    def _shutdownTLS(self) -> None:
        self._corked = False
        super()._shutdownTLS()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._corked = False
        super()._tlsShutdownFinished(reason)


class SecureProtocolFactory(TLSMemoryBIOFactory):
    """
    Makes it of a context and what is behind.
    """

    protocol = SecureProtocol


@implementer(IProtocolFactory)
@frozen(eq=False)
class TlsLayerFactory:
    """
    Makes a gate for each connection.
    """

    factory: IProtocolFactory
    allowed: frozenset[PeerName]
    hooks: Hooks

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        """
        Make the gate of a connection.
        """
        return TlsLayer(self.factory, addr, self.allowed, self.hooks)

    def doStart(self) -> None:
        """
        Pass on that a port begins to accept.
        """
        self.factory.doStart()

    def doStop(self) -> None:
        """
        Pass on that a port has ended.
        """
        self.factory.doStop()


def secure_factory(
    context: ServerContext,
    factory: IProtocolFactory,
    allowed: frozenset[PeerName],
    hooks: Hooks,
    clock: IReactorTime,
) -> IProtocolFactory:
    """
    Put TLS and a gate before what a factory makes.

    @param allowed: the clients that are served; all that the context takes if empty.
    @param clock: Twisted's factory takes the process's reactor without it.
    """
    made: IProtocolFactory = SecureProtocolFactory(
        context, False, TlsLayerFactory(factory, allowed, hooks), clock
    )
    return made


def _client_names(tls: Any) -> frozenset[PeerName]:
    """
    List the names in the certificate of the client, if it has one.
    """
    try:
        certificate = tls.getHandle().get_peer_certificate(as_cryptography=True)
    except STRANGE:
        # OpenSSL takes what the reader of names does not, such as an unknown version.
        return frozenset()
    return frozenset() if certificate is None else names_of(certificate)


def _told(names: frozenset[PeerName]) -> str:
    shown = ", ".join(map(str, sorted(names)[:MAX_NAMES_TOLD]))
    return escaped(shown.encode("utf-8", "backslashreplace"))


def _agreed(tls: Any, client: str) -> TlsSession:
    connection: SSL.Connection = tls.getHandle()
    return TlsSession(
        version=connection.get_protocol_version_name(),
        cipher=connection.get_cipher_name() or "",
        alpn=connection.get_alpn_proto_negotiated().decode("ascii", "backslashreplace"),
        client=client,
    )


def _explained(reason: Failure) -> str:
    problem = reason.value
    return reason_of(problem) if isinstance(problem, SSL.Error) else "the connection ended"
