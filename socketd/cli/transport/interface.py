"""
A way to the peer: what a stream and datagrams have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer


class IReceiver(Protocol):
    """
    Who talks with the peer.
    """

    def answered(self, data: bytes) -> None:
        """
        The peer said something.

        @param data: some bytes of a stream, or one datagram.
        """

    def peer_ended(self) -> None:
        """
        The peer will say nothing more, but may still listen.
        """

    def lost(self, reason: Failure) -> None:
        """
        There is no peer any more.

        @param reason: C{ConnectionDone} for a clean end.
        """


class IPeerTransport(Protocol):
    """
    A way to the peer.
    """

    keeps_messages: bool

    def send(self, data: bytes) -> None:
        """
        Say something.

        @param data: some bytes of a stream, or one datagram.
        """

    def hold(self, valve: CallbackProducer) -> None:
        """
        Tell who must be paused while the peer takes nothing.

        @param valve: what pauses it.
        """

    def end(self) -> None:
        """
        Say that nothing more will be said.
        """

    def pause(self) -> None:
        """
        Take nothing from the peer until L{resume}.
        """

    def resume(self) -> None:
        """
        Take what the peer says.
        """

    def close(self) -> None:
        """
        Part after what was said is sent.
        """

    def abort(self) -> None:
        """
        Part at once.
        """


@implementer(IPushProducer)
class CallbackProducer:
    """
    A producer for Twisted made of three functions.
    """

    def __init__(
        self, pause: Callable[[], object], resume: Callable[[], object], stop: Callable[[], object]
    ) -> None:
        """
        Take the functions.

        @param pause: called when the consumer has enough.
        @param resume: called when it wants more.
        @param stop: called when it will never take more.
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
