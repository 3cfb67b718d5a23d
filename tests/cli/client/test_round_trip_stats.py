"""Tests for L{socketd.cli.client.round_trip_stats}."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.round_trip_stats import (
    MAX_BAR,
    CLASSES,
    MIN_SAMPLES,
    RoundTripStats,
    histogram,
    render,
    render_json,
)


class FigureTests(SynchronousTestCase):
    """Tests for L{RoundTripStats}."""

    def test_figures(self) -> None:
        """The figures are those of the right answers, in milliseconds."""
        stats = RoundTripStats(6, (0.003, 0.001, 0.002, 0.004, 0.010), 1)
        expected = {"min": 1.0, "avg": 4.0, "p50": 3.0, "p99": 10.0, "max": 10.0, "mdev": 3.162}
        self.assertEqual(stats.figures(), expected)
        self.assertAlmostEqual(stats.loss, 1 / 6)

    def test_nothing(self) -> None:
        """Without an answer there are no figures, and all is lost."""
        self.assertEqual((RoundTripStats(3, ()).figures(), RoundTripStats(3, ()).loss), ({}, 1.0))
        self.assertEqual(RoundTripStats(0, ()).loss, 0.0)

    def test_percentile(self) -> None:
        """A percentile is a time that was measured: the nearest rank."""
        stats = RoundTripStats(100, tuple(map(float, range(1, 101))))
        found = [stats.percentile(part) for part in (0.0, 0.5, 0.99, 1.0)]
        self.assertEqual(found, [1, 50, 99, 100])

    def test_text(self) -> None:
        """A person gets a sentence, and a table if there is anything to put in it."""
        self.assertEqual(render(RoundTripStats(2, ())), "2 sent, 0 received, 100.0% loss\n")
        text = render(RoundTripStats(4, (0.001, 0.001), 1))
        first, header, row = text.splitlines()
        self.assertEqual(first, "4 sent, 2 received, 1 wrong, 50.0% loss")
        self.assertEqual(header, "min ms  avg ms  p50 ms  p99 ms  max ms  mdev ms")
        self.assertEqual(row.split(), ["1.000"] * 5 + ["0.000"])

    def test_json(self) -> None:
        """A program gets the same, and each time."""
        found = json.loads(render_json(RoundTripStats(3, (0.001, 0.0025))))
        self.assertEqual((found["sent"], found["received"], found["wrong"]), (3, 2, 0))
        self.assertEqual(found["times_ms"], [1.0, 2.5])
        self.assertEqual(found["ms"]["max"], 2.5)


class HistogramTests(SynchronousTestCase):
    """Tests for L{histogram}."""

    def test_shape(self) -> None:
        """Each class has its count and its bar; the fullest has the longest."""
        lines = histogram([0.001] * 90 + [0.1] * 10).splitlines()
        self.assertEqual(len(lines), CLASSES)
        self.assertEqual([line.split()[3] for line in (lines[0], lines[-1])], ["90", "10"])
        self.assertTrue(lines[0].endswith(" " + "#" * MAX_BAR))
        self.assertTrue(lines[-1].startswith("   <= 100.000 ms"), lines[-1])

    def test_none(self) -> None:
        """A few times, or times that are all the same, are not drawn."""
        self.assertEqual(histogram([]), "")
        self.assertEqual(histogram([0.001, 0.002]), "")
        self.assertEqual(histogram([0.001] * 100), "")
        self.assertEqual(histogram([1.0] * 100 + [math.nextafter(1.0, 2.0)]), "")
        self.assertEqual(histogram([0.0] * 100 + [1.0]), "")

    @given(some.lists(some.floats(1e-6, 10.0), min_size=MIN_SAMPLES, max_size=100))
    def test_counts(self, times: list[float]) -> None:
        """Every time is in one class."""
        text = histogram(times)
        if min(times) < max(times) and not math.isclose(min(times), max(times)):
            self.assertEqual(sum(int(line.split()[3]) for line in text.splitlines()), len(times))
