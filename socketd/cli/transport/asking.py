"""A datagram request with one reply."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.failure import Failure

from socketd.cli.transport.datagram import DatagramLink
from socketd.common.errors import CommandError


def no_answer(seconds: float) -> CommandError:
    """
    Make the error for a peer that sent no reply.

    @param seconds: the timeout that expired.
    @return: the exception to raise.
    """
    return CommandError(f"no answer within {seconds:g} s")


class Question:
    """
    Sends one datagram, and waits for the first reply.

    @ivar link: the transport, which must be connected before L{ask}.
    """

    def __init__(self) -> None:
        """Create the request, not yet sent."""
        self.link = DatagramLink(self)
        self._answer: Deferred[bytes] = Deferred()

    async def ask(self, reactor: Any, data: bytes, seconds: float) -> bytes:
        """
        Send the datagram.

        @param reactor: schedules the timeout.
        @param data: the datagram.
        @param seconds: how long to wait for the reply; 0 for no limit.
        @return: the reply.
        @raise CommandError: when no reply came in time.
        @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
        """
        if seconds:
            self._answer.addTimeout(seconds, reactor)
        self.link.send(data)
        try:
            return await self._answer
        except TimeoutError:
            raise no_answer(seconds) from None

    def answered(self, data: bytes) -> None:
        """
        Take the first reply; later datagrams are dropped.

        @param data: one datagram.
        """
        if not self._answer.called:
            self._answer.callback(data)

    def peer_ended(self) -> None:
        """Do nothing: datagrams have no EOF."""

    def lost(self, reason: Failure) -> None:
        """
        Fail, unless there is a reply already.

        @param reason: why the transport ended.
        """
        if not self._answer.called:
            self._answer.errback(reason)
