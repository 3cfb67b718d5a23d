"""Tests for L{socketd.protocols.measure.sequence}."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.sequence import MAX_GAP, WINDOW, Arrivals


def counted(numbers: Iterable[int], size: int = 1 << 32) -> tuple[int, int, int, int]:
    """Count numbers: received, lost, duplicate, late."""
    found = Arrivals(size)
    for number in numbers:
        found.add(number)
    return found.received, found.lost, found.duplicate, found.late


class ArrivalsTests(SynchronousTestCase):
    """Tests for L{Arrivals}."""

    def test_in_order(self) -> None:
        """Numbers in their order show nothing, wherever they begin, and past the last one."""
        for begin in (0, 7, (1 << 32) - 3):
            numbers = [(begin + n) % (1 << 32) for n in range(6)]
            self.assertEqual(counted(numbers), (6, 0, 0, 0))
        self.assertEqual(counted([254, 255, 0, 1], 256), (4, 0, 0, 0))

    def test_lost(self) -> None:
        """A gap is lost, also where the numbers wrap."""
        self.assertEqual(counted([0, 1, 5, 6]), (4, 3, 0, 0))
        self.assertEqual(counted([0, 2, 5, 6]), (4, 3, 0, 0))
        self.assertEqual(counted([254, 2], 256), (2, 3, 0, 0))

    def test_runs(self) -> None:
        """What has come in order is remembered, up to the window."""
        for run in (2, 5, WINDOW - 1, WINDOW, 3 * WINDOW):
            numbers = [1, *range(3, 3 + run)]
            old = [number for number in numbers if number > 2 + run - WINDOW]
            found = counted([*numbers, *old, 2])
            expected = len(numbers) + len(old) + 1, 1, len(old), 1
            self.assertEqual(found, expected, run)

    def test_late(self) -> None:
        """What fills a gap is late; with what is lost, both numbers only grow."""
        self.assertEqual(counted([0, 2, 1, 3]), (4, 1, 0, 1))
        self.assertEqual(counted([0, 3, 2, 1, 4]), (5, 2, 0, 2))

    def test_duplicate(self) -> None:
        """What has come before is a duplicate, of the highest number and of a late one, too."""
        self.assertEqual(counted([0, 1, 1, 0, 2]), (5, 0, 2, 0))
        self.assertEqual(counted([0, 2, 1, 1]), (4, 1, 1, 1))
        self.assertEqual(counted([0, 1, 3, 2, 1]), (5, 1, 1, 1))

    def test_old(self) -> None:
        """Below the window a duplicate cannot be told, and counts as late."""
        within, below = [0, WINDOW - 1, 0], [0, WINDOW, 0]
        self.assertEqual(counted(within), (3, WINDOW - 2, 1, 0))
        self.assertEqual(counted(below), (3, WINDOW - 1, 0, 1))

    def test_new_sender(self) -> None:
        """A gap that is too large is a sender that restarts, in either direction."""
        self.assertEqual(counted([0, MAX_GAP, MAX_GAP + 1]), (3, MAX_GAP - 1, 0, 0))
        self.assertEqual(counted([0, MAX_GAP + 1, MAX_GAP + 2]), (3, 0, 0, 0))
        self.assertEqual(counted([1 << 31, 0, 1]), (3, 0, 0, 0))
        self.assertEqual(counted([MAX_GAP, 0]), (2, 0, 0, 1))
        self.assertEqual(counted([MAX_GAP + 1, 0]), (2, 0, 0, 0))

    def test_halfway(self) -> None:
        """What is as far ahead as behind is ahead."""
        self.assertEqual(counted([0, 128], 256), (2, 127, 0, 0))
        self.assertEqual(counted([0, 129], 256), (2, 0, 0, 1))

    def test_told(self) -> None:
        """Each number tells what it shows."""
        found = Arrivals()
        told = [found.add(number) for number in (0, 1, 4, 2, 2, 5)]
        expected = [None, None, ("lost", 2), ("late", 1), ("duplicate", 1), None]
        self.assertEqual(told, expected)
        found = Arrivals(256)
        self.assertEqual([found.add(number) for number in (255, 0, 1)], [None] * 3)

    def test_bound(self) -> None:
        """The memory of what has come does not grow."""
        found = Arrivals()
        for number in range(0, 5 * MAX_GAP, 777):
            found.add(number)
            self.assertLess(found._seen.bit_length(), WINDOW + 1)
        for behind in (WINDOW, MAX_GAP):
            found.add(number - behind)
            self.assertLess(found._seen.bit_length(), WINDOW + 1)
