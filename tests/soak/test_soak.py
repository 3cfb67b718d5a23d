"""A whole soak, of a few seconds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.__main__ import SECONDS, parse
from tests.soak.running import Plan, Soak


class SoakTests(SynchronousTestCase):
    """Tests for L{tests.soak.running.Soak}."""

    def test_arguments(self) -> None:
        """How long, from which seed and with how many workers can be said."""
        self.assertEqual(parse(["--seconds=5", "--seed=7", "--workers=2"]), Plan(5.0, 7, 2))
        self.assertEqual(parse([]).seconds, SECONDS)
        self.assertNotEqual(parse([]).seed, parse([]).seed)

    def test_seconds(self) -> None:
        """
        Every kind of load and of short faults was there, all counters fit, and the daemon
        holds what it held.
        """
        self.check(Plan(1.0, 1))

    def test_workers(self) -> None:
        """So it is with workers."""
        self.check(Plan(1.0, 1, workers=2))

    def check(self, plan: Plan) -> None:
        """Run a soak that has to be good."""
        with TemporaryDirectory(prefix="soak-") as made:
            soak = Soak(plan, Path(made))
            is_good = soak.run()
        self.assertTrue(is_good, soak.summary())
        self.assertIn("\nstopped for a moment", soak.summary())
        assert soak.before is not None and soak.after is not None
        self.assertEqual(soak.before.descriptors, soak.after.descriptors)
