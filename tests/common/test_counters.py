"""Tests for L{socketd.common.counters}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.counters import Counters


@attrs.define
class Ended:
    """The counters of a connection."""

    messages_received: int
    bytes_received: int
    bytes_sent: int


class TallyTests(SynchronousTestCase):
    """Tests for L{Counters}."""

    def test_zero(self) -> None:
        """All counters start at 0."""
        self.assertFalse(any(attrs.asdict(Counters()).values()))

    def test_add(self) -> None:
        """The counters of ended connections are added, and no others."""
        counters = Counters(connections=2, datagrams_sent=5)
        counters.add(Ended(1, 20, 300))
        counters.add(Ended(4, 50, 600))
        expected = Counters(2, messages_received=5, bytes_received=70, bytes_sent=900)
        self.assertEqual(counters, attrs.evolve(expected, datagrams_sent=5))

    def test_total(self) -> None:
        """A snapshot includes the live connections; the counters do not."""
        counters = Counters(3, 1, 10, 100, 7, 6, 1, 2)
        live = [Ended(2, 20, 200), Ended(3, 30, 300)]
        self.assertEqual(counters.total(live), Counters(3, 6, 60, 600, 7, 6, 1, 2))
        self.assertEqual(counters, Counters(3, 1, 10, 100, 7, 6, 1, 2))
        self.assertEqual(counters.total(live), counters.total(iter(live)))

    def test_counted_once(self) -> None:
        """A connection that ends does not change the total."""
        counters, connection = Counters(1), Ended(2, 20, 200)
        before = counters.total([connection])
        counters.add(connection)
        self.assertEqual(counters.total([]), before)

    def test_snapshot(self) -> None:
        """A snapshot does not change."""
        counters = Counters()
        taken = counters.total([])
        counters.add(Ended(1, 1, 1))
        self.assertEqual(taken, Counters())
