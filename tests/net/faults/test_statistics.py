"""What is drawn and sent over many datagrams: shares within three standard deviations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from socketd.settings.faults.values import Loss, Reorder
from tests.net.faults.faulty_case import ALICE, FaultyCase

#: The questions of each run.
COUNT = 100_000


class StatisticsTests(FaultyCase):
    """Tests for how often faults act; the seeds are fixed, so a run repeats."""

    def answered(self, count: int = COUNT) -> list[int]:
        """Ask so many numbered questions, and give the numbers of the answers as they come."""
        for number in range(count):
            self.ask(number.to_bytes(4, "big"), source=ALICE)
        self.faulty.end()
        return [int.from_bytes(datagram, "big") for datagram in self.sent]

    def check_share(self, found: int, rate: float, count: int = COUNT) -> None:
        """Check a number of independent events against its binomial distribution."""
        sigma = sqrt(count * rate * (1 - rate))
        self.assertLess(abs(found - count * rate), 3 * sigma, (found, count * rate, sigma))

    def check_loss(self, lost: Sequence[bool], rate: float, burst: float) -> None:
        """
        Check the share of lost ones, and how many follow a lost one.

        The variance of the share of a two-state Markov chain with correlation r is that of
        independent events times (1 + r) / (1 - r).
        """
        sigma = sqrt(COUNT * rate * (1 - rate) * (1 + burst) / (1 - burst))
        self.assertLess(abs(sum(lost) - COUNT * rate), 3 * sigma)
        again = [after for before, after in pairwise(lost) if before]
        self.check_share(sum(again), rate + burst * (1 - rate), len(again))

    def test_loss(self) -> None:
        """Losses have their rate, and come in bursts as long as is said."""
        for rate, burst in ((0.1, 0.0), (0.1, 0.25), (0.01, 0.9)):
            self.port.sent.clear()
            self.serve(loss=Loss(rate, burst))
            answered = set(self.answered())
            self.check_loss([number not in answered for number in range(COUNT)], rate, burst)

    def test_duplicate(self) -> None:
        """Duplicates have their rate, and stand beside their originals."""
        self.serve(duplicate=0.02)
        numbers = self.answered()
        self.check_share(sum(one == other for one, other in pairwise(numbers)), 0.02)
        self.assertEqual(sorted(set(numbers)), list(range(COUNT)))
        self.assertEqual(numbers, sorted(numbers))

    def test_reorder(self) -> None:
        """So many answers come behind as many later ones as the gap says; none is missing."""
        for rate, gap in ((0.05, 3), (0.3, 1)):
            self.port.sent.clear()
            self.serve(reorder=Reorder(rate, gap))
            numbers = self.answered()
            highest, late = -1, 0
            for number in numbers:
                late += number < highest
                highest = max(highest, number)
            self.check_share(late, rate)
            self.assertEqual(sorted(numbers), list(range(COUNT)))

    def test_share(self) -> None:
        """A profile for a share of the datagrams has all its faults on these alone."""
        self.serve(share=0.3, loss=Loss(0.5, 0.0))
        self.check_share(COUNT - len(self.answered()), 0.15)
