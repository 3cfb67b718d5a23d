"""
What the kernel knows of its own clock, and whether somebody has set it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import Structure, c_int, c_long, c_uint
from functools import cache
from itertools import pairwise
from math import ceil, inf, log2

from attrs import evolve, frozen

#: The beginning of the year of this release, 2026-01-01T00:00:00Z (seconds since
#: 1970): no clock that has ever been set stands before the code that it runs.
BUILD_DATE = 1767225600

#: A jump of the wall clock beyond it (seconds) is a step. The kernel slews by 500 us
#: a second, so that no drift comes near it between two polls.
STEP = 0.5

#: For so long (seconds) after a step the clock is not vouched for: whoever set it
#: measures anew, and the shortest interval of most clients is 64 seconds.
STEP_DOUBT = 64.0

#: How far (seconds) the step of a leap second may be from one second.
LEAP_TOLERANCE = 0.1

#: Two readings of the monotonic clock that are further apart (seconds) say that the
#: process was stopped between them.
MAX_READING_TIME = 0.01

#: A reading that was disturbed is made again, so many times in all.
MAX_READINGS = 3

#: Steps of the clock that its precision is the smallest of.
PRECISION_STEPS = 64

#: Readings that a clock may take for them: a few milliseconds in all.
PRECISION_READINGS = 20000

#: The precision of a clock that did not step in that time: it counts ticks of a
#: hundredth of a second.
COARSE_PRECISION = -6

_FINEST_PRECISION = -30

# From sys/timex.h: what adjtimex(2) returns, and the flag of a clock nobody keeps.
_TIME_INS, _TIME_DEL, _TIME_ERROR = 1, 2, 5
_STA_UNSYNC = 0x0040

_LEAPS = {_TIME_INS: 1, _TIME_DEL: 2}

# What the wall clock does against the monotonic one in the announced leap second.
_LEAP_STEPS = {1: -1.0, 2: 1.0}


@frozen
class ClockState:
    """
    The state of the system clock.

    @ivar synchronised: whether something keeps it right.
    @ivar leap: 0; 1 before an inserted second, 2 before one that is left out.
    @ivar max_error: how far it may be off (seconds).
    @ivar estimated_error: how far it is thought to be off (seconds).
    @ivar precision: the power of two of its smallest step (seconds).
    @ivar stepped: whether it was set by a jump not long ago.
    @ivar read_at: when this was read, by that clock (seconds since 1970); 0.0 if
        nobody noted it.
    """

    synchronised: bool = False
    leap: int = 0
    max_error: float = 16.0
    estimated_error: float = 16.0
    precision: int = -20
    stepped: bool = False
    read_at: float = 0.0


def is_plausible(now: float) -> bool:
    """
    Say whether a wall clock may be right: it does not stand before L{BUILD_DATE}.

    A machine without a battery begins at 1970, or where it was switched off.  RFC
    868 has a server that cannot determine the time say nothing: it closes the
    connection without a byte, and discards the datagram.

    @param now: seconds since 1970.
    """
    return now >= BUILD_DATE


class Timex(Structure):
    """
    C{struct timex} of sys/timex.h: 208 bytes where a C{long} has eight, 128 where
    it has four.
    """

    _fields_ = [
        ("modes", c_uint),
        ("offset", c_long),
        ("freq", c_long),
        ("maxerror", c_long),
        ("esterror", c_long),
        ("status", c_int),
        ("constant", c_long),
        ("precision", c_long),
        ("tolerance", c_long),
        ("seconds", c_long),
        ("microseconds", c_long),
        ("tick", c_long),
        ("ppsfreq", c_long),
        ("jitter", c_long),
        ("shift", c_int),
        ("stabil", c_long),
        ("jitcnt", c_long),
        ("calcnt", c_long),
        ("errcnt", c_long),
        ("stbcnt", c_long),
        ("tai", c_int),
        ("reserved", c_int * 11),
    ]


def adjtimex(kernel: Timex) -> int:
    """
    Call adjtimex(2).

    @param kernel: with C{modes} zero, as it is made, it is filled and nothing is set.
    @return: the state of the clock; -1 if the call is refused or missing.
    """
    try:
        call = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        # Another system than Linux, or a C library without the call.
        return -1
    return int(call(ctypes.byref(kernel)))


def read_kernel(call: Callable[[Timex], int] = adjtimex) -> ClockState:
    """
    Ask the kernel for the state of its clock (adjtimex(2), which needs no privilege
    to read). In a container this is the state of the host.

    @param call: what fills C{struct timex} and returns the state, or -1.
    @return: the state; not synchronised where a filter of system calls refuses.
    """
    kernel = Timex()
    code = call(kernel)
    if code < 0:
        return ClockState(precision=precision())
    return ClockState(
        synchronised=code != _TIME_ERROR and not kernel.status & _STA_UNSYNC,
        leap=_LEAPS.get(code, 0),
        max_error=kernel.maxerror / 1e6,
        estimated_error=kernel.esterror / 1e6,
        precision=precision(),
    )


def measure_precision(read: Callable[[], float]) -> int:
    """
    Measure the smallest step that a clock is seen to make.

    @param read: reads the clock (seconds).
    @return: its power of two (seconds), rounded up, as RFC 5905, section 7.3 wants it.
    """
    smallest, steps = inf, 0
    for before, after in pairwise(read() for _ in range(PRECISION_READINGS)):
        if after > before:
            smallest, steps = min(smallest, after - before), steps + 1
            if steps == PRECISION_STEPS:
                break
    if not steps:
        return COARSE_PRECISION
    return max(_FINEST_PRECISION, min(0, ceil(log2(smallest))))


@cache
def precision() -> int:
    """
    Give the precision of the wall clock, as a number of seconds since 1970 shows it;
    it is measured once.
    """
    return measure_precision(time.time)


class ClockWatch:
    """
    Follows the state of the clock, and notices when it is set by a jump.

    A leap second that was announced is no jump: the clock is right before and after.
    A machine that slept does jump, because the monotonic clock slept too.

    @ivar state: what the last poll found; not synchronised before the first.
    """

    def __init__(
        self,
        read: Callable[[], ClockState],
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """
        @param read: asks for the state, as L{read_kernel} does.
        @param wall_clock: the time of day, in seconds since 1970.
        @param monotonic: a clock that nobody sets, in seconds.
        """
        self._read = read
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._offset: float | None = None
        self._doubt_until = -inf
        self.state = ClockState()

    def poll(self) -> float:
        """
        Look at the clock; to be called once a second.

        @return: by how much the wall clock was set since the last poll (seconds,
            negative if it was set back); 0.0 if it was not.
        """
        # Before the clocks: a leap second that comes meanwhile is still announced.
        found = self._read()
        monotonic, wall = self._clocks()
        step = self._step_to(wall - monotonic)
        if step:
            self._doubt_until = monotonic + STEP_DOUBT
        stepped = monotonic < self._doubt_until
        self.state = evolve(found, stepped=stepped, read_at=wall)
        return step

    def _clocks(self) -> tuple[float, float]:
        """
        Read both clocks at one moment: a process that was stopped between the two
        would see a jump that was none.
        """
        for _ in range(MAX_READINGS):
            before, wall, after = self._monotonic(), self._wall_clock(), self._monotonic()
            if after - before <= MAX_READING_TIME:
                break
        return after, wall

    def _step_to(self, offset: float) -> float:
        """
        Take how far the wall clock is before the monotonic one.

        @return: the change since the last time if it is a step; else 0.0.
        """
        change = 0.0 if self._offset is None else offset - self._offset
        self._offset = offset
        leap = _LEAP_STEPS.get(self.state.leap)
        if leap is not None and abs(change - leap) < LEAP_TOLERANCE:
            return 0.0
        return change if abs(change) > STEP else 0.0
