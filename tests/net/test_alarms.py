"""Tests of C{socketd.net.alarms}."""

from __future__ import annotations

from math import inf
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.alarms import MAX_RINGS, MAX_STALE, Alarms


@define(eq=False)
class Sleeper:
    """Writes down when it is woken, and may do more then; it is its own alarm."""

    clock: Clock
    woken: list[float] = field(factory=list)
    more: Any = None
    rings_at: float = inf

    def wake(self) -> None:
        """Note the time."""
        self.woken.append(self.clock.seconds())
        if self.more is not None:
            self.more()


class AlarmTests(SynchronousTestCase):
    """Everyone is woken at its time, on one timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.alarms = Alarms(self.clock)

    def make(self, *times: float) -> list[Sleeper]:
        """Make sleepers that are to be woken at these times."""
        found = [Sleeper(self.clock) for _ in times]
        for sleeper, when in zip(found, times, strict=True):
            self.alarms.set(sleeper, sleeper, when)
        return found

    def timers(self) -> list[float]:
        """List the timers of the clock."""
        return [call.getTime() for call in self.clock.getDelayedCalls()]

    def test_times(self) -> None:
        """All are woken at their times, whatever the order in which they were set."""
        sleepers = self.make(3.0, 1.0, 2.0, 1.0)
        self.assertEqual(self.timers(), [1.0])
        self.clock.pump([1.0] * 4)
        self.assertEqual([sleeper.woken for sleeper in sleepers], [[3.0], [1.0], [2.0], [1.0]])
        self.assertEqual((self.timers(), sleepers[0].rings_at), ([], inf))

    def test_set_again(self) -> None:
        """An alarm that is set to another time rings then only, earlier or later."""
        first, second = self.make(5.0, 1.0)
        self.alarms.set(first, first, 2.0)
        self.alarms.set(second, second, 3.0)
        self.clock.pump([1.0] * 6)
        self.assertEqual((first.woken, second.woken), ([2.0], [3.0]))

    def test_stopped(self) -> None:
        """A stopped alarm does not ring; with the last one, the timer goes, too."""
        first, second = self.make(1.0, 2.0)
        self.alarms.stop(first)
        self.alarms.stop(first)
        self.assertEqual(len(self.timers()), 1)
        self.alarms.stop(second)
        self.assertEqual(self.timers(), [])
        self.clock.advance(9.0)
        self.assertEqual((first.woken, second.woken), ([], []))

    def test_past(self) -> None:
        """One for a time that is over rings in the next turn."""
        (sleeper,) = self.make(-1.0)
        self.assertEqual(sleeper.woken, [])
        self.clock.advance(0)
        self.assertEqual(sleeper.woken, [0.0])

    def test_busy_reactor(self) -> None:
        """Who asks wakes all who are due, before the timer is; it is set for the rest."""
        early, late = self.make(1.0, 2.0)
        self.clock.rightNow = 1.5
        self.alarms.ring()
        self.assertEqual((early.woken, late.woken), ([1.5], []))
        self.clock.pump([0.0, 0.5])
        self.assertEqual((early.woken, late.woken), ([1.5], [2.0]))
        self.assertEqual(self.timers(), [])

    def test_set_as_it_rings(self) -> None:
        """Who is woken may set its alarm again, and stop that of another one."""
        first, second = self.make(1.0, 1.0)

        def more() -> None:
            self.alarms.stop(second)
            if len(first.woken) < 3:
                self.alarms.set(first, first, self.clock.seconds() + 1.0)

        first.more = more
        self.clock.pump([1.0] * 5)
        self.assertEqual((first.woken, second.woken), ([1.0, 2.0, 3.0], []))
        self.assertEqual(self.timers(), [])

    def test_many(self) -> None:
        """So many at most are woken at a time; the others in the next turn."""
        sleepers = self.make(*[1.0] * (MAX_RINGS + 5))
        self.clock.rightNow = 1.0
        self.alarms.ring()
        self.assertEqual(sum(len(sleeper.woken) for sleeper in sleepers), MAX_RINGS)
        self.clock.advance(0)
        self.assertEqual(sum(len(sleeper.woken) for sleeper in sleepers), MAX_RINGS + 5)

    def test_none_is_left(self) -> None:
        """Alarms that were stopped long before their time do not pile up."""
        (keeper,) = self.make(3600.0)
        for _ in range(20):
            for sleeper in self.make(*[1800.0] * MAX_STALE):
                self.alarms.stop(sleeper)
            self.assertLess(len(self.alarms._heap), 2 * MAX_STALE + 2)
        self.clock.advance(3600.0)
        self.assertEqual(keeper.woken, [3600.0])
