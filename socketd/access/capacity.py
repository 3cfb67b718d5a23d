"""A limit on open connections, with hysteresis, on which ports can wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

#: A saturated capacity is available again at this percentage (hysteresis), so that
#: accepting is not paused and resumed for every single connection.
RESUME_PERCENT = 95


class Capacity:
    """
    A limit on open connections, on which callers can wait.

    Hysteresis: once full, it is saturated until the occupancy falls to L{RESUME_PERCENT},
    for every caller; otherwise a port that never waits starves those that do.

    @ivar occupancy: the number of open connections; written by this class only.
    """

    def __init__(self, limit: int | None, parent: Capacity | None = None) -> None:
        """
        @param limit: at least 1; C{None}: no limit.
        @param parent: a shared capacity; while it is full, all its children are full.
        """
        self._limit = limit
        self._chain: tuple[Capacity, ...] = (self, *(parent._chain if parent else ()))
        self.occupancy = 0
        self._is_saturated = False
        self._waiting: OrderedDict[tuple[Capacity, Callable[[], None]], None] = OrderedDict()
        self._first: tuple[Capacity, Callable[[], None]] | None = None

    @property
    def limit(self) -> int | None:
        """The limit, at least 1; lowering it does not close open connections."""
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = limit
        self._is_saturated = limit is not None and self.occupancy >= limit
        self._wake()

    @property
    def is_full(self) -> bool:
        """Whether this capacity or a parent is saturated."""
        for capacity in self._chain:
            if capacity._is_saturated:
                return True
        return False

    def enter(self) -> None:
        """Count one connection in, even over the limit: it is already accepted."""
        for capacity in self._chain:
            capacity.occupancy += 1
            limit = capacity._limit
            if limit is not None and capacity.occupancy >= limit:
                capacity._is_saturated = True

    def leave(self) -> None:
        """Count one connection out, and wake the waiters if that ends the saturation."""
        if not self.occupancy:
            raise ValueError("there is no open connection")
        for capacity in self._chain:
            capacity.occupancy -= 1
        for capacity in self._chain:
            if not capacity._is_saturated:
                # Nothing waits; who was first before the saturation is over is no matter now.
                capacity._first = None
            elif capacity._has_room():
                capacity._is_saturated = False
                capacity._wake()

    def _has_room(self) -> bool:
        return self._limit is None or self.occupancy <= self._limit * RESUME_PERCENT // 100

    def when_available(self, callback: Callable[[], None]) -> None:
        """
        Call once when there is capacity, immediately if there is some now; a callback
        that is already waiting keeps its position.

        If one waiter saturates it again while being called, those after it keep their
        positions.
        """
        waiter = (self, callback)
        if any(waiter in capacity._waiting for capacity in self._chain):
            return
        for capacity in self._chain:
            if capacity._is_saturated:
                capacity._waiting[waiter] = None
                return
        callback()

    def forget(self, callback: Callable[[], None]) -> None:
        """Cancel a callback, if it waits."""
        waiter = (self, callback)
        for capacity in self._chain:
            capacity._waiting.pop(waiter, None)
            if capacity._first == waiter:
                capacity._first = None

    def _wake(self) -> None:
        """Call the waiters while there is capacity; raise the first error after all others."""
        self._rotate()
        problems = []
        while self._waiting and not self._is_saturated:
            (child, callback), _ = self._waiting.popitem(last=False)
            try:
                child.when_available(callback)
            except Exception as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _rotate(self) -> None:
        """Rotate the waiters (round robin) so that the head does not take every freed slot."""
        first = next(iter(self._waiting), None)
        if first is not None and first == self._first:
            self._waiting.move_to_end(first)
            first = next(iter(self._waiting))
        self._first = first
