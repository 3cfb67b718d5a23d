"""What is between a client transport and the protocol that it connects to a peer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer


class IClientTransport(IConsumer, IPushProducer, Interface):
    """
    A stream, or a datagram socket that is connected to one peer.

    As C{IConsumer} it takes data for the peer and pauses its producer while the write buffer is
    full; as C{IPushProducer} it delivers the peer's data, and aborts when it is stopped.
    """

    is_datagram: bool = Attribute("Whether each piece of data is one datagram.")

    def loseWriteConnection() -> None:
        """Send EOF."""

    def loseConnection() -> None:
        """Close after the write buffer is sent."""

    def abortConnection() -> None:
        """Close at once, discarding unsent data, unless the connection has ended already."""


@implementer(IHalfCloseableProtocol)
class Receiver(Protocol):
    """
    The base of the protocols over an L{IClientTransport}; data is part of a stream, or a datagram.

    @ivar done: fires at the end of the connection; fails unless the end was a clean one.
    """

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()
        self._failure: Exception | None = None

    def fail(self, failure: Exception) -> None:
        """Abort the connection; L{done} will fail with this error."""
        self._failure = failure
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """Close on EOF, although the peer may still read."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """No-op: caused by our own shutdown; a lost connection calls C{connectionLost}."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._failure is not None:
            self.done.errback(self._failure)
        elif reason.check(ConnectionDone):
            self.done.callback(None)
        else:
            self.done.errback(reason)


@implementer(IPushProducer)
@frozen
class CallbackProducer:
    """A push producer made of functions."""

    pauseProducing: Callable[[], None]
    resumeProducing: Callable[[], None]
    stopProducing: Callable[[], None] = lambda: None
