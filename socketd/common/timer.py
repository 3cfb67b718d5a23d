"""A call at a later time, as protocols have for each thing that they wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timer:
    """One call at a time: to start it again is to stop it before."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None and self._call.active()

    def start(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called after so many seconds."""
        self.stop()
        self._call = self._clock.callLater(seconds, function, *arguments)

    def stop(self) -> None:
        """Have it called no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
