"""
twistd with two signals more, here and in its workers, which count the Python objects of the
process: as they are, and after a collection.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen

#: Names the file that a census is written to, but for the number of the process.
CENSUS = "SOCKETD_SOAK_CENSUS"

#: The program of a worker, as in C{socketd.workers.crew}.
WORKER = "import gc; gc.disable(); from tests.soak.instrumented import run_worker; run_worker()"

#: Counts as things are; and after all that is unreachable is gone, by type.
COUNT, COLLECT = signal.SIGUSR1, signal.SIGUSR2

# prctl(2): the signal to get when the parent ends.
_PR_SET_PDEATHSIG = 1

# What mallinfo2(3) returns.
_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]


#: A finalizer may let go of what only the next collection finds.
COLLECTIONS = 3


@frozen
class Census:
    """
    What lives in a process.

    @ivar objects: those that the collector tracks.
    @ivar blocks: blocks of memory that Python has allocated.
    @ivar types: the objects by type; empty where they were only counted.
    @ivar heap: bytes that malloc(3) has given out; what it holds beyond is free.
    """

    objects: int
    blocks: int
    types: dict[str, int]
    heap: int = 0

    def __add__(self, other: Census) -> Census:
        """What lives in both processes."""
        types = dict(Counter(self.types) + Counter(other.types))
        sums = (self.objects + other.objects, self.blocks + other.blocks)
        return Census(*sums, types, self.heap + other.heap)


def take() -> Census:
    """Count, without a collection before."""
    return Census(len(gc.get_objects()), sys.getallocatedblocks(), {}, _heap())


def _heap() -> int:
    """Ask mallinfo2(3), of glibc."""
    found = ctypes.CDLL(None).mallinfo2
    found.restype = _MallInfo
    told = found()
    return int(told.uordblks + told.hblkhd)


def take_collected() -> Census:
    """Count what is reachable, by type."""
    for _ in range(COLLECTIONS):
        gc.collect()
    found = take()
    types = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return evolve(found, types=dict(types))


def write(census: Census, path: str) -> None:
    """Write a census; the file appears whole."""
    fresh = Path(f"{path}.new")
    fresh.write_text(json.dumps(asdict(census)), encoding="ascii")
    fresh.rename(path)


def read(path: str) -> Census | None:
    """Read a census, and remove it; return C{None} where there is none yet."""
    try:
        found = json.loads(Path(path).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    Path(path).unlink()
    return Census(**found)


def run() -> None:
    """Be twistd."""
    from twisted.scripts import twistd

    from socketd.workers import crew

    # Whatever ends the soak, nothing is left behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    crew.PROGRAM = WORKER
    _count_at_signals()
    twistd.run()


def run_worker() -> None:
    """Be a worker."""
    from socketd.worker import main

    _count_at_signals()
    main()


def _count_at_signals() -> None:
    path = f"{os.environ[CENSUS]}.{os.getpid()}"

    def count(number: int, frame: Any) -> None:
        from twisted.internet import reactor

        # Not now: what the daemon is in the middle of would count, too.
        reactor.callFromThread(  # type: ignore[attr-defined]
            lambda: write(take_collected() if number == COLLECT else take(), path)
        )

    signal.signal(COUNT, count)
    signal.signal(COLLECT, count)


if __name__ == "__main__":
    run()
