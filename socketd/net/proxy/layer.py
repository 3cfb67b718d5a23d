"""The PROXY layer: reads the PROXY header of a load balancer before the service's protocol."""

from __future__ import annotations

import socket
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.events import PROXY_REFUSED
from socketd.net.proxy.header import Header, HeaderError, HeaderParser

#: Reason for a reset: the first bytes are not a valid PROXY header.
PROXY_HEADER = "proxy_header"

#: Reason for a reset: the peer is not a trusted proxy.
PROXY_SOURCE = "proxy_source"

_FAMILIES = {"tcp4": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}


class ProxyLayer(Protocol):
    """
    The protocol of a connection until its PROXY header is complete.

    It then replaces itself: the connection gets the client's address, once the access
    policy has admitted it, and the service's protocol.
    """

    transport: Any

    def __init__(self, factory: IProtocolFactory, over_tls: bool) -> None:
        """
        @param factory: makes the service's protocol.
        @param over_tls: whether that protocol begins with a handshake (TLS).
        """
        self._factory = factory
        self._over_tls = over_tls
        self._parser = HeaderParser()

    def dataReceived(self, data: bytes) -> None:
        """Parse the header, and forward the bytes after it."""
        try:
            header = self._parser.feed(data)
        except HeaderError as problem:
            self._refuse(PROXY_HEADER, str(problem))
            return
        if header is not None:
            self._open(header, self._parser.rest)

    def _open(self, header: Header, rest: bytes) -> None:
        connection = self.transport
        if header.source is None:
            # A connection of the proxy itself (health check), or of an unknown client.
            connection.log_open()
        elif not self._admit(header):
            return
        connection.handshaking = self._over_tls
        connection.is_plain = not self._over_tls
        connection.preamble = connection.bytes_received - len(rest)
        protocol = self._factory.buildProtocol(connection.getPeer())
        if protocol is None:
            connection.abortConnection()
            return
        connection.protocol = protocol
        protocol.makeConnection(connection)
        if rest:
            connection.receive(rest)

    def _admit(self, header: Header) -> bool:
        """Apply the access policy to the client's address."""
        family, source = _FAMILIES[header.family], header.source
        if header.family == "tcp6":
            source = (*source, 0, 0)  # type: ignore[misc]
        reason, slot = self.transport.service_state.policy.admit_connection(family, source)
        if reason:
            self._refuse(reason, "")
            return False
        self.transport.set_peer(family, source, slot)
        return True

    def _refuse(self, reason: str, problem: str) -> None:
        connection = self.transport
        connection.service_state.counters.refused[reason] += 1
        if problem:
            connection.service_state.emit(PROXY_REFUSED, peer=connection.peer, error=problem)
        connection.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Ignore a connection that ended before its header was complete."""


@implementer(IProtocolFactory)
@frozen(eq=False)
class ProxyLayerFactory:
    """
    Makes a PROXY layer for each connection.

    @ivar factory: makes the service's protocols.
    @ivar over_tls: whether these begin with a handshake (TLS).
    """

    factory: IProtocolFactory
    over_tls: bool

    def buildProtocol(self, addr: Any) -> ProxyLayer:
        """Make the PROXY layer of a connection."""
        return ProxyLayer(self.factory, self.over_tls)

    def doStart(self) -> None:
        """Tell the wrapped factory that a port starts."""
        self.factory.doStart()

    def doStop(self) -> None:
        """Tell the wrapped factory that a port has stopped."""
        self.factory.doStop()
