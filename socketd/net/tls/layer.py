"""
The TLS layer: creates a service's protocol only after the handshake and the check of the
client's names.
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

from socketd.common.text import escaped
from socketd.net.tls.certificates import STRANGE, names_of
from socketd.net.tls.context import ServerContext, UnknownServerName, pending, reason_of
from socketd.net.written import NOT_BYTES, joined
from socketd.settings.tls import PeerName

#: Names of a client that are logged; usually it has one or two.
MAX_NAMES_TOLD = 4

#: Why a connection was rejected, as in counters and logs.
HANDSHAKE = "tls_handshake"
SERVER_NAME = "tls_server_name"
CLIENT_NAME = "tls_client_name"


@frozen
class TlsSession:
    """
    The result of a handshake.

    @ivar version: such as C{TLSv1.3}.
    @ivar cipher: OpenSSL's name of the cipher suite.
    @ivar alpn: the application protocol; empty if none was negotiated.
    @ivar client: the client's names, escaped for logs; empty if it has none.
    """

    version: str
    cipher: str
    alpn: str
    client: str


@frozen
class HandshakeFailure:
    """
    Why a connection was rejected.

    @ivar reason: L{HANDSHAKE}, L{SERVER_NAME} or L{CLIENT_NAME}.
    @ivar detail: OpenSSL's reason or the client's names, escaped for logs.
    """

    reason: str
    detail: str


@implementer(INegotiated, ITCPTransport, IConsumer, IPushProducer)
class SecureTransport:
    """
    The transport of a protocol over TLS.

    Producers are registered at the connection itself, which applies backpressure by the
    encrypted bytes that are pending: it resumes and pauses the producer, and pauses
    reading. TLS in between buffers nothing once the handshake is done.

    @ivar protocol: the protocol that writes here.
    @ivar spoken: whether either side has sent application data.
    """

    spoken = True

    def __init__(self, tls: SecureProtocol, connection: Any, protocol: Any = None) -> None:
        """@param connection: the connection below TLS."""
        self.protocol = protocol
        self._tls = tls
        self._connection = connection
        self._closing = self._concluded = False

    @property
    def connection_id(self) -> int:
        """The connection's id in logs and commands."""
        return self._connection.connection_id  # type: ignore[no-any-return]

    @property
    def disconnecting(self) -> bool:
        """Whether closing has begun."""
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
        """Encrypt several pieces as one."""
        self.write(joined(data))

    def loseConnection(self) -> None:
        """
        Close once the pending output is sent: close_notify first, then the connection.

        The peer's close_notify is not awaited (RFC 8446, 6.1), and a peer that stops
        reading is reset like any other.
        """
        self._closing = True
        if self._tls.holds_back:
            self._connection.start_grace(self._connection.reactor.seconds())
        else:
            self._connection.loseConnection()

    def loseWriteConnection(self) -> None:
        """
        Half-close: signal EOF to the peer once the pending output is sent; data from the
        peer is still received.
        """
        self._connection.loseWriteConnection()

    def drain_and_close(self) -> None:
        """Send close_notify, once, now that all other output is sent."""
        if not self._concluded:
            self._concluded = True
            self._tls.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection."""
        self._closing = True
        if self._tls.connected:
            self._tls.abortConnection()

    def getPeerCertificate(self) -> Any:
        """The client's certificate as a pyOpenSSL object; C{None} if it sent none."""
        return self._tls.getPeerCertificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The negotiated application protocol (ALPN), or C{None}."""
        return self._tls.negotiatedProtocol

    def getHandle(self) -> Any:
        """The pyOpenSSL connection, as from Twisted's other TLS transports."""
        return self._tls.getHandle()

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is set."""
        return self._connection.getTcpNoDelay()  # type: ignore[no-any-return]

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Set TCP_NODELAY."""
        self._connection.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is set."""
        return self._connection.getTcpKeepAlive()  # type: ignore[no-any-return]

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Set SO_KEEPALIVE."""
        self._connection.setTcpKeepAlive(enabled)

    def getPeer(self) -> Any:
        """The remote address."""
        return self._connection.getPeer()

    def getHost(self) -> Any:
        """The local address."""
        return self._connection.getHost()

    def pauseProducing(self) -> None:
        """Pause reading; data that is already received may still be delivered."""
        self._connection.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume reading."""
        self._connection.resumeProducing()

    def stopProducing(self) -> None:
        """Close: the consumer of the received data is gone."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Register a producer, paced by how fast the peer reads (backpressure).

        @raise RuntimeError: if a producer is already registered.
        """
        self._connection.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer; a close that waited for it continues."""
        self._connection.unregisterProducer()


OnSecured = Callable[[Any, TlsSession, SecureTransport], object]
OnFailed = Callable[[Any, HandshakeFailure], object]
OnReceived = Callable[[Any, bytes], object]


def _nothing(connection: Any, data: bytes) -> None:
    """No-op default callback."""


@frozen
class Hooks:
    """
    Callbacks for counters and logs; the first argument is the connection below TLS.

    @ivar on_established: called once after the handshake, before the protocol is created.
    @ivar on_failed: called once if the connection is rejected.
    @ivar on_received: called with decrypted data, before the protocol receives it.
    """

    on_established: OnSecured
    on_failed: OnFailed
    on_received: OnReceived = _nothing


@implementer(IHandshakeListener)
class TlsLayer(Protocol):
    """
    Creates the protocol once the handshake and the client check succeed, then forwards
    data.

    TLS has a half-close (RFC 8446, 6.1), but Twisted closes on the peer's close_notify. So
    a protocol is told of the EOF just before that: it can reply immediately, not later.
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
        """Check the client's names, and create the protocol."""
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
        """Forward decrypted data, unless the protocol has closed."""
        if self._secure is not None and not self._secure.disconnecting:
            self._secure.spoken = True
            self._hooks.on_received(self.transport.transport, data)
            self._protocol.dataReceived(data)

    def peer_ended(self) -> None:
        """Report the peer's EOF to a protocol that supports half-close."""
        if self._secure is not None and not self._secure.disconnecting:
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.readConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the loss to the protocol, or a failed handshake if there is none yet."""
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
    Twisted's TLS, with all output that one receive causes sent in one write.

    Twisted sends each record separately, and at most 32 KiB after a receive: a longer
    certificate chain would deadlock with the peer, and responses of TLS itself would
    accumulate. Here no output is delayed beyond one receive, and the responses of TLS
    itself are no longer than the data received.
    """

    transport: Any

    _corked = False

    @property
    def holds_back(self) -> bool:
        """Whether written data is buffered until the handshake is done."""
        return bool(self._appSendBuffer)

    def dataReceived(self, data: bytes) -> None:
        """Decrypt received data, and send the resulting output."""
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
            # A close was deferred until the handshake, too.
            app_transport.loseConnection()

    # Twisted closes the connection in both, so pending output must be flushed before.

    def _shutdownTLS(self) -> None:
        self._corked = False
        super()._shutdownTLS()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._corked = False
        super()._tlsShutdownFinished(reason)


class SecureProtocolFactory(TLSMemoryBIOFactory):
    """Makes L{SecureProtocol} from a context and a wrapped factory."""

    protocol = SecureProtocol


@implementer(IProtocolFactory)
@frozen(eq=False)
class TlsLayerFactory:
    """Makes a TLS layer for each connection."""

    factory: IProtocolFactory
    allowed: frozenset[PeerName]
    hooks: Hooks

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        """Make the TLS layer of a connection."""
        return TlsLayer(self.factory, addr, self.allowed, self.hooks)

    def doStart(self) -> None:
        """Tell the wrapped factory that a port starts."""
        self.factory.doStart()

    def doStop(self) -> None:
        """Tell the wrapped factory that a port has stopped."""
        self.factory.doStop()


def secure_factory(
    context: ServerContext,
    factory: IProtocolFactory,
    allowed: frozenset[PeerName],
    hooks: Hooks,
    clock: IReactorTime,
) -> IProtocolFactory:
    """
    Wrap a factory in TLS and the TLS layer.

    @param allowed: the client names that are served; if empty, all clients that the
        context accepts.
    @param clock: without it Twisted's factory uses the global reactor.
    """
    made: IProtocolFactory = SecureProtocolFactory(
        context, False, TlsLayerFactory(factory, allowed, hooks), clock
    )
    return made


def _client_names(tls: Any) -> frozenset[PeerName]:
    """List the names in the client's certificate, if it sent one."""
    try:
        certificate = tls.getHandle().get_peer_certificate(as_cryptography=True)
    except STRANGE:
        # OpenSSL accepts certificates that cryptography does not, e.g. of unknown version.
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
