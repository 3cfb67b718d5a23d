"""Tests for L{socketd.cli.transport.interface}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.transport.interface import InactivityTimer


class InactivityTimerTests(SynchronousTestCase):
    """Tests for L{InactivityTimer}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.timer = InactivityTimer(self.clock, 10, self.expire)

    def expire(self) -> None:
        self.expired.append(self.clock.seconds())

    def test_expires_once(self) -> None:
        """It calls when the time is over, and not again."""
        self.timer.start()
        self.clock.pump([9.9, 0.1, 20])
        self.assertEqual(self.expired, [10])

    def test_restarted(self) -> None:
        """Each start restarts the time, after it has expired, too."""
        self.timer.start()
        self.clock.advance(9)
        self.timer.start()
        self.clock.pump([9, 1])
        self.timer.start()
        self.clock.advance(10)
        self.assertEqual(self.expired, [19, 29])

    def test_stop(self) -> None:
        """After a stop, or two, nothing is left in the clock."""
        self.timer.start()
        self.timer.stop()
        self.timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_limit(self) -> None:
        """Zero seconds mean no limit."""
        InactivityTimer(self.clock, 0, self.expire).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
