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
MAX_LOOKS = 1000

#: Sentinels: the slot of an entry that is not in the wheel, and of one that has expired.
NOWHERE = -1
DUE = -2


class Entry(Protocol):
    """
    An object with deadlines.

    @ivar slot: its slot, L{NOWHERE} at first; set only by the wheel.
    """

    slot: int

    def look(self, now: float) -> None:
        """
        Check the deadlines; called at the scheduled time or up to one tick later, after the
        entry has left the wheel.
        """


class TimerWheel:
    """The slots and their timer, which runs only while there are entries."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._slots: dict[int, set[Entry]] = {}
        self._due: list[Entry] = []
        self._last = 0
        self._timer: Any = None

    def put(self, entry: Entry, when: float) -> None:
        """
        Schedule an entry, or reschedule it.

        @param when: the time on the wheel's clock (seconds).
        """
        slot = math.ceil(when / TICK)
        if slot == entry.slot:
            return
        self._take(entry)
        if self._timer is None:
            self._last = math.floor(self._clock.seconds() / TICK)
            self._timer = self._clock.callLater(TICK, self._turn)
        entry.slot = slot = max(slot, self._last + 1)
        entries = self._slots.get(slot)
        if entries is None:
            entries = self._slots[slot] = set()
        entries.add(entry)

    def remove(self, entry: Entry) -> None:
        """Remove an entry."""
        self._take(entry)
        if not self._slots and not self._due:
            self.stop()

    def _take(self, entry: Entry) -> None:
        slot, entry.slot = entry.slot, NOWHERE
        entries = self._slots.get(slot)
        if entries is not None:
            entries.discard(entry)
            if not entries:
                del self._slots[slot]

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
        looked, self._due = self._due[:MAX_LOOKS], self._due[MAX_LOOKS:]
        more = bool(self._due) or bool(self._slots)
        self._timer = self._clock.callLater(0 if self._due else TICK, self._turn) if more else None
        for entry in looked:
            # The check of an earlier entry may have removed or rescheduled this one.
            if entry.slot == DUE:
                entry.slot = NOWHERE
                entry.look(now)

    def _collect(self, tick: int) -> None:
        """Move the entries of all slots up to this tick to the list of expired ones."""
        if tick - self._last > len(self._slots):
            slots = sorted(slot for slot in self._slots if slot <= tick)
        else:
            slots = [slot for slot in range(self._last + 1, tick + 1) if slot in self._slots]
        for slot in slots:
            for entry in self._slots.pop(slot):
                entry.slot = DUE
                self._due.append(entry)
        self._last = tick
