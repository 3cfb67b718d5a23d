"""The PROXY layer: reads the PROXY header of a load balancer before the service's protocol."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.common.events import PROXY_REFUSED
from socketd.net.base_layer import Client, Layer
from socketd.net.proxy.header import Header, HeaderError, HeaderParser

#: Reason for a reset: the first bytes are not a valid PROXY header.
PROXY_HEADER = "proxy_header"


class ProxyLayer(Layer):
    """
    The protocol of a connection until its PROXY header is complete.

    Then the connection gets the client's address, once the access policy has admitted it.  A
    connection that ends before is not reported.
    """

    def __init__(self, factory: IProtocolFactory, over_tls: bool) -> None:
        """@param over_tls: whether TLS comes next."""
        super().__init__(factory)
        self._over_tls = over_tls
        self._parser = HeaderParser()

    def dataReceived(self, data: bytes) -> None:
        """Parse the header, and hand over the bytes after it."""
        try:
            header = self._parser.feed(data)
        except HeaderError as problem:
            connection = self.connection
            connection.service_state.emit(PROXY_REFUSED, peer=connection.peer, error=str(problem))
            self.refuse(PROXY_HEADER)
            return
        if header is None:
            return
        client = None
        # Without a source it is a connection of the proxy itself (health check).
        if header.source is not None:
            client, reason = self._admit(header)
            if reason:
                self.refuse(reason)
                return
        self.establish(client=client, handshaking=self._over_tls, rest=self._parser.rest)

    def _admit(self, header: Header) -> tuple[Client, str | None]:
        """Apply the access policy to the client's address."""
        family = header.family
        source, destination = _name(family, header.source), _name(family, header.destination)
        policy = self.connection.service_state.policy
        reason, slot = policy.admit_connection(family, source)
        return Client(family, source, destination, slot), reason


def _name(family: int, address: Any) -> Any:
    """Complete an address to the socket address of its family."""
    return (*address, 0, 0) if family == socket.AF_INET6 else address
