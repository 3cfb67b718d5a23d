"""
Connections that a balancer makes for somebody else, with a PROXY header in front.
"""

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

#: Why a connection is reset: what it began with is no PROXY header.
PROXY_HEADER = "proxy_header"

#: Why a connection is reset: its other end may not speak for others.
PROXY_SOURCE = "proxy_source"

_FAMILIES = {"tcp4": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}


class ProxyLayer(Protocol):
    """
    Stands for the protocol of a connection until its header is there.

    From then on it is out of the way: the connection has the real peer, whom the
    door has let in, and the real protocol.
    """

    transport: Any

    def __init__(self, factory: IProtocolFactory, settles: bool) -> None:
        """
        @param factory: makes the real protocol.
        @param settles: whether that one has something to agree on, too.
        """
        self._factory = factory
        self._settles = settles
        self._parser = HeaderParser()

    def dataReceived(self, data: bytes) -> None:
        """
        Read the header, and hand on what comes behind it.
        """
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
            # The balancer asks for itself, or does not know for whom.
            connection.log_open()
        elif not self._admit(header):
            return
        connection.handshaking = self._settles
        connection.is_plain = not self._settles
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
        """
        Ask the door for the real peer.
        """
        family, source = _FAMILIES[header.family], header.source
        if header.family == "tcp6":
            source = (*source, 0, 0)  # type: ignore[misc]
        reason, slot_held = self.transport.service_state.policy.admit_connection(family, source)
        if reason:
            self._refuse(reason, "")
            return False
        self.transport.set_peer(family, source, slot_held)
        return True

    def _refuse(self, reason: str, problem: str) -> None:
        connection = self.transport
        connection.service_state.counters.refused[reason] += 1
        if problem:
            connection.service_state.emit(PROXY_REFUSED, peer=connection.peer, error=problem)
        connection.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Forget a connection that ended before its header was there.
        """


@implementer(IProtocolFactory)
@frozen(eq=False)
class ProxyLayerFactory:
    """
    Makes a gate for each connection.

    @ivar factory: makes the real protocols.
    @ivar settles: whether these have something to agree on, too.
    """

    factory: IProtocolFactory
    settles: bool

    def buildProtocol(self, addr: Any) -> ProxyLayer:
        """
        Make the gate of a connection.
        """
        return ProxyLayer(self.factory, self.settles)

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
