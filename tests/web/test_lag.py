"""Tests for L{socketd.web.lag}."""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.web.lag import BUCKETS, INTERVAL, LagMeter


class LagMeterTests(SynchronousTestCase):
    """Tests for L{LagMeter}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.meter = LagMeter(self.clock)
        self.meter.startService()

    def samples(self) -> dict[str, float]:
        """Collect: the count of each bucket, and the sum."""
        (family,) = self.meter.collect()
        return {s.labels.get("le", s.name.rpartition("_")[2]): s.value for s in family.samples}

    def test_service(self) -> None:
        """It is a service, which sets one timer, and takes it back when it is stopped."""
        verifyObject(IService, self.meter)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.meter.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_yet(self) -> None:
        """All buckets are there from the beginning."""
        found = self.samples()
        self.assertEqual(len(found), len(BUCKETS) + 3)
        self.assertEqual(set(found.values()), {0})

    def test_late(self) -> None:
        """
        A timer counts in every bucket that it is not too late for; the next one is due
        an interval after it ran.
        """
        self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL + 0.03)
        self.clock.advance(INTERVAL + 100)
        found = self.samples()
        self.assertEqual(
            [found[name] for name in ("0.001", "0.025", "0.05", "5.0", "+Inf", "count")],
            [1, 1, 2, 2, 3, 3],
        )
        self.assertAlmostEqual(found["sum"], 100.03)
