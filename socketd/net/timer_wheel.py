"""
Deadlines of many connections on one timer.

An entry stands in the slot of the tick at which it wants to be looked at; to put,
move or remove it costs one operation on a set, whatever the number of entries.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

#: The length of a tick (seconds): deadlines are seconds long, and a few wake-ups a
#: second cost nothing.
TICK = 0.25

#: Entries that one turn looks at, about 2 ms; the others have theirs in the next.
MAX_LOOKS = 1000

#: The slot of an entry that stands nowhere, and of one whose time has come.
NOWHERE = -1
DUE = -2


class Entry(Protocol):
    """
    What has deadlines.

    @ivar slot: where it stands, L{NOWHERE} at first; the wheel's alone.
    """

    slot: int

    def look(self, now: float) -> None:
        """
        Do what is due; called at the wanted time or up to a tick later, when the
        entry stands nowhere.
        """


class TimerWheel:
    """
    The slots, and the timer that turns them; it runs while there is an entry.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._slots: dict[int, set[Entry]] = {}
        self._due: list[Entry] = []
        self._last = 0
        self._timer: Any = None

    def put(self, entry: Entry, when: float) -> None:
        """
        Have an entry looked at, and no longer when it was wanted before.

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
        """
        Do not look at an entry any more.
        """
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
        """
        Forget everything.
        """
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
            # An earlier one may have removed it, or put it elsewhere.
            if entry.slot == DUE:
                entry.slot = NOWHERE
                entry.look(now)

    def _collect(self, tick: int) -> None:
        """
        Take the entries of all slots up to this tick.
        """
        if tick - self._last > len(self._slots):
            slots = sorted(slot for slot in self._slots if slot <= tick)
        else:
            slots = [slot for slot in range(self._last + 1, tick + 1) if slot in self._slots]
        for slot in slots:
            for entry in self._slots.pop(slot):
                entry.slot = DUE
                self._due.append(entry)
        self._last = tick
