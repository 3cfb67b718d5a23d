"""Tests for L{bench.results}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.results import Outcome, Results, Sample


def outcome(server: str, *figures: float, cpu_us: float | None = None) -> Outcome:
    """What a server reached in the rounds of one work."""
    return Outcome("work", server, tuple(Sample(figure, cpu_us=cpu_us) for figure in figures))


class OutcomeTests(SynchronousTestCase):
    """Tests for L{Outcome}."""

    def test_median(self) -> None:
        """One bad round does not move the figure; what was not measured or told is no zero."""
        self.assertEqual(outcome("a", 10.0, 1.0, 11.0).median("figure"), 10.0)
        self.assertIsNone(outcome("a").median("figure"))
        self.assertIsNone(outcome("a", 1.0).median("p50_us"))

    def test_spread(self) -> None:
        """The lowest and the highest round are told."""
        self.assertEqual(outcome("a", 2.0, 3.0, 1.0).spread(), (1.0, 3.0))

    def test_note(self) -> None:
        """A server that is not there says why; a failure is told although rounds gave figures."""
        missing = Outcome("work", "a", missing="not installed")
        self.assertEqual(missing.note(), "missing: not installed")
        mixed = Outcome("work", "a", (Sample(1.0, note="2.0% lost"),), failed="it died")
        self.assertEqual(mixed.note(), "failed: it died; 2.0% lost")


class ResultsTests(SynchronousTestCase):
    """Tests for L{Results}."""

    results = Results((outcome("a", 30.0, cpu_us=5.0), outcome("b", 20.0, cpu_us=4.0)))

    def test_ratio(self) -> None:
        """A ratio says how many times the other's number, of any kind, a server reaches."""
        self.assertEqual(self.results.ratio("work", "a", "b"), 1.5)
        self.assertEqual(self.results.ratio("work", "a", "b", "cpu_us"), 1.25)

    def test_ratio_of_rounds(self) -> None:
        """Rounds are compared one by one: a machine that slows down slows both."""
        results = Results((outcome("a", 20.0, 2.0, 6.0), outcome("b", 10.0, 1.0, 1.0)))
        self.assertEqual(results.ratio("work", "a", "b"), 2.0)

    def test_no_ratio(self) -> None:
        """There is no ratio to what was not measured, or to zero."""
        self.assertIsNone(self.results.ratio("work", "a", "c"))
        self.assertIsNone(self.results.ratio("play", "a", "b"))
        results = Results((outcome("a", 1.0), outcome("b", 0.0)))
        self.assertIsNone(results.ratio("work", "a", "b"))
