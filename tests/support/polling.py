"""Waiting for a condition, with a deadline; and load in the background of a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

#: Longer than anything takes that a test waits for, on a busy machine (seconds).
DEADLINE = 15.0

#: The slack of the daemon's own deadlines on a busy machine (seconds).
BUSY = 8.0

#: Between two evaluations of a condition (seconds).
INTERVAL = 0.005

_T = TypeVar("_T")


def wait_until(
    condition: Callable[[], _T | None],
    missing: str | Callable[[], str] = "it does not come",
    timeout: float = DEADLINE,
    interval: float = INTERVAL,
) -> _T:
    """
    Wait until a condition is true, and return what it has returned.

    @param missing: says what is missing, or computes it.
    @raise AssertionError: if it is not true in time.
    """
    end = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(missing if isinstance(missing, str) else missing())
        time.sleep(interval)
    return found


@contextmanager
def repeating(action: Callable[[], object]) -> Iterator[list[Exception]]:
    """
    Do something again and again in a thread, until the block ends or it fails.

    @return: how it failed, if it did.
    """
    problems: list[Exception] = []
    ended = Event()

    def run() -> None:
        try:
            while not ended.is_set():
                action()
        except Exception as problem:
            problems.append(problem)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield problems
    finally:
        ended.set()
        thread.join(DEADLINE)
