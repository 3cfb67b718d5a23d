"""
The values of a fault profile: the form of each, as in the file and for people.

The words and the forms are those of tc-netem(8), where it has them.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from socketd.settings.value_types import (
    DURATION,
    NUMBER,
    SIZE,
    ValueType,
    within,
    write_duration,
    write_number,
)

#: The longest delay, pause or wait, in seconds: a connection lives no longer by default.
MAX_SECONDS = 3600.0

#: The largest piece of C{slice}: as much as a connection holds unsent.
MAX_PIECE = 65536

#: The most datagrams that overtake one: all of them within a second or so, even when few come.
MAX_GAP = 100

#: The distributions of a jitter.
UNIFORM, NORMAL, LOGNORMAL = DISTRIBUTIONS = ("uniform", "normal", "lognormal")

#: What C{accept} does.
REFUSE, SILENT, NEVER_READ, SLOW = ("refuse", "silent", "never-read", "slow")

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
_PIECE = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?", re.ASCII)
_TIME = within(DURATION, 0.0, MAX_SECONDS, "write up to 1h")
_POINT = within(SIZE, 1, 1024**4, "write 1B to 1024GiB, or at once")
_RATE = within(SIZE, 1, 1024**3, "write 1B/s to 1GiB/s")
_GAP = within(NUMBER, 1, MAX_GAP, f"write 1 to {MAX_GAP}")


@frozen
class Latency:
    """A delay in seconds, and how it varies; never less than 0."""

    base: float
    jitter: float = 0.0
    distribution: str = UNIFORM

    def __str__(self) -> str:
        if not self.jitter:
            return write_duration(self.base)
        base, jitter = write_duration(self.base), write_duration(self.jitter)
        return f"{base} jitter {jitter} {self.distribution}"


@frozen
class Slices:
    """Pieces of C{low} to C{high} bytes, and the seconds between two of them."""

    low: int
    high: int
    every: float = 0.0

    def __str__(self) -> str:
        sizes = f"{self.low}" if self.low == self.high else f"{self.low}..{self.high}"
        return f"{sizes} every {write_duration(self.every)}" if self.every else sizes


@frozen
class Accept:
    """What becomes of a connection at its start; C{seconds} is for C{slow} only."""

    action: str
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.action == SLOW:
            return f"{self.action} {write_duration(self.seconds)}"
        return self.action


@frozen
class After:
    """A point of a connection: so many bytes sent to the peer, or so many seconds."""

    size: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if self.size is not None:
            return f"after {_size(self.size)}"
        return f"after {write_duration(self.seconds)}" if self.seconds else "at once"


@frozen
class Loss:
    """
    The rate (0 to 1) of lost datagrams.

    @ivar burst: the correlation of each with the one before (0 to below 1).
    """

    rate: float
    burst: float = 0.0

    def __str__(self) -> str:
        burst = f" burst {as_written(self.burst)}" if self.burst else ""
        return f"{as_written(self.rate)}{burst}"


@frozen
class Reorder:
    """The rate (0 to 1) of datagrams that C{gap} later ones overtake."""

    rate: float
    gap: int = 1

    def __str__(self) -> str:
        return f"{as_written(self.rate)} gap {self.gap}"


def parse_percent(text: str) -> float:
    """Parse a share such as C{10%} or C{0.1%} to a number from 0 to 1."""
    match = _PERCENT.fullmatch(text)
    if match is None or float(match[1]) > 100:
        raise ValueError("is not a share; write 0% to 100%, such as 0.1%")
    return float(match[1]) / 100


def parse_latency(text: str) -> Latency:
    """Parse C{80ms}, C{80ms jitter 20ms} or C{80ms jitter 20ms normal}."""
    match text.split():
        case [base]:
            return Latency(_TIME.parse(base))
        case [base, "jitter", jitter, *rest] if rest in ([], *([word] for word in DISTRIBUTIONS)):
            found = Latency(_TIME.parse(base), _TIME.parse(jitter), *rest)
            if found.distribution == LOGNORMAL and not found.base:
                raise ValueError(
                    "has no mean for lognormal; write such as 80ms jitter 20ms lognormal"
                )
            return found
    raise ValueError(
        "is not a latency; write 80ms, 80ms jitter 20ms, or 80ms jitter 20ms normal"
        " (or uniform, or lognormal)"
    )


def parse_bandwidth(text: str) -> int:
    """Parse C{16KiB/s} to bytes per second."""
    size, slash, unit = text.partition("/")
    if (slash + unit) != "/s" or not size.endswith("B"):
        raise ValueError("is not a bandwidth; write bytes per second, such as 16KiB/s")
    rate: int = _RATE.parse(size)
    return rate


def parse_slices(text: str) -> Slices:
    """Parse C{16}, C{1..16} or C{1..16 every 50ms}."""
    match text.split():
        case [sizes]:
            return Slices(*_parse_piece(sizes))
        case [sizes, "every", pause]:
            return Slices(*_parse_piece(sizes), _TIME.parse(pause))
    raise ValueError("is not a size of pieces; write 16, 1..16, or 1..16 every 50ms")


def _parse_piece(text: str) -> tuple[int, int]:
    match = _PIECE.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= MAX_PIECE:
        raise ValueError(
            f"is not a size of pieces; write 1 to {MAX_PIECE} bytes, the smaller size first,"
            " such as 1..16 every 50ms"
        )
    return low, high


def parse_accept(text: str) -> Accept:
    """Parse C{refuse}, C{silent}, C{never-read} or C{slow 5s}."""
    match text.split():
        case [("refuse" | "silent" | "never-read") as action]:
            return Accept(action)
        case ["slow", seconds]:
            return Accept(SLOW, _TIME.parse(seconds))
    raise ValueError("is not known; write refuse, silent, never-read or slow 5s")


def parse_after(text: str) -> After:
    """Parse C{after 100B}, C{after 2s} or C{at once}."""
    match text.split():
        case ["at", "once"]:
            return After(seconds=0.0)
        case ["after", point] if point.endswith("B"):
            return After(size=_POINT.parse(point))
        case ["after", point] if not point.isdigit():
            return After(seconds=_TIME.parse(point))
    raise ValueError("is not a point of a connection; write after 100B, after 2s or at once")


def parse_loss(text: str) -> Loss:
    """Parse C{10%} or C{10% burst 25%}."""
    match text.split():
        case [rate]:
            return Loss(parse_percent(rate))
        case [rate, "burst", burst]:
            found = Loss(parse_percent(rate), parse_percent(burst))
            if found.burst == 1:
                raise ValueError("has a burst that never ends; write less than 100%")
            return found
    raise ValueError("is not a loss; write 10%, or 10% burst 25%")


def parse_reorder(text: str) -> Reorder:
    """Parse C{5%} or C{5% gap 3}."""
    match text.split():
        case [rate]:
            return Reorder(parse_percent(rate))
        case [rate, "gap", gap]:
            return Reorder(parse_percent(rate), _GAP.parse(gap))
    raise ValueError("is not an order; write 5%, or 5% gap 3")


def as_written(value: Any) -> str:
    """Format the value of a fault as in the file."""
    if isinstance(value, float):
        return f"{write_number(value * 100)}%"
    return f"{_size(value)}/s" if isinstance(value, int) else str(value)


def _size(size: int) -> str:
    """Format a size with the largest unit that it is a multiple of."""
    units = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}
    unit = next(unit for unit, factor in units.items() if size % factor == 0)
    return f"{size // units[unit]}{unit}"


PERCENT = ValueType("share (30% 0.1%)", parse_percent)
LATENCY = ValueType("latency (80ms jitter 20ms normal)", parse_latency)
BANDWIDTH = ValueType("bandwidth (16KiB/s)", parse_bandwidth)
SLICES = ValueType("slices (1..16 every 50ms)", parse_slices)
ACCEPT = ValueType("refuse | silent | never-read | slow DURATION", parse_accept)
AFTER = ValueType("after SIZE | after DURATION | at once", parse_after)
LOSS = ValueType("loss (10% burst 25%)", parse_loss)
REORDER = ValueType("reorder (5% gap 3)", parse_reorder)
