"""The table of what is left out is exact."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.contract import test_builders, test_over_reactor
from tests.contract.left_out import LEFT_OUT
from tests.contract.reactor import names_of, row_of


class LeftOutTests(SynchronousTestCase):
    """Tests for L{LEFT_OUT}."""

    def test_exact(self) -> None:
        """Each row names a test that there is, and all others are run."""
        known, run = set(), set()
        for module in (test_builders, test_over_reactor):
            for holder in module.CLASSES:
                known |= {row_of(holder, name) for name in names_of(holder)}
            cases = module.testSuite()._tests
            run |= {row_of(type(case), case._testMethodName) for case in cases}
        self.assertEqual(LEFT_OUT.keys() - known, set())
        self.assertEqual(known - run, LEFT_OUT.keys())

    def test_names(self) -> None:
        """No two classes have the same name: one of them would not be found."""
        classes = [*test_builders.CLASSES, *test_over_reactor.CLASSES]
        twice = [name for name, count in Counter(c.__name__ for c in classes).items() if count > 1]
        self.assertEqual(twice, [])

    def test_many(self) -> None:
        """Most of them apply."""
        found = test_builders.testSuite().countTestCases()
        self.assertGreater(found, 400)
        self.assertGreater(test_over_reactor.testSuite().countTestCases(), 1000)
