"""What is between a client transport and the protocol that it connects to a peer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface, implementer

from socketd.cli.transport.error_text import no_answer

T = TypeVar("T")


@define(eq=False)
class InactivityTimer:
    """Calls C{expired} when C{seconds} have passed since the last L{start}; 0: never."""

    _clock: IReactorTime
    _seconds: float
    _expired: Callable[[], object]
    _call: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Start or restart the timer."""
        if self._call is not None:
            self._call.reset(self._seconds)
        elif self._seconds:
            self._call = self._clock.callLater(self._seconds, self._expire)

    def stop(self) -> None:
        """Stop the timer, if it runs."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expire(self) -> None:
        self._call = None
        self._expired()


class IClientTransport(IConsumer, IPushProducer, Interface):
    """
    A stream, or a datagram socket that is connected to one peer.

    As C{IConsumer} it takes data for the peer and pauses its producer while the write buffer is
    full; as C{IPushProducer} it delivers the peer's data, and aborts when it is stopped.
    """

    is_datagram: bool = Attribute("Whether each piece of data is one datagram.")
    can_half_close: bool = Attribute("Whether EOF can be sent and the whole reply still comes.")

    def loseWriteConnection() -> None:
        """Send EOF."""

    def loseConnection() -> None:
        """Close after the write buffer is sent."""

    def abortConnection() -> None:
        """Close at once, discarding unsent data, unless the connection has ended already."""


@implementer(IHalfCloseableProtocol)
class Receiver(Protocol):
    """
    The base of the protocols over an L{IClientTransport}; C{done} fires at the end of the
    connection, and fails unless that was a clean one.
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

    @classmethod
    def telling(
        cls, paused: Callable[[bool], None], stop: Callable[[], None] = lambda: None
    ) -> CallbackProducer:
        """Make one that tells whether it is paused."""
        return cls(partial(paused, True), partial(paused, False), stop)


class Probe(Receiver):
    """
    The base of measurements, which send and wait by one timer; C{done} fails with the first error.
    """

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock
        self._timer: IDelayedCall | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason.value)

    def _set_timer(self, seconds: float, call: Callable[[], object]) -> None:
        """Call after so many seconds, in place of what the timer was set for."""
        self._stop_timer()
        self._timer = self._clock.callLater(max(0.0, seconds), call)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _end(self, failure: BaseException | None = None) -> None:
        """End the measurement, which is complete without a failure."""
        if self.done.called:
            return
        self._stop_timer()
        if failure is None:
            self.transport.loseConnection()
            self.done.callback(None)
        else:
            self.transport.abortConnection()
            self.done.errback(failure)


async def answer_within(reactor: Any, seconds: float, answer: Deferred[T]) -> T:
    """Wait for an answer; 0 seconds: without limit; L{CommandError} if there is none in time."""
    if seconds:
        answer.addTimeout(seconds, reactor)
    try:
        return await answer
    except TimeoutError:
        raise no_answer(seconds) from None
