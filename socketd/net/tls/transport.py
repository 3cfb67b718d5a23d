"""The transport of a protocol over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IConsumer, INegotiated, IPushProducer, ITCPTransport
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from socketd.net.tls.certificates import peer_certificate, written_names


class IBelowTls(ITCPTransport, IConsumer, IPushProducer):
    """What a transport over TLS forwards to the connection below, unless it says otherwise."""


_Forwarding: Any = proxyForInterface(IBelowTls, "_connection")


@implementer(INegotiated)
class SecureTransport(_Forwarding):  # type: ignore[misc]
    """
    The transport of a protocol over TLS.

    Producers are registered at the connection itself, which applies backpressure by the
    encrypted bytes that are pending: it resumes and pauses the producer, and pauses
    reading. TLS in between buffers nothing once the handshake is done.

    @ivar is_closing: whether the protocol has closed it, or it was reset here.
    @ivar has_data: whether either side has sent application data, also before STARTTLS.
    """

    def __init__(self, tls: Any, connection: Any, protocol: Any = None) -> None:
        self.protocol = protocol
        self.has_data = protocol is not None
        self._tls = tls
        self._connection = connection
        self.is_closing = self._close_notify_sent = False
        self._take = tls.write

    @property
    def connection_id(self) -> int:
        """The connection's id in logs and commands."""
        return self._connection.connection_id  # type: ignore[no-any-return]

    @property
    def peer(self) -> str:
        """The peer's address as printable text."""
        return self._connection.peer  # type: ignore[no-any-return]

    @property
    def disconnecting(self) -> bool:
        """Whether closing has begun."""
        return self.is_closing or bool(self._connection.disconnecting)

    def write(self, data: bytes) -> None:
        """Encrypt bytes and send them."""
        if not isinstance(data, bytes):
            raise TypeError("Data must be bytes")
        if self.is_closing and self._connection.producer is None:
            return
        if self._tls.connected:
            self.has_data = True
            self._take(data)

    def move_to(self, connection: Any) -> None:
        """Write to the same connection by another class of it."""
        self._connection = self._tls.transport = connection

    def hold_output(self, hold: Callable[[bytes], None] | None) -> None:
        """Pass what is written to C{hold} instead of encrypting it, or no longer."""
        self._take = self._tls.write if hold is None else hold

    def encrypt(self, data: bytes) -> None:
        """Encrypt bytes that were held, and send them."""
        if self._tls.connected:
            self._tls.write(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        Close once the pending output is sent: close_notify first, then the connection.

        The peer's close_notify is not awaited (RFC 8446, 6.1), and a peer that stops
        reading is reset like any other.
        """
        self.is_closing = True
        if self._tls.holds_back:
            self._connection.start_grace(self._connection.reactor.seconds())
        else:
            self._connection.loseConnection()

    def send_close_notify(self) -> None:
        """Send close_notify, once, now that all other output is sent."""
        if not self._close_notify_sent:
            self._close_notify_sent = True
            self._tls.loseConnection()

    def abortConnection(self) -> None:
        self.is_closing = True
        if self._tls.connected:
            self._tls.abortConnection()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeerCertificate(self) -> Any:
        """The client's certificate as a pyOpenSSL object; C{None} if it sent none."""
        return self._tls.getPeerCertificate()

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The names in the client's certificate, as L{written_names} lists them; none without."""
        certificate = peer_certificate(self.getHandle())
        return () if certificate is None else written_names(certificate)

    @property
    def proxy(self) -> Any:
        """The address of the load balancer, as L{StreamConnection} has it, or C{None}."""
        return self._connection.proxy

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The negotiated application protocol (ALPN), or C{None}."""
        return self._tls.negotiatedProtocol  # type: ignore[no-any-return]

    def export_keying_material(self, label: bytes, length: int, context: bytes) -> bytes:
        """
        Derive a key that only the two ends of this session have (RFC 8446, 7.5).

        @param length: that of the key (bytes).
        """
        exported: bytes = self.getHandle().export_keying_material(label, length, context)
        return exported

    def getHandle(self) -> Any:
        """The pyOpenSSL connection, as from Twisted's other TLS transports."""
        return self._tls.getHandle()
