"""Tests of L{socketd.net.stream.states}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.stream.states import (
    ABORT,
    ABORTING,
    CLOSE,
    CLOSED,
    CLOSING,
    END_HANDLED,
    END_OF_INPUT,
    END_OUTPUT,
    LINGER,
    LINGERING,
    LOST,
    NEW,
    READ_ENDED,
    SHUT_DOWN,
    WRITE_SHUT,
    Event,
    StreamState,
)

EVENTS = (END_OF_INPUT, END_HANDLED, END_OUTPUT, SHUT_DOWN, CLOSE, LINGER, ABORT, LOST)


def after(*events: Event) -> StreamState:
    """Let events happen to a new connection."""
    state = NEW
    for event in events:
        state = event[state]
    return state


def reachable() -> set[StreamState]:
    """List all states that a connection can come to."""
    found, fresh = {NEW}, [NEW]
    while fresh:
        state = fresh.pop()
        following = {event[state] for event in EVENTS} - found
        found |= following
        fresh += following
    return found


class StateTests(SynchronousTestCase):
    """Tests for the table of transitions."""

    def test_close(self) -> None:
        """A close sends what is left, then discards input, and is the end with the EOF."""
        self.assertEqual(after(CLOSE).phase, CLOSING)
        self.assertTrue(after(CLOSE).takes_output and after(CLOSE).ends_output)
        lingering = after(CLOSE, SHUT_DOWN, LINGER)
        self.assertEqual((lingering.phase, lingering.takes_output), (LINGERING, False))
        self.assertEqual(LOST[lingering].phase, CLOSED)

    def test_half_close(self) -> None:
        """Each side can end by itself, in any order."""
        ways = ((END_OF_INPUT, END_HANDLED), (END_OUTPUT, SHUT_DOWN))
        both = after(*ways[0], *ways[1])
        self.assertIs(after(*ways[1], *ways[0]), both)
        self.assertEqual((both.read_side, both.write_side), (READ_ENDED, WRITE_SHUT))
        self.assertTrue(both.is_alive and not both.is_closing)

    def test_ends(self) -> None:
        """
        No event leads back, and a connection that is to be reset, or is gone, neither reads nor
        writes, and only ends.
        """
        for state in reachable():
            for event in EVENTS:
                self.assertGreaterEqual(event[state].phase, state.phase)
                self.assertGreaterEqual(event[state].read_side, state.read_side)
                self.assertGreaterEqual(event[state].write_side, state.write_side)
                self.assertIs(event[event[state]], event[state])
            self.assertEqual(LOST[state].phase, CLOSED)
            if not state.is_alive:
                self.assertEqual((state.read_side, state.write_side), (READ_ENDED, WRITE_SHUT))
                self.assertEqual({event[state].phase for event in EVENTS}, {state.phase, CLOSED})

    def test_abort(self) -> None:
        """Whatever is alive can be reset, once."""
        for state in reachable():
            self.assertEqual(ABORT[state] is not state, state.is_alive)
            self.assertEqual(ABORT[state].phase == ABORTING, state.phase != CLOSED)
