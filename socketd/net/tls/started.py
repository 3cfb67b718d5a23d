"""
TLS that a protocol begins on a connection that it speaks on already (STARTTLS).
"""

from __future__ import annotations

from typing import Any

from socketd.net.tls.layer import SecureProtocolFactory, SecureTransport


class _Below:
    """
    The connection as it is under TLS.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._plain: Any = type(connection)

    def __getattr__(self, name: str) -> Any:
        """
        Give what TLS does not change.
        """
        return getattr(self._connection, name)

    def write(self, data: bytes) -> None:
        """
        Send bytes as they are.
        """
        self._plain.write(self._connection, data)

    def loseConnection(self) -> None:
        """
        Close once all that is owed is sent.
        """
        self._plain.loseConnection(self._connection)

    def abortConnection(self) -> None:
        """
        Reset the connection.
        """
        self._plain.abortConnection(self._connection)


def start_tls(connection: Any, secured: type, context: Any, as_client: bool) -> None:
    """
    Put TLS between a connection and its protocol.

    @param secured: what the connection is from then on.
    """
    protocol = connection.protocol
    # Nothing is asked of a factory behind: the protocol is there.
    none: Any = None
    factory = SecureProtocolFactory(context, as_client, none, connection.reactor)
    tls, below = factory.protocol(factory, protocol, False), _Below(connection)
    connection.app_transport = SecureTransport(tls, below, protocol)
    connection.protocol = tls
    connection.__class__ = secured
    tls.makeConnection(below)
