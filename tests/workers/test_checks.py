"""Tests for L{socketd.workers.checks}."""

from __future__ import annotations

from math import inf, nan
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import CONNECTION_MADE
from socketd.workers import checks
from socketd.workers.checks import MAX_COUNT
from socketd.workers.link import Malformed
from socketd.workers.relay import MASTERS

#: What its line shows.
FACTS = {"peer": "192.0.2.1:7", "service": "echo", "connection": 3}


class CheckTests(SynchronousTestCase):
    """Tests for the checks of values."""

    def check_refused(self, check: Any, said: str, *values: Any) -> None:
        """See that none of some values is taken, and what is said of it."""
        for value in values:
            problem = self.assertRaises(Malformed, check, value)
            self.assertEqual(str(problem), said, ascii(value))

    def test_count(self) -> None:
        """A count is a whole number from a least one on, up to more than any becomes."""
        for good in (0, 1, MAX_COUNT - 1):
            self.assertEqual(checks.count(good), good)
        self.assertEqual((checks.count(1, 1), checks.count(-1, -1)), (1, -1))
        said = "it told what is no count"
        self.check_refused(checks.count, said, -1, MAX_COUNT, 1.0, True, "1", None, [1])
        self.check_refused(lambda value: checks.count(value, 1), said, 0, -1)

    def test_number(self) -> None:
        """Seconds are any number that is not too far from 0 on either side."""
        for good in (0, -1.5, 7, MAX_COUNT - 1, 1 - MAX_COUNT):
            self.assertEqual(checks.number(good), good)
        bad = (MAX_COUNT, -MAX_COUNT, inf, -inf, nan, False, "1", None)
        self.check_refused(checks.number, "it told what is no number", *bad)

    def test_text(self) -> None:
        """A text is one line without control characters."""
        self.assertEqual(checks.text("grüße"), "grüße")
        self.assertTrue(checks.text("a\n\x1b[2J\u202e").isprintable())
        self.check_refused(checks.text, "it told what is no text", 1, None, b"a", ["a"])

    def test_value(self) -> None:
        """What is shown is a number, a truth, nothing, or a text."""
        for good in (1, 1.5, True, None, "a"):
            self.assertIs(checks.value(good), good)
        self.check_refused(checks.value, "it told what is no text", [1], {}, b"a")
        # No JSON has these.
        self.check_refused(checks.value, "it told what is no number", inf, nan)


class EventTests(SynchronousTestCase):
    """Tests for L{checks.event}."""

    def test_known(self) -> None:
        """An event of the catalogue comes with its facts."""
        found = checks.event(CONNECTION_MADE.name, dict(FACTS))
        self.assertEqual(found, (CONNECTION_MADE, FACTS))

    def test_failure(self) -> None:
        """A traceback is taken as visible text, its lines too, and is no fact of the line."""
        event, facts = checks.event(CONNECTION_MADE.name, FACTS | {"log_failure": "a\n\x1b[2Jb"})
        told = facts.pop("log_failure").getTraceback()
        self.assertEqual((event, facts), (CONNECTION_MADE, FACTS))
        self.assertEqual(told.split("\n")[0], "a")
        self.assertNotIn("\x1b", told)
        self.assertTrue(told.endswith("b"))

    def test_refused(self) -> None:
        """No event of a worker is one that is not known, is the master's, or has no facts."""
        said = "it told what is no event of a worker"
        cases: tuple[tuple[Any, Any], ...] = (
            ("unheard", FACTS), (CONNECTION_MADE.name, None), (CONNECTION_MADE.name, [1]),
            *((event.name, {}) for event in MASTERS),
        )  # fmt: skip
        for name, facts in cases:
            problem = self.assertRaises(Malformed, checks.event, name, facts)
            self.assertEqual(str(problem), said, name)

    def test_facts(self) -> None:
        """Its line can be written with its facts, each of which is fit for it."""
        few = {"peer": "192.0.2.1:7"}
        problem = self.assertRaises(Malformed, checks.event, CONNECTION_MADE.name, few)
        self.assertEqual(str(problem), f"it told {CONNECTION_MADE.name} without its facts")
        for bad in ([1], {"a": 1}):
            facts = FACTS | {"peer": bad}
            self.assertRaises(Malformed, checks.event, CONNECTION_MADE.name, facts)
        self.assertRaises(Malformed, checks.event, 7, FACTS)
