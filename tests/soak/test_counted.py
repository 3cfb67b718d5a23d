"""Tests for the census."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.soak import counted


class Marked:
    """What the test counts."""

    itself: object = None


class CensusTests(SynchronousTestCase):
    """Tests for L{tests.soak.counted}."""

    def marked(self) -> int:
        """Count the marked objects that are reachable."""
        name = f"{Marked.__module__}.{Marked.__qualname__}"
        return counted.take_collected().types.get(name, 0)

    def test_reachable(self) -> None:
        """What is reachable counts; what is not does not, also where it has itself."""
        kept = [Marked() for _ in range(10)]
        self.assertEqual(self.marked(), 10)
        for one in kept:
            one.itself = one
        del one
        kept.clear()
        self.assertEqual(self.marked(), 0)

    def test_file(self) -> None:
        """A census is read as it was written, once."""
        path = self.mktemp()
        self.assertIs(counted.read(path), None)
        counted.write(counted.Census(3, 4, {"a": 1}), path)
        self.assertEqual(counted.read(path), counted.Census(3, 4, {"a": 1}))
        self.assertIs(counted.read(path), None)
        self.assertFalse(Path(path).exists())
