"""Tests for L{socketd.faults.draws}."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, pstdev

from twisted.trial.unittest import SynchronousTestCase

from socketd.faults.draws import delay, draw
from socketd.settings.faults.values import MAX_SECONDS, Latency

#: Enough draws for a mean to be known to a three-hundredth of its deviation.
MANY = 100_000


class DrawTests(SynchronousTestCase):
    """Tests for L{draw}."""

    def test_repeats(self) -> None:
        """A key always draws the same, and in every process, and another key something else."""
        self.assertEqual(draw(7, "echo", 1), 0.9673586161699351)
        self.assertNotEqual(draw(7, "echo", 2), draw(7, "echo", 1))

    def test_any_text(self) -> None:
        """Any text is a key, that of a path that is not UTF-8, too."""
        self.assertTrue(0 < draw("\udcff", "ä", None) < 1)

    def test_uniform(self) -> None:
        """Draws are spread evenly: each tenth of the range has its share, to three sigma."""
        counts = [0] * 10
        for number in range(MANY):
            counts[int(10 * draw("uniform", number))] += 1
        sigma = sqrt(MANY * 0.1 * 0.9)
        self.assertEqual([one for one in counts if abs(one - MANY / 10) > 3 * sigma], [])


class DelayTests(SynchronousTestCase):
    """Tests for L{delay}."""

    def sample(self, latency: Latency) -> list[float]:
        """Draw many delays."""
        return [delay(latency, latency, number) for number in range(MANY)]

    def check_mean(self, found: list[float], mean: float, deviation: float) -> None:
        """Check mean and standard deviation; that of a deviation is not above twice a mean's."""
        sigma = deviation / sqrt(MANY)
        self.assertLess(abs(fmean(found) - mean), 3 * sigma)
        self.assertLess(abs(pstdev(found) - deviation), 6 * sigma)

    def test_fixed(self) -> None:
        """Without a jitter each is the same."""
        self.assertEqual({delay(Latency(0.08), one) for one in range(100)}, {0.08})

    def test_uniform(self) -> None:
        """A uniform jitter is half of the width."""
        found = self.sample(Latency(0.08, 0.02, "uniform"))
        self.assertTrue(0.06 <= min(found) < 0.0601 and 0.0999 < max(found) <= 0.1)
        self.check_mean(found, 0.08, 0.02 / sqrt(3))

    def test_normal(self) -> None:
        """The jitter of a normal distribution is its standard deviation."""
        found = self.sample(Latency(1.0, 0.1, "normal"))
        self.check_mean(found, 1.0, 0.1)
        within = sum(abs(one - 1.0) < 0.1 for one in found) / MANY
        self.assertLess(abs(within - 0.6827), 3 * sqrt(0.6827 * 0.3173 / MANY))

    def test_lognormal(self) -> None:
        """So is that of a lognormal one, which has its mean at the base and a long tail."""
        found = self.sample(Latency(0.08, 0.02, "lognormal"))
        self.check_mean(found, 0.08, 0.02)
        self.assertGreater(max(found) - 0.08, 2 * (0.08 - min(found)))

    def test_repeats(self) -> None:
        """A key has the same delay in each version, with each distribution."""
        for distribution, expected in (
            ("uniform", 0.09953985), ("normal", 0.08299481), ("lognormal", 0.08052627),
        ):  # fmt: skip
            found = delay(Latency(0.08, 0.02, distribution), "7/echo/1", "latency", 1)
            self.assertAlmostEqual(found, expected, 8)

    def test_bounds(self) -> None:
        """No delay is negative, or longer than a connection lives."""
        for distribution in ("uniform", "normal", "lognormal"):
            latency = Latency(MAX_SECONDS, MAX_SECONDS, distribution)
            found = [delay(latency, number) for number in range(1000)]
            self.assertTrue(0 <= min(found) <= max(found) <= MAX_SECONDS, distribution)
        found = [delay(Latency(0.01, 1.0, "normal"), number) for number in range(1000)]
        self.assertGreater(found.count(0.0), 400)
