"""Tests of C{socketd.net.timer_wheel}."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.timer_wheel import MAX_LOOKS, NOWHERE, TICK, TimerWheel


class Entry:
    """Writes down when it is looked at, and may want another look."""

    def __init__(self, wheel: TimerWheel, again: float = 0.0) -> None:
        self.wheel = wheel
        self.again = again
        self.slot = NOWHERE
        self.looks: list[float] = []

    def look(self, now: float) -> None:
        """Write it down."""
        self.looks.append(now)
        if self.again:
            self.wheel.put(self, now + self.again)


class WheelTests(SynchronousTestCase):
    """Entries are looked at when they want to be, by one timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.1)
        self.wheel = TimerWheel(self.clock)

    def entry(self, seconds: float, again: float = 0.0) -> Entry:
        """Put an entry so many seconds from now."""
        entry = Entry(self.wheel, again)
        self.wheel.put(entry, self.clock.seconds() + seconds)
        return entry

    def test_in_time(self) -> None:
        """An entry is looked at once, never early and at most two ticks late."""
        began = self.clock.seconds()
        entries = {seconds: self.entry(seconds) for seconds in (0.0, 0.1, 0.3, 1.0, 7.77, 30.0)}
        self.clock.pump([TICK / 5] * 1000)
        for seconds, entry in entries.items():
            (looked,) = entry.looks
            self.assertGreaterEqual(looked - began, seconds)
            self.assertLessEqual(looked - began, seconds + 2 * TICK)

    def test_removed_beside_others(self) -> None:
        """
        An entry that is removed is not looked at; the others are, and the timer is gone
        with the last one, in whichever way that goes.
        """
        first, second, third = self.entry(1.0), self.entry(1.0), self.entry(5.0)
        self.wheel.remove(first)
        self.clock.pump([TICK] * 10)
        self.assertEqual((first.looks, len(second.looks), third.looks), ([], 1, []))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wheel.remove(third)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_put_twice(self) -> None:
        """An entry that is wanted again at the same time is looked at once."""
        entry = self.entry(1.0)
        self.wheel.put(entry, self.clock.seconds() + 1.0)
        self.clock.pump([TICK] * 10)
        self.assertEqual(len(entry.looks), 1)

    def test_stopped_twice(self) -> None:
        """To stop what has stopped, or never ran, is nothing."""
        self.wheel.stop()
        entry = self.entry(1.0)
        self.wheel.stop()
        self.wheel.stop()
        self.clock.pump([TICK] * 10)
        self.assertEqual((entry.looks, self.clock.getDelayedCalls()), ([], []))

    def test_one_timer(self) -> None:
        """A thousand entries take one timer, which is gone when they are."""
        entries = [self.entry(1 + number / 100) for number in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([TICK] * 60)
        self.assertTrue(all(len(entry.looks) == 1 for entry in entries))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved(self) -> None:
        """An entry that is put again is looked at at the new time only."""
        entry = self.entry(1)
        self.wheel.put(entry, self.clock.seconds() + 5)
        self.clock.pump([TICK] * 12)
        self.assertEqual(entry.looks, [])
        self.clock.pump([TICK] * 12)
        self.assertEqual(len(entry.looks), 1)

    def test_removed(self) -> None:
        """An entry that was removed is not looked at, and nothing is left of it."""
        entry = self.entry(1)
        self.wheel.remove(entry)
        self.wheel.remove(entry)
        self.clock.pump([TICK] * 12)
        self.assertEqual(entry.looks, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def look_and_remove(self, one: Entry, other: Entry, now: float) -> None:
        """Be looked at, and remove another entry."""
        one.looks.append(now)
        self.wheel.remove(other)

    def test_removed_by_another(self) -> None:
        """What one entry does to another one of the same tick counts at once."""
        first, second = self.entry(1), self.entry(1)
        for one, other in ((first, second), (second, first)):
            look = partial(self.look_and_remove, one, other)
            self.patch(one, "look", look)
        self.clock.pump([TICK] * 12)
        self.assertEqual(len(first.looks) + len(second.looks), 1)

    def test_again(self) -> None:
        """An entry that wants another look gets it."""
        entry = self.entry(1, again=1)
        self.clock.pump([TICK] * 42)
        self.assertGreaterEqual(len(entry.looks), 7)
        self.wheel.stop()

    def test_turns_are_short(self) -> None:
        """What is due at once is looked at in turns, so that other timers have theirs."""
        entries = [self.entry(1) for _ in range(2 * MAX_LOOKS + 1)]
        self.clock.pump([TICK] * 3)
        looked: list[int] = []

        def call_later(delay: float, call: Callable[[], None]) -> object:
            looked.append(sum(len(entry.looks) for entry in entries))
            return original(delay, call)

        original = self.clock.callLater
        self.patch(self.clock, "callLater", call_later)
        self.clock.pump([TICK] * 3)
        self.assertEqual(looked[-2:], [0, MAX_LOOKS])
        self.assertTrue(all(len(entry.looks) == 1 for entry in entries))

    def test_late(self) -> None:
        """After a long pause everything that is due is looked at, and nothing else."""
        due, later = self.entry(2), self.entry(5000)
        self.clock.advance(1000)
        self.assertEqual((len(due.looks), len(later.looks)), (1, 0))
        self.wheel.stop()

    def test_stop(self) -> None:
        """A stopped wheel looks at nothing and leaves no timer behind."""
        entry = self.entry(1)
        self.wheel.stop()
        self.clock.pump([TICK] * 12)
        self.assertEqual((entry.looks, self.clock.getDelayedCalls()), ([], []))
