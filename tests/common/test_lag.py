"""Tests for L{socketd.common.lag}."""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.lag import BUCKETS, INTERVAL, Lag, LagMeter


class LagMeterTests(SynchronousTestCase):
    """Tests for L{LagMeter}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = LagMeter(self.clock)
        self.meter.startService()

    def test_service(self) -> None:
        """It is a service, which sets one timer, and takes it back when it is stopped, once."""
        verifyObject(IService, self.meter)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for _ in range(2):
            self.meter.stopService()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """
        A timer counts in the bucket of its lag, if only the last; the next one is due an interval
        after it ran.
        """
        self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL + 0.03)
        self.clock.advance(INTERVAL + 100)
        found = self.meter.lag
        expected = [0] * (len(BUCKETS) + 1)
        expected[0] = expected[BUCKETS.index(0.05)] = expected[-1] = 1
        self.assertEqual(found.counts, expected)
        self.assertAlmostEqual(found.total, 100.03)
        self.assertAlmostEqual(found.last, 100)

    def test_after(self) -> None:
        """A histogram goes on where another one has ended."""
        before, later = Lag(), Lag()
        before.note(0.0)
        before.note(7.0)
        later.note(0.5)
        both = later.after(before)
        self.assertEqual((sum(both.counts), both.total, both.last), (3, 7.5, 0.5))
