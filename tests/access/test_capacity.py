"""Tests for L{socketd.access.capacity}."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.capacity import Capacity


class Calls:
    """Makes waiters that write down when they are called."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def waiter(self, name: str, then: Any = None) -> Any:
        """Make one; C{then} is what it does besides."""

        def call() -> None:
            self.made.append(name)
            if then is not None:
                then()

        return call


def fill(capacity: Capacity, count: int) -> None:
    """Let so many in."""
    for _ in range(count):
        capacity.enter()


def leave(capacity: Capacity, count: int) -> None:
    """Let so many go."""
    for _ in range(count):
        capacity.leave()


class CapacityTests(SynchronousTestCase):
    """Tests for L{Capacity}."""

    def setUp(self) -> None:
        self.calls = Calls()

    def test_no_limit(self) -> None:
        """Without a limit it is never full."""
        capacity = Capacity(None)
        fill(capacity, 1000)
        self.assertEqual((capacity.is_full, capacity.occupancy), (False, 1000))
        leave(capacity, 1000)
        self.assertEqual((capacity.limit, capacity.occupancy), (None, 0))

    def test_resume(self) -> None:
        """Once full it is full until 95 percent are left, and at any limit until there is room."""
        table = [(1, 0), (2, 1), (3, 2), (10, 9), (19, 18), (20, 19), (21, 19), (40, 38),
                 (100, 95), (1000, 950), (10_000, 9500)]  # fmt: skip
        for limit, resume in table:
            capacity, calls = Capacity(limit), Calls()
            fill(capacity, limit - 1)
            self.assertFalse(capacity.is_full)
            capacity.enter()
            self.assertTrue(capacity.is_full)
            capacity.when_available(calls.waiter("a"))
            leave(capacity, limit - resume - 1)
            self.assertEqual((capacity.is_full, calls.made), (True, []), limit)
            capacity.leave()
            self.assertEqual((capacity.is_full, calls.made), (False, ["a"]), limit)
            self.assertEqual(capacity.occupancy, resume)

    def test_once(self) -> None:
        """A waiter is called once, however often it fills and empties afterwards."""
        capacity = Capacity(1)
        capacity.enter()
        capacity.when_available(self.calls.waiter("a"))
        for _ in range(3):
            capacity.leave()
            capacity.enter()
        self.assertEqual(self.calls.made, ["a"])

    def test_room_already(self) -> None:
        """A waiter is called at once if there is capacity."""
        Capacity(1).when_available(self.calls.waiter("a"))
        self.assertEqual(self.calls.made, ["a"])

    def test_order(self) -> None:
        """All waiters are called, in the order in which they came."""
        capacity = Capacity(10)
        fill(capacity, 10)
        for name in "abc":
            capacity.when_available(self.calls.waiter(name))
        capacity.leave()
        self.assertEqual(self.calls.made, ["a", "b", "c"])

    def test_asked_twice(self) -> None:
        """A waiter that asks again keeps its position, and is called once."""
        capacity = Capacity(1)
        capacity.enter()
        first = self.calls.waiter("a")
        for waiter in (first, self.calls.waiter("b"), first):
            capacity.when_available(waiter)
        capacity.leave()
        self.assertEqual(self.calls.made, ["a", "b"])

    def test_forget(self) -> None:
        """A forgotten waiter is not called, the others are; to forget twice does nothing."""
        capacity = Capacity(1)
        capacity.enter()
        first, second = self.calls.waiter("a"), self.calls.waiter("b")
        capacity.when_available(first)
        capacity.when_available(second)
        capacity.forget(first)
        capacity.forget(first)
        capacity.leave()
        self.assertEqual(self.calls.made, ["b"])
        capacity.forget(second)

    def test_forget_while_called(self) -> None:
        """A waiter may withdraw another one while it is called."""
        capacity = Capacity(1)
        capacity.enter()
        second = self.calls.waiter("b")
        capacity.when_available(self.calls.waiter("a", lambda: capacity.forget(second)))
        capacity.when_available(second)
        capacity.leave()
        self.assertEqual(self.calls.made, ["a"])

    def test_taking_turns(self) -> None:
        """A waiter that fills it at once does not keep those after it from their turn."""
        capacity = Capacity(1)

        def wait(name: str) -> None:
            def take() -> None:
                capacity.enter()
                wait(name)

            capacity.when_available(self.calls.waiter(name, take))

        capacity.enter()
        for name in "abc":
            wait(name)
        for _ in range(7):
            capacity.leave()
        self.assertEqual(self.calls.made, list("abcabca"))

    def test_first_changes(self) -> None:
        """
        When all are called and the first takes the only place later, another one is
        the first next time.
        """
        capacity = Capacity(1)
        capacity.enter()
        waiters = {name: self.calls.waiter(name) for name in "abc"}
        order, firsts = list("abc"), []
        for _ in range(6):
            for name in order:
                capacity.when_available(waiters[name])
            capacity.leave()
            order, self.calls.made = self.calls.made, []
            firsts.append(order[0])
            capacity.enter()
        self.assertEqual(firsts, list("abcabc"))

    def test_forgotten_first(self) -> None:
        """A first waiter that is forgotten loses its position."""
        capacity = Capacity(1)
        waiters = {name: self.calls.waiter(name) for name in "ab"}
        for _ in range(2):
            capacity.enter()
            for waiter in waiters.values():
                capacity.when_available(waiter)
            capacity.leave()
            capacity.forget(waiters["a"])
        self.assertEqual(self.calls.made, list("abab"))

    def test_leaves_while_called(self) -> None:
        """A leave() by a waiter that is being called calls no waiter twice."""
        capacity = Capacity(3)
        fill(capacity, 3)
        for name in "abc":
            capacity.when_available(
                self.calls.waiter(name, capacity.leave if name < "c" else None)
            )
        capacity.leave()
        self.assertEqual((self.calls.made, capacity.occupancy), (["a", "b", "c"], 0))

    def test_error(self) -> None:
        """
        An error in one waiter, the first if there are several, is raised after the
        others were called.
        """
        capacity = Capacity(1)
        capacity.enter()

        def fail() -> None:
            raise ZeroDivisionError

        def fail_otherwise() -> None:
            raise OverflowError

        for name, then in (("a", fail), ("b", None), ("c", fail_otherwise)):
            capacity.when_available(self.calls.waiter(name, then))
        self.assertRaises(ZeroDivisionError, capacity.leave)
        self.assertEqual((self.calls.made, capacity.occupancy), (["a", "b", "c"], 0))

    def test_leave_without_place(self) -> None:
        """To leave an empty capacity is an error, and the parent is not changed."""
        parent = Capacity(1)
        child = Capacity(1, parent)
        parent.enter()
        self.assertRaises(ValueError, child.leave)
        self.assertEqual((parent.occupancy, child.occupancy), (1, 0))

    def test_more_than_the_limit(self) -> None:
        """A connection that enters over the limit is counted."""
        capacity = Capacity(2)
        fill(capacity, 4)
        leave(capacity, 2)
        self.assertTrue(capacity.is_full)
        capacity.leave()
        self.assertFalse(capacity.is_full)

    def test_raise(self) -> None:
        """To raise the limit wakes the waiters, also when it was lowered before."""
        for limit in (3, 100, None):
            capacity, calls = Capacity(2), Calls()
            fill(capacity, 2)
            capacity.when_available(calls.waiter("a"))
            capacity.limit = limit
            self.assertEqual((capacity.is_full, calls.made), (False, ["a"]))
            capacity.limit = 1
            self.assertTrue(capacity.is_full)
            capacity.when_available(calls.waiter("b"))
            capacity.limit = 2
            self.assertEqual((capacity.is_full, calls.made), (True, ["a"]))
            capacity.limit = limit
            self.assertEqual(calls.made, ["a", "b"])

    def test_lower(self) -> None:
        """To lower the limit closes nothing; it is full until enough have left."""
        capacity = Capacity(None)
        fill(capacity, 10)
        capacity.limit = 5
        self.assertEqual((capacity.is_full, capacity.occupancy), (True, 10))
        leave(capacity, 5)
        self.assertTrue(capacity.is_full)
        capacity.leave()
        self.assertFalse(capacity.is_full)


class ChildTests(SynchronousTestCase):
    """Tests for L{Capacity} with a parent."""

    def setUp(self) -> None:
        self.calls = Calls()
        self.parent = Capacity(4)
        self.one, self.other = Capacity(2, self.parent), Capacity(None, self.parent)

    def test_full(self) -> None:
        """A child is full if itself or its parent is; the parent counts all."""
        fill(self.one, 2)
        found = (self.one.is_full, self.other.is_full, self.parent.is_full)
        self.assertEqual(found, (True, False, False))
        leave(self.one, 1)
        fill(self.other, 3)
        found = (self.one.is_full, self.other.is_full, self.parent.is_full)
        self.assertEqual(found, (True, True, True))
        self.assertEqual((self.parent.occupancy, self.one.occupancy), (4, 1))

    def test_parent_makes_room(self) -> None:
        """Waiters of all children are called in their order when the parent has room."""
        fill(self.other, 4)
        for child, name in ((self.other, "a"), (self.one, "b"), (self.other, "c")):
            child.when_available(self.calls.waiter(name))
        self.other.leave()
        self.assertEqual(self.calls.made, ["a", "b", "c"])

    def test_both(self) -> None:
        """A waiter is called when both have room, whichever has it first."""
        for first, second in ((self.one, self.other), (self.other, self.one)):
            fill(self.one, 2)
            fill(self.other, 3)
            self.calls.made = []
            self.one.when_available(self.calls.waiter("a"))
            leave(first, 1)
            self.assertEqual(self.calls.made, [])
            leave(second, 1)
            self.assertEqual(self.calls.made, ["a"])
            leave(self.one, 1)
            leave(self.other, 2)

    def test_asked_twice(self) -> None:
        """A waiter that waits for the parent does not wait for its child as well."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        fill(self.one, 2)
        self.one.when_available(waiter)
        leave(self.other, 4)
        self.assertEqual(self.calls.made, [])
        leave(self.one, 2)
        self.assertEqual(self.calls.made, ["a"])

    def test_same_waiter_of_two(self) -> None:
        """One callback that waits at two children is called for each."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        self.other.when_available(waiter)
        self.other.leave()
        self.assertEqual(self.calls.made, ["a", "a"])

    def test_forget(self) -> None:
        """A waiter is found wherever it waits, and only that of the child that asks."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        self.other.when_available(waiter)
        self.one.forget(waiter)
        self.other.leave()
        self.assertEqual(self.calls.made, ["a"])

    def test_limits_change(self) -> None:
        """Waiters that wait for the parent are woken when its limit is raised."""
        fill(self.other, 4)
        self.one.when_available(self.calls.waiter("a"))
        self.one.limit = 7
        self.assertEqual(self.calls.made, [])
        self.parent.limit = None
        self.assertEqual(self.calls.made, ["a"])

    def test_taking_turns(self) -> None:
        """A service that fills the daemon at once does not starve another one."""
        parent = Capacity(1)
        children = {name: Capacity(None, parent) for name in "abc"}

        def wait(name: str) -> None:
            def take() -> None:
                children[name].enter()
                wait(name)

            children[name].when_available(self.calls.waiter(name, take))

        children["a"].enter()
        for name in "abc":
            wait(name)
        for name in "aabcab":
            children[name].leave()
        self.assertEqual(self.calls.made, list("abcabc"))

    @given(some.lists(some.sampled_from("eEwWlLdu"), max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_any_order(self, steps: list[str]) -> None:
        """
        In any order of events no waiter is called while it is full, none that waits is
        left when there is room, and each wait ends with one call.
        """
        parent = Capacity(3)
        children = [Capacity(2, parent), Capacity(None, parent)]
        waiting: list[Any] = []

        def wait(child: Capacity) -> None:
            def called() -> None:
                self.assertFalse(child.is_full)
                waiting.remove((child, called))

            waiting.append((child, called))
            child.when_available(called)

        for step in steps:
            child = children[step.isupper()]
            if step in "eE":
                child.enter()
            elif step in "wW":
                wait(child)
            elif step in "lL" and child.occupancy:
                child.leave()
            elif step in "du":
                parent.limit = 2 if step == "d" else 4
            self.assertEqual([one for one, _ in waiting if not one.is_full], [])
        for child in children:
            leave(child, child.occupancy)
        self.assertEqual(waiting, [])
