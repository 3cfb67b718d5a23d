"""
A limit for the time that each test takes, so that every run ends.

Trial has one for what a test waits for with a Deferred. This one interrupts whatever the
main thread does, a system call too; should that not help, or a thread keep the process
from its end, the process ends by itself.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

#: How long a test may take whose class has no C{timeout} (seconds). The slowest takes ten,
#: and a slow or busy machine may take ten times as long.
LIMIT = 120.0

#: After this time more, what still hangs is interrupted once more: cleanups, or a test that
#: takes the interruption for an error that it expects (seconds).
AGAIN = 10.0

#: So long after the limit the process ends, whatever it does (seconds).
END = 60.0


class TookTooLong(BaseException):
    """
    A test is over its limit; not an C{Exception}, so that nothing on the way takes it for
    an error of its own.
    """


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """
    Interrupt a block of the main thread that takes too long.

    Only the next block calls off the end of the process, so that the last one's stays for
    the threads that Python waits for when it ends.

    @param seconds: its limit.
    @raise TookTooLong: in the block.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        # The traceback of this one shows the main thread only.
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        raise TookTooLong(f"it took longer than {seconds:g} s")

    former = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(seconds + END, exit=True, file=sys.__stderr__ or 2)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def limit_tests() -> None:
    """Limit all tests from now on."""
    run = SynchronousTestCase.run

    @wraps(run)
    def run_limited(test: SynchronousTestCase, result: Any) -> None:
        seconds = getattr(test, "timeout", LIMIT)
        # Trial cancels its Deferred first, which leaves a better report.
        with limited(seconds + AGAIN if isinstance(test, TestCase) else seconds):
            run(test, result)

    SynchronousTestCase.run = run_limited  # type: ignore[method-assign]
