"""Tests for the table of faults, and for the command that fills it in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import TestLoader, TestSuite

from twisted.trial.unittest import SynchronousTestCase

from tests.faults import figures, table

TEXT = """
| fault | promise | shown by | measured |
|---|---|---|---|
| none | rest | `a.BTests.test_c`, `a.BTests.test_d` | old |

text | with a bar
"""


def ids(module: str) -> Iterator[str]:
    """List the tests of a module by their dotted names."""
    suite: list[Any] = [TestLoader().loadTestsFromModule(import_module(module))]
    while suite:
        found = suite.pop()
        if isinstance(found, TestSuite):
            suite += found
        elif not found.id().endswith(".runTest"):
            # Twisted's TestCase has a method of that name; a base of tests has no other.
            yield found.id()


class DocumentTests(SynchronousTestCase):
    """docs/RELIABILITY.md holds."""

    def setUp(self) -> None:
        """Read it."""
        self.named = [
            f"tests.{test}"
            for row in table.rows(table.FILE.read_text(encoding="utf-8"))
            for test in row.tests
        ]

    def test_tests_are_there(self) -> None:
        """Every test that it names can be run."""
        modules = {test.rsplit(".", 2)[0] for test in self.named}
        there = {test for module in modules for test in ids(module)}
        self.assertEqual([test for test in self.named if test not in there], [])

    def test_every_test(self) -> None:
        """Every test of a fault is named in it, but for those of its own tools."""
        modules = [
            f"tests.faults.{file.stem}"
            for file in Path(__file__).parent.glob("*_*.py")
            if file.stem not in ("test_table", "test_network")
        ]
        there = {test for module in modules for test in ids(module)}
        self.assertEqual(sorted(there.difference(self.named)), [])


class TableTests(SynchronousTestCase):
    """What was measured gets into the table."""

    def test_rows(self) -> None:
        """Lines with tests are rows; the head of the table and text are none."""
        expected = table.Row("none", "rest", ("a.BTests.test_c", "a.BTests.test_d"))
        self.assertEqual(list(table.rows(TEXT)), [expected])

    def test_figures(self) -> None:
        """A row has the figures of all its tests; every other line stays as it is."""
        lines = ["tests.a.BTests.test_d\t2 s\n", "tests.a.BTests.test_c\t1 s\n"]
        renewed = table.with_figures(TEXT, figures.noted(lines))
        self.assertEqual(renewed, TEXT.replace("old", "1 s; 2 s"))

    def test_nothing_measured(self) -> None:
        """A row whose tests measured nothing says that they held."""
        self.assertEqual(table.with_figures(TEXT, {}), TEXT.replace("old", "held"))


class NoteTests(SynchronousTestCase):
    """Tests say what they measured."""

    def test_noted(self) -> None:
        """A figure goes to the file of the environment, under the name of its test."""
        file = Path(self.mktemp())
        self.patch(os, "environ", {figures.FIGURES: str(file)})
        figures.note(self, "3 KiB")
        figures.note(self, "4 KiB")
        found = figures.noted(file.read_text().splitlines())
        self.assertEqual(found, {self.id(): ["3 KiB", "4 KiB"]})
