"""An inactivity timer."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime


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
