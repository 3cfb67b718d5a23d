"""The kernel's clock state (adjtimex(2)), and detection of clock steps."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from ctypes import Structure, c_int, c_long, c_uint
from functools import cache
from itertools import pairwise
from math import ceil, inf, log2

from attrs import define, evolve, field, frozen

#: The start of the year of this release, 2026-01-01T00:00:00Z (seconds since 1970): a
#: clock that shows an earlier time has never been set.
BUILD_DATE = 1767225600

#: A larger jump of the wall clock is a step (seconds). The kernel slews by at most 500 us
#: per second, so drift between two polls stays far below it.
STEP = 0.5

#: How long after a step the clock counts as unsynchronised (seconds): the program that
#: set it measures again, and the shortest poll interval of most NTP clients is 64 s.
STEP_DOUBT = 64.0

#: How far the step of a leap second may be from one second (seconds).
LEAP_TOLERANCE = 0.1

#: If two readings of the monotonic clock are further apart (seconds), the process was
#: preempted between them.
MAX_READING_TIME = 0.01

#: Attempts at a reading without preemption.
MAX_READINGS = 3

#: The number of steps of the clock whose minimum is its precision.
PRECISION_STEPS = 64

#: Limit of readings for these steps: a few milliseconds in all.
PRECISION_READINGS = 20000

#: The precision (power of two of seconds) of a clock that did not step in that time: its
#: ticks are assumed to be a hundredth of a second.
COARSE_PRECISION = -6

_FINEST_PRECISION = -30

# From sys/timex.h: return values of adjtimex(2), and the flag of an unsynchronised clock.
_TIME_INS, _TIME_DEL, _TIME_ERROR = 1, 2, 5
_STA_UNSYNC = 0x0040

_LEAPS = {_TIME_INS: 1, _TIME_DEL: 2}

# The step of the wall clock relative to the monotonic one in an announced leap second.
_LEAP_STEPS = {1: -1.0, 2: 1.0}


@frozen
class ClockState:
    """
    The state of the system clock.

    @ivar synchronised: whether it is synchronised, according to the kernel.
    @ivar leap: 0; 1 before an inserted second, 2 before a deleted one.
    @ivar max_error: the maximum error (seconds).
    @ivar precision: its smallest step, as a power of two of seconds.
    @ivar stepped: whether it was stepped less than L{STEP_DOUBT} ago.
    @ivar read_at: the time of this reading, by that clock (seconds since 1970); 0.0 if not
        recorded.
    """

    synchronised: bool = False
    leap: int = 0
    max_error: float = 16.0
    precision: int = -20
    stepped: bool = False
    read_at: float = 0.0


def is_plausible(now: float) -> bool:
    """
    Tell whether a wall clock (seconds since 1970) may be right, that is not before L{BUILD_DATE}.

    A machine without a battery starts at 1970, or at the time of its last shutdown.  By RFC 868 a
    server that cannot determine the time closes the connection without sending a byte, and
    discards the datagram.
    """
    return now >= BUILD_DATE


class Timex(Structure):
    """
    The beginning of C{struct timex} of sys/timex.h, with room for the rest: it has 208 bytes with
    a C{long} of eight bytes, 128 with four.
    """

    _fields_ = [
        ("modes", c_uint),
        ("offset", c_long),
        ("freq", c_long),
        ("maxerror", c_long),
        ("esterror", c_long),
        ("status", c_int),
        ("rest", c_long * 26),
    ]


def adjtimex(kernel: Timex) -> int:
    """
    Call adjtimex(2); C{modes} must be 0, the default, to set nothing.

    @return: the state of the clock; -1 if the call is denied or missing.
    """
    try:
        call = ctypes.CDLL(None).adjtimex
    except (AttributeError, OSError):
        # Not Linux, or a C library without the call.
        return -1
    return int(call(ctypes.byref(kernel)))


def read_kernel(call: Callable[[Timex], int] = adjtimex) -> ClockState:
    """
    Read the state of the kernel's clock, in a container that of the host. Reading needs no
    privilege; if a system call filter denies it, the clock counts as not synchronised.
    """
    kernel = Timex()
    code = call(kernel)
    if code < 0:
        return ClockState(precision=precision())
    return ClockState(
        synchronised=code != _TIME_ERROR and not kernel.status & _STA_UNSYNC,
        leap=_LEAPS.get(code, 0),
        max_error=kernel.maxerror / 1e6,
        precision=precision(),
    )


def measure_precision(read: Callable[[], float]) -> int:
    """
    Measure the smallest observed step of a clock.

    @return: the step as a power of two of seconds, rounded up (RFC 5905, section 7.3).
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
    """Return the precision of C{time.time} as a power of two of seconds; it is measured once."""
    return measure_precision(time.time)


@define(eq=False)
class ClockWatch:
    """
    Polls the state of the clock, and detects steps.

    An announced leap second is not a step: the clock is right before and after it. Resuming from
    suspend is a step, because the monotonic clock was suspended too.

    @ivar state: the result of the last poll; not synchronised before the first.
    """

    _read: Callable[[], ClockState]
    _wall_clock: Callable[[], float]
    _monotonic: Callable[[], float]
    state: ClockState = field(default=ClockState(), init=False)
    _offset: float | None = field(default=None, init=False)
    _doubt_until: float = field(default=-inf, init=False)

    def poll(self) -> float:
        """
        Poll the clock; to be called once a second.

        @return: the step of the wall clock since the last poll (seconds, negative if set back);
            0.0 if there was none.
        """
        # Read before the clocks, so that a leap second in between is still announced.
        found = self._read()
        monotonic, wall = self._clocks()
        step = self._step_to(wall - monotonic)
        if step:
            self._doubt_until = monotonic + STEP_DOUBT
        stepped = monotonic < self._doubt_until
        self.state = evolve(found, stepped=stepped, read_at=wall)
        return step

    def _clocks(self) -> tuple[float, float]:
        """Read both clocks at one moment: preemption between them would look like a step."""
        for _ in range(MAX_READINGS):
            before, wall, after = self._monotonic(), self._wall_clock(), self._monotonic()
            if after - before <= MAX_READING_TIME:
                break
        return after, wall

    def _step_to(self, offset: float) -> float:
        """
        Record the offset between wall clock and monotonic clock.

        @return: the change since the last call if it is a step; else 0.0 (seconds).
        """
        change = 0.0 if self._offset is None else offset - self._offset
        self._offset = offset
        leap = _LEAP_STEPS.get(self.state.leap)
        if leap is not None and abs(change - leap) < LEAP_TOLERANCE:
            return 0.0
        return change if abs(change) > STEP else 0.0
