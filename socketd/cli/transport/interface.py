"""The common interface of the stream and datagram transports of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer


class IReceiver(Protocol):
    """Receiver of data and connection events."""

    def answered(self, data: bytes) -> None:
        """
        Data arrived.

        @param data: bytes of a stream, or one datagram.
        """

    def peer_ended(self) -> None:
        """EOF arrived; the peer may still read."""

    def lost(self, reason: Failure) -> None:
        """
        The connection ended.

        @param reason: C{ConnectionDone} for a clean close.
        """


class IPeerTransport(Protocol):
    """Client transport."""

    keeps_messages: bool

    def send(self, data: bytes) -> None:
        """
        Send data.

        @param data: bytes of a stream, or one datagram.
        """

    def hold(self, valve: CallbackProducer) -> None:
        """
        Register the producer to pause while the write buffer is full (backpressure).

        @param valve: the producer.
        """

    def end(self) -> None:
        """Send EOF."""

    def pause(self) -> None:
        """Stop reading from the peer until L{resume} (backpressure)."""

    def resume(self) -> None:
        """Resume reading from the peer."""

    def close(self) -> None:
        """Close after the write buffer is sent."""

    def abort(self) -> None:
        """Close at once, discarding unsent data."""


@implementer(IPushProducer)
class CallbackProducer:
    """A push producer made of three functions."""

    def __init__(
        self, pause: Callable[[], object], resume: Callable[[], object], stop: Callable[[], object]
    ) -> None:
        """
        Store the functions.

        @param pause: called when the consumer's buffer is full.
        @param resume: called when the consumer accepts data again.
        @param stop: called when the consumer has ended.
        """
        self._pause = pause
        self._resume = resume
        self._stop = stop

    def pauseProducing(self) -> None:
        self._pause()

    def resumeProducing(self) -> None:
        self._resume()

    def stopProducing(self) -> None:
        self._stop()
