"""
Tests for L{socketd.common.counters}.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.counters import Tally


@attrs.define
class Ended:
    """
    A connection, as far as its counts go.
    """

    messages_received: int
    bytes_received: int
    bytes_sent: int


class TallyTests(SynchronousTestCase):
    """
    Tests for L{Tally}.
    """

    def test_zero(self) -> None:
        """
        A service that has started has done nothing.
        """
        self.assertFalse(any(attrs.asdict(Tally()).values()))

    def test_add(self) -> None:
        """
        The counts of connections that end are added up, and no other count.
        """
        tally = Tally(connections=2, datagrams_sent=5)
        tally.add(Ended(1, 20, 300))
        tally.add(Ended(4, 50, 600))
        expected = Tally(2, messages_received=5, bytes_received=70, bytes_sent=900)
        self.assertEqual(tally, attrs.evolve(expected, datagrams_sent=5))

    def test_total(self) -> None:
        """
        A snapshot counts the live connections in; the tally itself does not.
        """
        tally = Tally(3, 1, 10, 100, 7, 6, 1, 2)
        live = [Ended(2, 20, 200), Ended(3, 30, 300)]
        self.assertEqual(tally.total(live), Tally(3, 6, 60, 600, 7, 6, 1, 2))
        self.assertEqual(tally, Tally(3, 1, 10, 100, 7, 6, 1, 2))
        self.assertEqual(tally.total(live), tally.total(iter(live)))

    def test_counted_once(self) -> None:
        """
        A connection that ends changes no total: what it counted moves over.
        """
        tally, connection = Tally(1), Ended(2, 20, 200)
        before = tally.total([connection])
        tally.add(connection)
        self.assertEqual(tally.total([]), before)

    def test_snapshot(self) -> None:
        """
        A snapshot stays as it is.
        """
        tally = Tally()
        taken = tally.total([])
        tally.add(Ended(1, 1, 1))
        self.assertEqual(taken, Tally())
