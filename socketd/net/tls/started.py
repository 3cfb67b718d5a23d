"""TLS started by a protocol on an established plain-text connection (STARTTLS)."""

from __future__ import annotations

from typing import Any

from socketd.net.tls.layer import SecureProtocolFactory, SecureTransport


class _Below:
    """The plain-text side of a connection, as the transport of TLS."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._plain: Any = type(connection)

    def __getattr__(self, name: str) -> Any:
        """Forward everything else to the connection."""
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        """Send bytes unencrypted."""
        self._plain.write(self._connection, data)

    def loseConnection(self) -> None:
        """Close once the pending output is sent."""
        self._plain.loseConnection(self._connection)

    def abortConnection(self) -> None:
        """Reset the connection."""
        self._plain.abortConnection(self._connection)


def start_tls(connection: Any, secured: type, context: Any, as_client: bool) -> None:
    """
    Insert TLS between a connection and its protocol.

    @param secured: the class that the connection has afterwards.
    """
    protocol = connection.protocol
    # There is no wrapped factory to call: the protocol already exists.
    none: Any = None
    factory = SecureProtocolFactory(context, as_client, none, connection.reactor)
    tls, below = factory.protocol(factory, protocol, False), _Below(connection)
    connection.app_transport = SecureTransport(tls, below, protocol)
    connection.protocol = tls
    connection.__class__ = secured
    tls.makeConnection(below)
