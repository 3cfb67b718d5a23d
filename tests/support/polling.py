"""Waiting for a condition, with a deadline: what every test does that cannot be told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
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
