"""Tests for L{socketd.common.system_clock}."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator
from itertools import count

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.system_clock import (
    BUILD_DATE,
    COARSE_PRECISION,
    MAX_READINGS,
    PRECISION_READINGS,
    STEP,
    STEP_DOUBT,
    ClockState,
    ClockWatch,
    Timex,
    adjtimex,
    is_plausible,
    measure_precision,
    precision,
    read_kernel,
)

#: A time of day in 2026, in seconds since 1970.
NOW = 1795000000.0

#: What the kernel says of a clock that is kept.
KEPT = ClockState(synchronised=True, max_error=0.25, precision=-22)


def kernel(code: int, **fields: int) -> Callable[[Timex], int]:
    """Make a kernel that says so of its clock."""

    def call(timex: Timex) -> int:
        assert timex.modes == 0, "wants to set the clock"
        for name, value in fields.items():
            setattr(timex, name, value)
        return code

    return call


def ticks(step: float, reads: int = 1) -> Callable[[], float]:
    """Make a clock that goes on by a step each so many readings."""
    readings = count()
    return lambda: next(readings) // reads * step


class Times:
    """A wall clock and a monotonic one, set by hand, and the state of the former."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.state = NOW, 5.0, KEPT
        self.watch = ClockWatch(
            lambda: self.state, lambda: self.wall, lambda: self.monotonic
        )

    def after(self, seconds: float = 1.0, step: float = 0.0) -> float:
        """Let time pass, with the wall clock set by a step, and poll."""
        self.monotonic += seconds
        self.wall += seconds + step
        return self.watch.poll()


class KernelTests(SynchronousTestCase):
    """Tests for L{read_kernel}."""

    def test_kept(self) -> None:
        """A clock that is kept has errors in microseconds, which are given in seconds."""
        found = read_kernel(kernel(0, maxerror=250000, esterror=1000))
        self.assertEqual(found, evolve(KEPT, precision=precision()))

    def test_unsynchronised(self) -> None:
        """The state of an error, or the flag, says that the clock is not synchronised."""
        self.assertFalse(read_kernel(kernel(5)).synchronised)
        self.assertFalse(read_kernel(kernel(0, status=0x40 | 0x2000)).synchronised)
        self.assertFalse(read_kernel(kernel(5, status=0x40)).synchronised)
        self.assertTrue(read_kernel(kernel(0, status=0x2001)).synchronised)

    def test_leap(self) -> None:
        """A leap second is announced while the kernel waits for it, not during or after it."""
        found = [read_kernel(kernel(code)).leap for code in range(6)]
        self.assertEqual(found, [0, 1, 2, 0, 0, 0])

    def test_refused(self) -> None:
        """Where the call is refused the clock counts as not synchronised."""
        found = read_kernel(kernel(-1, maxerror=1, esterror=1))
        self.assertEqual(found, ClockState(precision=precision()))
        self.assertFalse(found.synchronised)

    def test_missing(self) -> None:
        """Where the C library lacks the call nothing is raised."""

        class Library:
            def __init__(self, name: None) -> None:
                pass

        self.patch(ctypes, "CDLL", Library)
        self.assertEqual(adjtimex(Timex()), -1)
        self.assertFalse(read_kernel().synchronised)

    def test_layout(self) -> None:
        """The structure has room for the kernel's, whatever a long is."""
        expected = {8: 208, 4: 128}[ctypes.sizeof(ctypes.c_long)]
        self.assertGreaterEqual(ctypes.sizeof(Timex), expected)

    def test_here(self) -> None:
        """
        The kernel of this machine is asked: it fills the structure with its time, or
        refuses.
        """
        timex = Timex()
        code = adjtimex(timex)
        self.assertIn(code, range(-1, 6))
        if code >= 0:
            # The length of a tick is 10 ms, and can be set to a tenth more or less.
            seconds, tick = timex.rest[3], timex.rest[5]
            self.assertTrue(9000 <= tick <= 11000, tick)
            self.assertGreater(seconds, 0)
        self.assertGreaterEqual(read_kernel().max_error, 0.0)


class PrecisionTests(SynchronousTestCase):
    """Tests for L{measure_precision}."""

    def test_powers(self) -> None:
        """The step is given as the next greater power of two."""
        expected = {2.0**-10: -10, 0.001: -9, 2e-7: -22, 1e-6: -19, 1.0: 0, 3.0: 0}
        found = {step: measure_precision(ticks(step)) for step in expected}
        self.assertEqual(found, expected)

    def test_slow(self) -> None:
        """A clock that shows the same time at many readings is read until it steps."""
        self.assertEqual(measure_precision(ticks(2.0**-8, 1000)), -8)

    def test_smallest(self) -> None:
        """The smallest step counts, and a step back does not."""
        times = iter([1.0, 1.5, 1.75, 1.7, 2.2])
        found = measure_precision(lambda: next(times, 2.2))
        self.assertEqual(found, -2)

    def test_bounded(self) -> None:
        """A clock that stands is read only so often, and is said to be coarse."""
        readings: Iterator[int] = count()

        def stands() -> float:
            next(readings)
            return NOW

        self.assertEqual(measure_precision(stands), COARSE_PRECISION)
        self.assertEqual(next(readings), PRECISION_READINGS)

    def test_finest(self) -> None:
        """No clock is said to be finer than a nanosecond."""
        self.assertEqual(measure_precision(ticks(1e-12)), -30)

    def test_here(self) -> None:
        """The precision of this machine is one, and stays the same."""
        self.assertIn(precision(), range(-30, 1))
        self.assertEqual(precision(), precision())


class ClockWatchTests(SynchronousTestCase):
    """Tests for L{ClockWatch}."""

    def setUp(self) -> None:
        self.times = Times()

    def test_before(self) -> None:
        """Before the first poll the clock is not vouched for."""
        self.assertEqual(self.times.watch.state, ClockState())
        self.assertFalse(ClockState().synchronised)

    def test_first(self) -> None:
        """The first poll takes the state and its time, and cannot see a step."""
        self.assertEqual(self.times.watch.poll(), 0.0)
        self.assertEqual(self.times.watch.state, evolve(KEPT, read_at=NOW))

    def test_follows(self) -> None:
        """Each poll reads the state again."""
        self.times.watch.poll()
        self.times.state = ClockState(leap=1)
        self.assertEqual(self.times.after(2.0), 0.0)
        self.assertEqual(self.times.watch.state, ClockState(leap=1, read_at=NOW + 2.0))

    def test_step(self) -> None:
        """A jump to either side is told, once, and doubted for a while."""
        for step in (0.75, -0.75, 3600.0, -1e9):
            self.times.watch.poll()
            self.assertAlmostEqual(self.times.after(step=step), step, places=5)
            self.assertTrue(self.times.watch.state.stepped)
            self.assertEqual(self.times.after(STEP_DOUBT - 1.0), 0.0)
            self.assertTrue(self.times.watch.state.stepped)
            self.assertEqual(self.times.after(1.0), 0.0)
            self.assertFalse(self.times.watch.state.stepped)

    def test_step_again(self) -> None:
        """A second jump restarts the time of doubt."""
        self.times.watch.poll()
        self.times.after(step=10.0)
        self.times.after(STEP_DOUBT / 2, step=-10.0)
        self.times.after(STEP_DOUBT - 1.0)
        self.assertTrue(self.times.watch.state.stepped)

    def test_small(self) -> None:
        """A jump of half a second or less is what a slewed clock could do too."""
        self.times.watch.poll()
        for step in (STEP, -STEP, STEP / 2):
            self.assertEqual(self.times.after(step=step), 0.0)
        self.assertFalse(self.times.watch.state.stepped)

    def test_drift(self) -> None:
        """
        A clock that drifts as fast as the kernel can slew it is never said to step, even
        where it is far off in the end.
        """
        self.times.watch.poll()
        for _ in range(2000):
            self.assertEqual(self.times.after(step=500e-6), 0.0)
        self.assertFalse(self.times.watch.state.stepped)
        self.assertGreater(self.times.wall - NOW - (self.times.monotonic - 5.0), STEP)

    def test_leap_second(self) -> None:
        """
        The announced leap second is no step: inserted the clock goes back, left out it
        goes forward.
        """
        for leap, step in ((1, -1.0), (2, 1.0)):
            self.times.state = evolve(KEPT, leap=leap)
            self.times.after()
            self.times.state = KEPT
            self.assertEqual(self.times.after(step=step), 0.0)
            self.assertFalse(self.times.watch.state.stepped)

    def test_leap_second_in_a_poll(self) -> None:
        """So it is where it comes just before, or just after, the kernel is asked."""
        for before in (0.0, 1.0):
            times = Times()
            times.state = evolve(KEPT, leap=1)
            times.watch.poll()

            def read(times: Times = times, before: float = before) -> ClockState:
                times.wall -= before
                found = evolve(KEPT, leap=0 if before else 1)
                times.wall -= 1.0 - before
                return found

            times.watch._read = read
            self.assertEqual(times.after(), 0.0)
            times.watch._read = lambda: KEPT
            self.assertEqual([times.after(), times.after()], [0.0, 0.0])

    def test_no_leap_second(self) -> None:
        """A step of a second is one where no leap second is due, or to the wrong side."""
        for leap, step in ((0, -1.0), (0, 1.0), (1, 1.0), (2, -1.0)):
            self.times.state = evolve(KEPT, leap=leap)
            self.times.after()
            self.assertAlmostEqual(self.times.after(step=step), step, places=5)

    def test_stopped_between(self) -> None:
        """A process that is stopped while it reads the clocks sees no step."""
        delays = iter([0.0, 0.0, 0.0, 30.0, 0.0, 0.0])
        times = [NOW]

        def passes() -> float:
            times[0] += next(delays, 0.0)
            return times[0]

        watch = ClockWatch(ClockState, lambda: times[0], passes)
        self.assertEqual([watch.poll(), watch.poll()], [0.0, 0.0])

    def test_always_stopped(self) -> None:
        """The clocks are read so many times at most, also where every reading is disturbed."""
        monotonic = ticks(1.0)
        readings = count()
        watch = ClockWatch(ClockState, lambda: float(next(readings)), monotonic)
        watch.poll()
        self.assertEqual(next(readings), MAX_READINGS)

    def test_here(self) -> None:
        """The clocks of this machine can be watched."""
        watch = ClockWatch(read_kernel, time.time, time.monotonic)
        watch.poll()
        self.assertTrue(math.isfinite(watch.state.max_error))
        self.assertGreater(watch.state.read_at, 0.0)


class PlausibleTests(SynchronousTestCase):
    """Tests for L{is_plausible} and its date."""

    def test_build_date(self) -> None:
        """The date is the first second of a year that has come."""
        self.assertEqual(time.gmtime(BUILD_DATE)[1:6], (1, 1, 0, 0, 0))
        self.assertLessEqual(BUILD_DATE, time.time())
        self.assertGreaterEqual(BUILD_DATE, 1767225600)

    def test_since(self) -> None:
        """A clock is believed from that date on, however late; no time is not."""
        for now in (BUILD_DATE - 0.001, BUILD_DATE - 86400.0, 0.0, -1.0, float("nan")):
            self.assertFalse(is_plausible(now), now)
        for now in (float(BUILD_DATE), BUILD_DATE + 0.001, 2147483648.0, 4294967296.0):
            self.assertTrue(is_plausible(now), now)
