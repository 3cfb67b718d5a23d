"""
Exact times of many connections, on one timer.

The reactor gets round to its timers late while peers keep it busy, by 5 ms and more.  So the
connections themselves ask, each time that they are served, whether another one is due.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Protocol

#: Alarms that ring at a time, about 10 ms; the rest follow in the next iteration of the reactor.
MAX_RINGS = 1000

#: Alarms of the past that are left among others; each is smaller than a connection.
MAX_STALE = 64


class Alarm(Protocol):
    """
    What may be set to one time.

    @ivar rings_at: when it rings, infinite if it is not set; changed only here.
    """

    rings_at: float


class Sleeper(Protocol):
    """Whom an alarm wakes."""

    def wake(self) -> None:
        """Do what is due."""


class Alarms:
    """The alarms of one service."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm, Sleeper]] = []
        self._numbers = count()
        self._timer: Any = None
        self._stale = 0

    def set(self, alarm: Alarm, sleeper: Sleeper, when: float) -> None:
        """Set an alarm, or set it to another time (seconds on the clock)."""
        self.stop(alarm)
        alarm.rings_at = when
        heappush(self._heap, (when, next(self._numbers), alarm, sleeper))
        if self._heap[0][2] is alarm:
            self._arm()

    def stop(self, alarm: Alarm) -> None:
        """Stop an alarm, if it is set."""
        if alarm.rings_at == inf:
            return
        alarm.rings_at = inf
        self._stale += 1
        if self._stale == len(self._heap) or self._stale > max(MAX_STALE, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].rings_at == entry[0]]
            self._stale = 0
            heapify(self._heap)
        if not self._heap and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ring(self) -> None:
        """Wake all who are due."""
        now = self._clock.seconds()
        for _ in range(MAX_RINGS):
            if not self._heap or self._heap[0][0] > now:
                return
            when, _, alarm, sleeper = heappop(self._heap)
            if alarm.rings_at == when:
                alarm.rings_at = inf
                sleeper.wake()
            else:
                self._stale -= 1

    def _arm(self) -> None:
        """Set the timer to the first alarm."""
        delay = max(0.0, self._heap[0][0] - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._fire)
        else:
            self._timer.reset(delay)

    def _fire(self) -> None:
        self._timer = None
        self.ring()
        if self._heap:
            self._arm()
