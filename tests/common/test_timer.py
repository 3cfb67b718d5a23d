"""Tests for L{socketd.common.timer}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.timer import Timer


class TimerTests(SynchronousTestCase):
    """Tests for L{Timer}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.timer = Timer(self.clock)
        self.called: list[tuple[str, bool]] = []

    def call(self, name: str) -> None:
        """Note a call, and whether the timer says that it is still to come."""
        self.called.append((name, self.timer.is_running))

    def test_call(self) -> None:
        """The function is called once, with its arguments, when the timer no longer runs."""
        self.assertFalse(self.timer.is_running)
        self.timer.start(2, self.call, "a")
        self.clock.advance(1)
        self.assertEqual((self.timer.is_running, self.called), (True, []))
        self.clock.pump([1, 5])
        self.assertEqual((self.timer.is_running, self.called), (False, [("a", False)]))

    def test_again(self) -> None:
        """To start it again, while it runs or later, is to stop it before."""
        self.timer.start(2, self.call, "a")
        self.timer.start(3, self.call, "b")
        self.clock.pump([2, 1])
        self.timer.start(1, self.call, "c")
        self.clock.advance(1)
        self.assertEqual(self.called, [("b", False), ("c", False)])

    def test_stop(self) -> None:
        """What is stopped is not called, and leaves nothing; to stop it again does nothing."""
        self.timer.start(2, self.call, "a")
        for _ in range(2):
            self.timer.stop()
            self.assertFalse(self.timer.is_running)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.timer.start(0, self.call, "b")
        self.clock.advance(0)
        self.timer.stop()
        self.assertEqual(self.called, [("b", False)])
