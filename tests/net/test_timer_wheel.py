"""Tests of C{socketd.net.timer_wheel}."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.timer_wheel import MAX_CHECKS, NOWHERE, TICK, TimerWheel


class Entry:
    """Writes down when it is checked, and may want another check."""

    def __init__(self, wheel: TimerWheel, again: float = 0.0) -> None:
        self.wheel = wheel
        self.again = again
        self.tick = NOWHERE
        self.checks: list[float] = []

    def check(self, now: float) -> None:
        """Write it down."""
        self.checks.append(now)
        if self.again:
            self.wheel.put(self, now + self.again)


class WheelTests(SynchronousTestCase):
    """Entries are checked when they want to be, by one timer."""

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
        """An entry is checked once, never early and at most two ticks late."""
        began = self.clock.seconds()
        entries = {seconds: self.entry(seconds) for seconds in (0.0, 0.1, 0.3, 1.0, 7.77, 30.0)}
        self.clock.pump([TICK / 5] * 1000)
        for seconds, entry in entries.items():
            (checked,) = entry.checks
            self.assertGreaterEqual(checked - began, seconds)
            self.assertLessEqual(checked - began, seconds + 2 * TICK)

    def test_overdue(self) -> None:
        """An entry that is overdue when it is put is checked at the next tick."""
        other, late = self.entry(60.0), self.entry(-60.0)
        self.clock.pump([TICK] * 2)
        self.assertEqual((len(late.checks), other.checks), (1, []))

    def test_removed(self) -> None:
        """
        An entry that is removed, once or twice, is not checked; the others are, and the
        timer is gone with the last one, in whichever way that goes.
        """
        first, second, third = self.entry(1.0), self.entry(1.0), self.entry(5.0)
        for _ in range(2):
            self.wheel.remove(first)
        self.clock.pump([TICK] * 10)
        self.assertEqual((first.checks, len(second.checks), third.checks), ([], 1, []))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wheel.remove(third)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_put_twice(self) -> None:
        """An entry that is wanted again at the same time is checked once."""
        entry = self.entry(1.0)
        self.wheel.put(entry, self.clock.seconds() + 1.0)
        self.clock.pump([TICK] * 10)
        self.assertEqual(len(entry.checks), 1)

    def test_stop(self) -> None:
        """
        A stopped wheel checks nothing and leaves no timer; to stop what has stopped, or
        never ran, is nothing.
        """
        self.wheel.stop()
        entry = self.entry(1.0)
        self.wheel.stop()
        self.wheel.stop()
        self.clock.pump([TICK] * 10)
        self.assertEqual((entry.checks, self.clock.getDelayedCalls()), ([], []))

    def test_one_timer(self) -> None:
        """A thousand entries take one timer, which is gone when they are."""
        entries = [self.entry(1 + number / 100) for number in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([TICK] * 60)
        self.assertTrue(all(len(entry.checks) == 1 for entry in entries))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved(self) -> None:
        """An entry that is put again is checked at the new time only."""
        entry = self.entry(1)
        self.wheel.put(entry, self.clock.seconds() + 5)
        self.clock.pump([TICK] * 12)
        self.assertEqual(entry.checks, [])
        self.clock.pump([TICK] * 12)
        self.assertEqual(len(entry.checks), 1)

    def test_removed_by_another(self) -> None:
        """What one entry does to another one of the same tick counts at once."""
        first, second = self.entry(1), self.entry(1)

        def check(one: Entry, other: Entry, now: float) -> None:
            one.checks.append(now)
            self.wheel.remove(other)

        self.patch(first, "check", partial(check, first, second))
        self.patch(second, "check", partial(check, second, first))
        self.clock.pump([TICK] * 12)
        self.assertEqual(len(first.checks) + len(second.checks), 1)

    def test_again(self) -> None:
        """An entry that wants another check gets it."""
        entry = self.entry(1, again=1)
        self.clock.pump([TICK] * 42)
        self.assertGreaterEqual(len(entry.checks), 7)
        self.wheel.stop()

    def test_turns_are_short(self) -> None:
        """What is due at once is checked in turns, so that other timers have theirs."""
        entries = [self.entry(1) for _ in range(2 * MAX_CHECKS + 1)]
        self.clock.pump([TICK] * 3)
        checked: list[int] = []

        def call_later(delay: float, call: Callable[[], None]) -> object:
            checked.append(sum(len(entry.checks) for entry in entries))
            return original(delay, call)

        original = self.clock.callLater
        self.patch(self.clock, "callLater", call_later)
        self.clock.pump([TICK] * 3)
        self.assertEqual(checked[-2:], [0, MAX_CHECKS])
        self.assertTrue(all(len(entry.checks) == 1 for entry in entries))

    def test_late(self) -> None:
        """After a long pause everything that is due is checked, and nothing else."""
        due, later = self.entry(2), self.entry(5000)
        self.clock.advance(1000)
        self.assertEqual((len(due.checks), len(later.checks)), (1, 0))
        self.wheel.stop()
