"""
The TLS layer: creates a service's protocol only after the handshake and the check of the
client's names.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.events import TLS_FAILED, TLS_SECURED
from socketd.common.text import escaped
from socketd.net.base_layer import ESTABLISHED, Layer, LayerFactory
from socketd.net.tls.certificates import names_of, peer_certificate
from socketd.net.tls.context import ServerContext
from socketd.net.tls.handshake import UnknownServerName, pending, reason_of
from socketd.net.tls.records import ALL, RecordEnds
from socketd.net.tls.transport import SecureTransport
from socketd.settings.tls import PeerName

#: Names of a client that are logged; usually it has one or two.
MAX_NAMES_LOGGED = 4

#: The longest plain text of a record (bytes; RFC 8446, 5.1).
MAX_RECORD = 16 * 1024

#: Why a connection was rejected, as in counters and logs.
HANDSHAKE = "tls_handshake"
SERVER_NAME = "tls_server_name"
CLIENT_NAME = "tls_client_name"


@implementer(IHandshakeListener)
class TlsLayer(Layer):
    """
    Creates the protocol once the handshake and the client check succeed, then forwards
    data.

    TLS has a half-close (RFC 8446, 6.1), but Twisted closes on the peer's close_notify. So
    a protocol is told of the EOF just before that: it can reply immediately, not later.
    """

    _secure: SecureTransport
    _connection: Any

    def __init__(self, factory: IProtocolFactory, allowed: frozenset[PeerName]) -> None:
        """@param allowed: the client names that are served; empty: all."""
        super().__init__(factory)
        self._allowed = allowed

    @property
    def connection(self) -> Any:
        """The connection below TLS."""
        return self.transport.transport

    def handshakeCompleted(self) -> None:
        """Check the client's names, and hand over the connection."""
        certificate = peer_certificate(self.transport.getHandle())
        names = frozenset() if certificate is None else names_of(certificate)
        client = _printable(names) if names else ""
        if self._allowed and not names & self._allowed:
            self._report_failure(CLIENT_NAME, client)
            self.refuse(CLIENT_NAME)
            return
        connection, tls = self.connection, self.transport.getHandle()
        self._connection = connection
        self._secure = SecureTransport(self.transport, connection)
        if connection.service_state.event_bus.delivers(TLS_SECURED):
            self._report_success(tls, client)
        self.establish(transport=self._secure)

    def _report_success(self, tls: Any, client: str) -> None:
        connection = self._connection
        connection.service_state.emit(
            TLS_SECURED,
            peer=connection.peer,
            connection=connection.connection_id,
            version=tls.get_protocol_version_name(),
            cipher=tls.get_cipher_name() or "",
            alpn=tls.get_alpn_proto_negotiated().decode("ascii", "backslashreplace"),
            client=client,
        )

    def dataReceived(self, data: bytes) -> None:
        """Forward decrypted data, unless the protocol has closed."""
        secure, connection = self._secure, self._connection
        protocol = secure.protocol
        if protocol is None or secure.is_closing or connection.disconnecting:
            return
        secure.has_data = True
        connection.messages_received += 1
        if connection.service_state.observed:
            connection.observe(data)
        protocol.dataReceived(data)

    def peer_ended(self) -> None:
        """Report the peer's EOF to a protocol that supports half-close."""
        if self.state == ESTABLISHED and not self._secure.disconnecting:
            if IHalfCloseableProtocol.providedBy(self._secure.protocol):
                self._secure.protocol.readConnectionLost()
        self.connection.send_held()

    def handshake_lost(self, reason: Failure) -> None:
        """Count and report a failed handshake."""
        name = SERVER_NAME if reason.check(UnknownServerName) else HANDSHAKE
        # After a deadline it is already counted as timed out.
        if not self.connection.timed_out:
            self._report_failure(name, reason_of(reason.value))
            self.count_refusal(name)

    def _report_failure(self, reason: str, error: str) -> None:
        connection = self.connection
        connection.service_state.emit(
            TLS_FAILED, peer=connection.peer, reason=reason, error=error
        )

    def closed(self, reason: Failure) -> None:
        """Report the loss to the protocol."""
        if self._secure.protocol is not None:
            self._secure.protocol.connectionLost(reason)


class SecureProtocol(TLSMemoryBIOProtocol):
    """
    Twisted's TLS, with all output that one receive causes sent in one write.

    Twisted sends each record separately, and at most 32 KiB after a receive: a longer
    certificate chain would deadlock with the peer, and responses of TLS itself would
    accumulate. Here no output is delayed beyond one receive, and the responses of TLS
    itself are no longer than the data received.
    """

    transport: Any
    factory: SecureProtocolFactory

    _corked = False

    def makeConnection(self, transport: Any) -> None:
        """
        Begin with TLS, without what Twisted does for what is not here: the interfaces of its
        transport are not asked for, and a server has nothing to say first.
        """
        factory = self.factory
        self._records = RecordEnds()
        self._tlsConnection = factory._creatorCallable(self)
        self._appSendBuffer: list[bytes] = []
        Protocol.makeConnection(self, transport)
        factory.registerProtocol(self)
        if self._connectWrapped:
            self.wrappedProtocol.makeConnection(self)

    @property
    def holds_back(self) -> bool:
        """Whether written data is buffered until the handshake is done."""
        return bool(self._appSendBuffer)

    def dataReceived(self, data: bytes) -> None:
        """Decrypt received data, and send the resulting output."""
        if self.transport.disconnecting:
            return
        reads = self._records.count(data)
        self._corked = True
        try:
            self._tlsConnection.bio_write(data)
            if not self._handshakeDone:
                self._checkHandshakeStatus()
                # More may have come with its end, or even before.
                reads = ALL
            if self._handshakeDone:
                if self._appSendBuffer:
                    self._unbufferPendingWrites()
                self._read(reads)
        finally:
            self._corked = False
        self._flushSendBIO()

    def _flushReceiveBIO(self) -> None:
        self._read(ALL)
        self._flushSendBIO()

    def _read(self, reads: int) -> None:
        """Decrypt what was received, and deliver it, with so many reads at most."""
        connection = self._tlsConnection
        while reads and not self._lostTLSConnection:
            reads -= 1
            try:
                data = connection.recv(MAX_RECORD)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(data)

    def write(self, data: bytes) -> None:
        """Encrypt data and send it, or keep it until the handshake is done."""
        if self.disconnecting:
            return
        self._write(data)

    def _write(self, data: bytes) -> None:
        size, sent = len(data), 0
        while sent < size and not self._lostTLSConnection:
            try:
                # A record is all that is taken at a time.
                sent += self._tlsConnection.send(memoryview(data)[sent:] if sent else data)
            except SSL.WantReadError:
                self._bufferedWrite(data[sent:])
                return
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._corked:
                    self._flushSendBIO()

    def _flushSendBIO(self) -> None:
        connection = self._tlsConnection
        if connection is not None and not self._corked:
            self.transport.write(pending(connection))

    def _unbufferPendingWrites(self) -> None:
        super()._unbufferPendingWrites()
        app_transport = self.transport.app_transport
        if app_transport is not None and app_transport.disconnecting and not self.holds_back:
            # A close was deferred until the handshake, too.
            app_transport.loseConnection()

    # Twisted closes the connection in both, so pending output must be flushed before.

    def _shutdownTLS(self) -> None:
        # Twisted answers the peer's close_notify here; nothing can be sent afterwards.
        ended = self.getHandle().get_shutdown() & SSL.RECEIVED_SHUTDOWN
        if ended and isinstance(self.wrappedProtocol, TlsLayer):
            self.wrappedProtocol.peer_ended()
        self._corked = False
        super()._shutdownTLS()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._corked = False
        super()._tlsShutdownFinished(reason)


class SecureProtocolFactory(TLSMemoryBIOFactory):
    """Makes L{SecureProtocol} from a context and a wrapped factory."""

    protocol = SecureProtocol


def wrap_in_tls(
    factory: IProtocolFactory,
    allowed: frozenset[PeerName],
    context: ServerContext,
    clock: IReactorTime,
) -> IProtocolFactory:
    """
    Wrap a factory in TLS and the TLS layer.

    @param allowed: the client names that are served; if empty, all clients that the
        context accepts.
    @param clock: without it Twisted's factory uses the global reactor.
    """
    layers = LayerFactory(factory, partial(TlsLayer, allowed=allowed))
    made: IProtocolFactory = SecureProtocolFactory(context, False, layers, clock)
    return made


def _printable(names: frozenset[PeerName]) -> str:
    shown = ", ".join(map(str, sorted(names)[:MAX_NAMES_LOGGED]))
    return escaped(shown.encode("utf-8", "backslashreplace"))
