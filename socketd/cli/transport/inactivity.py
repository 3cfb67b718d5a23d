"""
A timer for a peer that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Silence:
    """
    Calls back once so many seconds passed since the last L{start}.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, expired: Callable[[], object]
    ) -> None:
        """
        Prepare the timer; nothing runs before L{start}.

        @param clock: what schedules it.
        @param seconds: how long; 0 stands for ever.
        @param expired: what is called then.
        """
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """
        Begin to wait, anew where that was already so.
        """
        if self._call is not None:
            self._call.reset(self._seconds)
        elif self._seconds:
            self._call = self._clock.callLater(self._seconds, self._expire)

    def stop(self) -> None:
        """
        Wait no more.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expire(self) -> None:
        self._call = None
        self._expired()
