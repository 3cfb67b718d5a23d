"""
One datagram there, one back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.failure import Failure

from socketd.cli.common.errors import CommandError
from socketd.cli.transport.datagram import DatagramLink


def no_answer(seconds: float) -> CommandError:
    """
    The failure of a peer that does not answer at all.

    @param seconds: how long it had time.
    @return: what to raise.
    """
    return CommandError(f"no answer within {seconds:g} s")


class Question:
    """
    Waits for the first datagram of the peer.

    @ivar link: what has to be connected before something is asked.
    """

    def __init__(self) -> None:
        """
        Begin unasked.
        """
        self.link = DatagramLink(self)
        self._answer: Deferred[bytes] = Deferred()

    async def ask(self, reactor: Any, data: bytes, seconds: float) -> bytes:
        """
        Send the datagram.

        @param reactor: what keeps the time.
        @param data: the datagram.
        @param seconds: how long the answer may take; 0 for ever.
        @return: the answer.
        @raise CommandError: when none came in time.
        @raise Exception: what L{socketd.cli.transport.error_text.explain} can put in words.
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
        Take the answer; what follows it is dropped.

        @param data: a datagram.
        """
        if not self._answer.called:
            self._answer.callback(data)

    def peer_ended(self) -> None:
        """
        Do nothing: datagrams have no end.
        """

    def lost(self, reason: Failure) -> None:
        """
        Fail, where there is no answer yet.

        @param reason: why.
        """
        if not self._answer.called:
            self._answer.errback(reason)
