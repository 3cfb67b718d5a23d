"""
A timing wheel: the deadlines of many connections on one timer.

An entry is in the slot of the tick at which it expires; add, move and remove are O(1).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

#: The length of a tick (seconds): deadlines are in seconds, and four wake-ups per second
#: cost next to nothing.
TICK = 0.25

#: Entries checked per reactor iteration, about 2 ms; the rest follow in the next.
MAX_CHECKS = 1000

#: Sentinels: the tick of an entry that is not in the wheel, and of one that has expired.
NOWHERE = -1
DUE = -2


class WheelEntry(Protocol):
    """
    An object with deadlines.

    @ivar tick: its tick, L{NOWHERE} at first; set only by the wheel.
    """

    tick: int

    def check(self, now: float) -> None:
        """
        Check the deadlines; called at the scheduled time or up to one tick later, after the
        entry has left the wheel.
        """


class TimerWheel:
    """The slots and their timer, which runs only while there are entries."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._slots: dict[int, set[WheelEntry]] = {}
        self._due: list[WheelEntry] = []
        self._last = 0
        self._timer: Any = None

    def put(self, entry: WheelEntry, when: float) -> None:
        """
        Schedule an entry, or reschedule it.

        @param when: the time on the wheel's clock (seconds).
        """
        tick = math.ceil(when / TICK)
        if entry.tick != NOWHERE:
            if tick == entry.tick:
                return
            self._take(entry)
        if self._timer is None:
            self._last = math.floor(self._clock.seconds() / TICK)
            self._timer = self._clock.callLater(TICK, self._turn)
        if tick <= self._last:
            tick = self._last + 1
        entry.tick = tick
        entries = self._slots.get(tick)
        if entries is None:
            entries = self._slots[tick] = set()
        entries.add(entry)

    def remove(self, entry: WheelEntry) -> None:
        """Remove an entry."""
        if entry.tick != NOWHERE:
            self._take(entry)
        if not self._slots and not self._due:
            self.stop()

    def _take(self, entry: WheelEntry) -> None:
        tick, entry.tick = entry.tick, NOWHERE
        entries = self._slots.get(tick)
        if entries is not None:
            entries.discard(entry)
            if not entries:
                del self._slots[tick]

    def stop(self) -> None:
        """Remove all entries and stop the timer."""
        self._slots.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        now = self._clock.seconds()
        self._collect(math.floor(now / TICK))
        checked, self._due = self._due[:MAX_CHECKS], self._due[MAX_CHECKS:]
        more = bool(self._due) or bool(self._slots)
        self._timer = self._clock.callLater(0 if self._due else TICK, self._turn) if more else None
        for entry in checked:
            # The check of an earlier entry may have removed or rescheduled this one.
            if entry.tick == DUE:
                entry.tick = NOWHERE
                entry.check(now)

    def _collect(self, now: int) -> None:
        """Move the entries of all slots up to this tick to the list of expired ones."""
        if now - self._last > len(self._slots):
            ticks = sorted(tick for tick in self._slots if tick <= now)
        else:
            ticks = [tick for tick in range(self._last + 1, now + 1) if tick in self._slots]
        for tick in ticks:
            for entry in self._slots.pop(tick):
                entry.tick = DUE
                self._due.append(entry)
        self._last = now
