"""Times and clock errors of NTP (RFC 5905), for all that have its timestamps."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # It imports ctypes, which clients do not need.
    from socketd.common.system_clock import ClockState

#: A time of day in nanoseconds since 1970.
Instant = int

#: The header in bytes, without extension fields or authentication (RFC 5905, section 7.3).
LENGTH = 48

#: Seventy years with seventeen leap days (RFC 868, RFC 5905).
SECONDS_1900_TO_1970 = 2208988800

#: The largest dispersion in seconds, above which a clock is useless (MAXDISP of RFC 5905, section
#: 7.2).
MAX_DISPERSION = 16.0

#: The error growth of an undisciplined clock (seconds per second), as in the kernel.
ERROR_GROWTH = 500e-6

_SECOND = 10**9


def wide_timestamp(when: Instant) -> int:
    """
    Convert to 2**-32 seconds since 1900.

    The 64 bits on the wire wrap to zero on 2036-02-07 06:28:16 UTC, when era 1 begins; clients
    assume the era nearest to their own time (RFC 5905, section 6).
    """
    seconds, nanoseconds = divmod(when, _SECOND)
    return (seconds + SECONDS_1900_TO_1970 << 32) + (nanoseconds << 32) // _SECOND


def instant_of(timestamp: int, near: Instant) -> Instant:
    """Read the 64 bits of a timestamp, which stand for the time nearest to C{near}."""
    seconds, fraction = timestamp >> 32, timestamp & 0xFFFFFFFF
    seconds = nearest(seconds - SECONDS_1900_TO_1970, near // _SECOND)
    return seconds * _SECOND + (fraction * _SECOND >> 32)


def nearest(seconds: int, near: int) -> int:
    """Undo the wrap of 32 bits: return the number of seconds nearest to C{near}."""
    return near + (seconds - near + (1 << 31)) % (1 << 32) - (1 << 31)


def instant(now: float) -> Instant:
    """
    Convert seconds since 1970 to nanoseconds without further rounding: in 2026 adjacent C{float}
    values are 238 ns apart, which the clock's precision field accounts for.
    """
    seconds = floor(now)
    return seconds * _SECOND + int((now - seconds) * _SECOND)


def error_at(now: float, state: ClockState, error: float) -> float:
    """
    Return how far off a clock is at most (seconds): its error when its state was read, its
    precision, and what the error has grown by since.
    """
    age = max(0.0, now - state.read_at) if state.read_at else 0.0
    return error + (2.0**state.precision + ERROR_GROWTH * age)
