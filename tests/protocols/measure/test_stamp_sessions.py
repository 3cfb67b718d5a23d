"""Tests for L{socketd.protocols.measure.sequence}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.sequence import (
    EXPIRY,
    MAX_SESSIONS,
    RESTART_PAUSE,
    Sender,
    Sessions,
)


class SessionTests(SynchronousTestCase):
    """Tests for L{Sessions}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions = Sessions(self.clock.seconds)

    def of(self, key: str, sequence: int = 1) -> Sender:
        """Find a session that has a place."""
        found = self.sessions.of(key, sequence)
        assert found is not None
        return found

    def test_kept(self) -> None:
        """Each source has one, as long as it goes on in time."""
        one = self.of("one", 0)
        for _ in range(5):
            self.clock.advance(EXPIRY)
            self.assertIs(self.of("one"), one)
        self.clock.advance(EXPIRY)
        self.assertIsNot(self.of("other"), one)
        self.assertIs(self.of("one"), one)

    def test_expiry(self) -> None:
        """The state of one that was silent for too long is dropped."""
        one = self.of("one")
        self.clock.advance(EXPIRY + 1)
        self.assertIsNot(self.of("one"), one)
        self.assertEqual(len(self.sessions), 1)

    def test_restart(self) -> None:
        """A 0 after a pause begins a new session; a duplicate of 0 does not."""
        one = self.of("one", 0)
        self.clock.advance(RESTART_PAUSE)
        self.assertIs(self.of("one", 0), one)
        self.clock.advance(RESTART_PAUSE + 0.1)
        self.assertIsNot(self.of("one", 0), one)

    def test_full(self) -> None:
        """A full table ends no session, and takes a new one as soon as one has ended."""
        first = self.of("first")
        for number in range(MAX_SESSIONS - 1):
            self.clock.advance(0.01)
            self.of(f"source {number}")
        self.assertIsNone(self.sessions.of("late", 1))
        self.assertIs(self.of("first"), first)
        self.assertEqual(len(self.sessions), MAX_SESSIONS)
        self.clock.advance(EXPIRY - 0.01 * (MAX_SESSIONS - 2) + 0.005)
        self.of("late")
        self.assertEqual(len(self.sessions), MAX_SESSIONS)
        self.clock.advance(EXPIRY + 1)
        self.of("much later")
        self.assertEqual(len(self.sessions), 1)
