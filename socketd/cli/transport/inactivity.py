"""An inactivity timer."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Silence:
    """Calls back when the timeout has passed since the last L{start}."""

    def __init__(
        self, clock: IReactorTime, seconds: float, expired: Callable[[], object]
    ) -> None:
        """
        Create the timer, stopped.

        @param clock: schedules the call.
        @param seconds: the timeout; 0 for no limit.
        @param expired: called on timeout.
        """
        self._clock = clock
        self._seconds = seconds
        self._expired = expired
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Start or restart the timer."""
        if self._call is not None:
            self._call.reset(self._seconds)
        elif self._seconds:
            self._call = self._clock.callLater(self._seconds, self._expire)

    def stop(self) -> None:
        """Stop the timer."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expire(self) -> None:
        self._call = None
        self._expired()
