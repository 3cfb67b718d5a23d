"""TLS that a protocol starts on its plain connection (STARTTLS)."""

from __future__ import annotations

from typing import Any


class StartedTls:
    """
    Mixin: a connection after C{startTLS}.

    The protocol keeps its transport object, whose class is switched instead: a check for
    TLS in each write would cost every connection.
    """

    __slots__ = ()

    app_transport: Any

    def write(self, data: bytes) -> None:
        """Encrypt and send data."""
        self.app_transport.write(data)

    def loseConnection(self) -> None:
        """Close after all buffered data is sent."""
        self.app_transport.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection."""
        self.app_transport.abortConnection()

    def getHandle(self) -> Any:
        """The pyOpenSSL connection, as Twisted's own TLS transports return it."""
        return self.app_transport.getHandle()

    def getPeerCertificate(self) -> Any:
        """The peer's certificate (a pyOpenSSL object), or C{None}."""
        return self.app_transport.getPeerCertificate()

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The names in the peer's certificate, as L{SecureTransport.peer_names}."""
        return self.app_transport.peer_names  # type: ignore[no-any-return]

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The negotiated application protocol (ALPN), or C{None}."""
        return self.app_transport.negotiatedProtocol  # type: ignore[no-any-return]

    def rejoin(self) -> None:
        """Let TLS write by the class that this connection has now: it still writes by the last."""
        self.app_transport.move_to(super())


def start_tls(connection: Any, started: type[StartedTls], context: Any, is_server: bool) -> None:
    """
    Put TLS between a connection and its protocol.

    @param started: the class of the connection from then on.
    @param context: as C{startTLS} of Twisted's own transports takes it.
    """
    # Lazy: this import takes 0.1 s, which a daemon without TLS need not spend.
    from socketd.net.tls.layer import SecureProtocolFactory
    from socketd.net.tls.transport import SecureTransport

    # There is no wrapped factory to call: the protocol already exists.
    none: Any = None
    factory = SecureProtocolFactory(context, not is_server, none, connection.reactor)
    tls = factory.protocol(factory, connection.protocol, False)
    connection.__class__ = started
    # The connection as it was, which sends plain text.
    plain = super(StartedTls, connection)
    connection.app_transport = SecureTransport(tls, plain, connection.protocol)
    connection.protocol = tls
    tls.makeConnection(plain)
    if not is_server:
        # Our side says the first word.
        tls._checkHandshakeStatus()
