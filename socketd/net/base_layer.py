"""
The base of the layers between a connection and its service's protocol: PROXY header and TLS.

A layer waits for the peer to do what comes first (send a header, shake hands).  Then it is
established and hands the connection over to what comes next; or it is closed, since the peer
was refused or has gone.  It changes a connection only by L{hand_over
<socketd.net.stream.connection.StreamConnection.hand_over>} and C{abortConnection}.

Each layer has these hooks: C{dataReceived}; L{Layer.handshake_lost}, if the connection ends
while it waits; L{Layer.closed}, if it ends later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure

#: The states of a layer.
WAITING, ESTABLISHED, CLOSED = range(3)


@frozen
class Client:
    """
    The client behind a proxy.

    @ivar destination: the address that it connected to.
    """

    family: int
    source: Any
    destination: Any
    slot: Any


class Layer(Protocol):
    """A layer of one connection."""

    transport: Any

    def __init__(self, factory: IProtocolFactory) -> None:
        """@param factory: makes the protocol of the next layer, or of the service."""
        self._factory = factory
        self.state = WAITING

    @property
    def connection(self) -> Any:
        """The connection below all layers."""
        return self.transport

    def establish(self, **handed: Any) -> None:
        """Hand the connection over, as its C{hand_over} takes it."""
        self.state = ESTABLISHED
        if not self.connection.hand_over(self._factory, **handed):
            self.state = CLOSED

    def refuse(self, reason: str) -> None:
        """Count a refused peer, and reset its connection."""
        self.count_refusal(reason)
        self.transport.abortConnection()

    def count_refusal(self, reason: str) -> None:
        """Close the layer, and count why."""
        self.state = CLOSED
        self.connection.service_state.counters.refused[reason] += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Call the hook of the state."""
        before, self.state = self.state, CLOSED
        if before == WAITING:
            self.handshake_lost(reason)
        elif before == ESTABLISHED:
            self.closed(reason)

    def handshake_lost(self, reason: Failure) -> None:
        """Called when the connection ends while this layer waits."""

    def closed(self, reason: Failure) -> None:
        """Called when the connection ends while this layer is established."""


_Wrapping: Any = proxyForInterface(IProtocolFactory, "factory")


class LayerFactory(_Wrapping):  # type: ignore[misc]
    """Makes a layer for each connection."""

    def __init__(
        self, factory: IProtocolFactory, make: Callable[[IProtocolFactory], Layer]
    ) -> None:
        """@param make: makes a layer from that factory."""
        super().__init__(factory)
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Layer:
        return self._make(self.factory)
