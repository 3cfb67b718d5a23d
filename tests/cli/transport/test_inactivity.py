"""Tests for L{socketd.cli.transport.inactivity}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.transport.inactivity import Silence


class SilenceTests(SynchronousTestCase):
    """Tests for L{Silence}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.silence = Silence(self.clock, 10, self.expire)

    def expire(self) -> None:
        """Note when the timer called."""
        self.expired.append(self.clock.seconds())

    def test_expires_once(self) -> None:
        """It calls when the time is over, and not again."""
        self.silence.start()
        self.clock.pump([9.9, 0.1, 20])
        self.assertEqual(self.expired, [10])

    def test_starts_anew(self) -> None:
        """Each start begins the time anew, also after it was over."""
        self.silence.start()
        self.clock.advance(9)
        self.silence.start()
        self.clock.pump([9, 1])
        self.silence.start()
        self.clock.advance(10)
        self.assertEqual(self.expired, [19, 29])

    def test_stop(self) -> None:
        """After a stop, or two, nothing is left in the clock."""
        self.silence.start()
        self.silence.stop()
        self.silence.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_for_ever(self) -> None:
        """No seconds stand for no limit."""
        Silence(self.clock, 0, self.expire).start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
