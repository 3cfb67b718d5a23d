"""Tests for L{socketd.settings.faults.values}."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.faults.values import (
    ACCEPT,
    AFTER,
    BANDWIDTH,
    DISTRIBUTIONS,
    LATENCY,
    LOSS,
    MAX_GAP,
    MAX_PIECE,
    MAX_SECONDS,
    PERCENT,
    REORDER,
    SLICES,
    Accept,
    After,
    Latency,
    Loss,
    Reorder,
    Slices,
    as_written,
)
from socketd.settings.value_types import ValueType
from tests.settings.refusals import refusal

NO_PERCENT = "is not a share; write 0% to 100%, such as 0.1%"
NO_LATENCY = (
    "is not a latency; write 80ms, 80ms jitter 20ms, or 80ms jitter 20ms normal"
    " (or uniform, or lognormal)"
)
NO_DURATION = "is not a duration; write 250ms, 10s, 5m or 1h"
NO_BANDWIDTH = "is not a bandwidth; write bytes per second, such as 16KiB/s"
NO_SLICES = "is not a size of pieces; write 16, 1..16, or 1..16 every 50ms"
NO_PIECE = (
    "is not a size of pieces; write 1 to 65536 bytes, the smaller size first, such as"
    " 1..16 every 50ms"
)
NO_ACCEPT = "is not known; write refuse, silent, never-read or slow 5s"
NO_POINT = "is not a point of a connection; write after 100B, after 2s or at once"
NO_LOSS = "is not a loss; write 10%, or 10% burst 25%"
NO_REORDER = "is not an order; write 5%, or 5% gap 3"
TOO_LONG = "is out of range; write up to 1h"

#: Type, text, value, and the text that it is shown as.
GOOD: list[tuple[ValueType, str, Any, str]] = [
    (PERCENT, "10%", 0.1, "10%"),
    (PERCENT, "0.1%", 0.001, "0.1%"),
    (PERCENT, "0%", 0.0, "0%"),
    (PERCENT, "100%", 1.0, "100%"),
    (LATENCY, "80ms", Latency(0.08), "80ms"),
    (LATENCY, "1h", Latency(3600.0), "3600s"),
    (LATENCY, "0.000004ms", Latency(4e-9), "0.000004ms"),
    (LATENCY, "80ms jitter 20ms", Latency(0.08, 0.02, "uniform"), "80ms jitter 20ms uniform"),
    (LATENCY, "0s  jitter 1.5s  normal", Latency(0.0, 1.5, "normal"), "0s jitter 1.5s normal"),
    (LATENCY, "1s jitter 1s lognormal", Latency(1.0, 1.0, "lognormal"), "1s jitter 1s lognormal"),
    (BANDWIDTH, "16KiB/s", 16384, "16KiB/s"),
    (BANDWIDTH, "1B/s", 1, "1B/s"),
    (BANDWIDTH, "1025B/s", 1025, "1025B/s"),
    (BANDWIDTH, "3MiB/s", 3 * 1024**2, "3MiB/s"),
    (BANDWIDTH, "1GiB/s", 1024**3, "1GiB/s"),
    (SLICES, "16", Slices(16, 16), "16"),
    (SLICES, "1..16", Slices(1, 16), "1..16"),
    (SLICES, "1..65536 every 50ms", Slices(1, 65536, 0.05), "1..65536 every 50ms"),
    (ACCEPT, "refuse", Accept("refuse"), "refuse"),
    (ACCEPT, "silent", Accept("silent"), "silent"),
    (ACCEPT, "never-read", Accept("never-read"), "never-read"),
    (ACCEPT, "slow 5s", Accept("slow", 5.0), "slow 5s"),
    (AFTER, "after 100B", After(size=100), "after 100B"),
    (AFTER, "after 1KiB", After(size=1024), "after 1KiB"),
    (AFTER, "after 2s", After(seconds=2.0), "after 2s"),
    (AFTER, "at once", After(seconds=0.0), "at once"),
    (AFTER, "after 0s", After(seconds=0.0), "at once"),
    (LOSS, "10%", Loss(0.1), "10%"),
    (LOSS, "10% burst 25%", Loss(0.1, 0.25), "10% burst 25%"),
    (REORDER, "5%", Reorder(0.05), "5% gap 1"),
    (REORDER, "5% gap 3", Reorder(0.05, 3), "5% gap 3"),
]

#: Type, text, complaint.
BAD: list[tuple[ValueType, str, str]] = [
    *((PERCENT, text, NO_PERCENT) for text in ("", "10", "101%", "100.1%", "-1%", "1 %", "٣%")),
    (LATENCY, "", NO_LATENCY),
    (LATENCY, "80", NO_DURATION),
    (LATENCY, "2h", TOO_LONG),
    (LATENCY, "80ms 20ms", NO_LATENCY),
    (LATENCY, "80ms jitter", NO_LATENCY),
    (LATENCY, "80ms jitter 2h", TOO_LONG),
    (LATENCY, "80ms jitter 20ms pareto", NO_LATENCY),
    (LATENCY, "80ms normal", NO_LATENCY),
    (LATENCY, "0s jitter 20ms lognormal", "has no mean for lognormal; write such as 80ms jitter"
     " 20ms lognormal"),
    *((BANDWIDTH, text, NO_BANDWIDTH) for text in ("", "16KiB", "16/s", "16KiB/m", "1mbit")),
    (BANDWIDTH, "0B/s", "is out of range; write 1B/s to 1GiB/s"),
    (BANDWIDTH, "xB/s", "is not a size; write bytes as 4096, 64KiB or 1MiB"),
    *((SLICES, text, NO_SLICES) for text in ("", "1..16 50ms", "1 .. 16")),
    *((SLICES, text, NO_PIECE) for text in ("0", "16..1", "1..65537", "x", "1KiB", "1...3")),
    (SLICES, "1 every 2h", TOO_LONG),
    *((ACCEPT, text, NO_ACCEPT) for text in ("", "slow", "silent 5s", "Refuse")),
    (ACCEPT, "slow 5", NO_DURATION),
    *((AFTER, text, NO_POINT) for text in ("", "100B", "after", "after 100", "once", "at 2s")),
    (AFTER, "after 0B", "is out of range; write 1B to 1024GiB, or at once"),
    (AFTER, "after soon", NO_DURATION),
    *((LOSS, text, NO_LOSS) for text in ("", "10% 25%", "10% burst")),
    (LOSS, "10", NO_PERCENT),
    (LOSS, "10% burst 100%", "has a burst that never ends; write less than 100%"),
    *((REORDER, text, NO_REORDER) for text in ("", "5% 3", "gap 3")),
    (REORDER, "5% gap 0", "is out of range; write 1 to 100"),
    (REORDER, "5% gap x", "is not a whole number; write 1 to 100"),
]

limited = settings(max_examples=200, derandomize=True, deadline=None, database=None)
milliseconds = st.integers(0, int(MAX_SECONDS * 1000)).map(lambda number: number / 1000)
shares = st.integers(0, 1000).map(lambda number: number / 1000)
pieces = st.tuples(st.integers(1, MAX_PIECE), st.integers(1, MAX_PIECE))

#: Any value of each type.
VALUES: list[tuple[ValueType, st.SearchStrategy[Any]]] = [
    (PERCENT, shares),
    (LATENCY, st.builds(
        Latency, milliseconds.filter(bool), milliseconds.filter(bool),
        st.sampled_from(DISTRIBUTIONS),
    )),
    (BANDWIDTH, st.integers(1, 1024**3)),
    (SLICES, st.builds(lambda sizes, every: Slices(min(sizes), max(sizes), every),
                       pieces, milliseconds)),
    (ACCEPT, st.builds(Accept, st.just("slow"), milliseconds)),
    (AFTER, st.builds(After, size=st.integers(1, 1024**4))),
    (AFTER, st.builds(After, seconds=milliseconds)),
    (LOSS, st.builds(Loss, shares, shares.filter(lambda share: share < 1))),
    (REORDER, st.builds(Reorder, shares, st.integers(1, MAX_GAP))),
]  # fmt: skip


class ValueTests(SynchronousTestCase):
    """Tests for the forms of the values."""

    def test_good(self) -> None:
        """What is right is read, and shown as in the file."""
        for value_type, text, value, shown in GOOD:
            self.assertEqual(value_type.parse(text), value, text)
            self.assertEqual(as_written(value), shown)

    def test_bad(self) -> None:
        """What is wrong is refused with the form that is right."""
        for value_type, text, complaint in BAD:
            self.assertEqual(refusal(value_type.parse, text), complaint, text)

    @limited
    @given(st.sampled_from(VALUES).flatmap(lambda one: st.tuples(st.just(one[0]), one[1])))
    def test_written(self, one: tuple[ValueType, Any]) -> None:
        """Any value can be written into a file as it is shown."""
        value_type, value = one
        self.assertEqual(as_written(value_type.parse(as_written(value))), as_written(value))
