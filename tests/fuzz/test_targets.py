"""A short run of every target, always with the same inputs; C{make fuzz} takes longer."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import targets
from tests.fuzz.running import Profile, replay, seeds, shares, spend, try_target
from tests.fuzz.shapes import CORPUS, SHAPES
from tests.fuzz.targets import TARGETS

SHORT = Profile(examples=40)

#: A seed is one case; a longer one is more than that.
MAX_SEED = 4096


def fail(*arguments: object) -> None:
    """Raise what no caller expects."""
    raise KeyError("any")


class TargetTests(SynchronousTestCase):
    """Tests for what takes bytes from others."""

    def test_every_target(self) -> None:
        """Each target has its shapes, and a corpus of short files."""
        self.assertEqual(set(SHAPES), set(TARGETS))
        self.assertEqual({path.name for path in CORPUS.iterdir()}, set(TARGETS))
        for name in TARGETS:
            sizes = [len(data) for _, data in seeds(name)]
            self.assertTrue(sizes and max(sizes) <= MAX_SEED, name)

    def test_promises(self) -> None:
        """What each target promises (L{tests.fuzz.targets}) holds for its corpus and others."""
        for name in TARGETS:
            replay(name)
            try:
                try_target(name, SHORT)
            except BaseException as problem:
                problem.add_note(f"of the target {name}")
                raise


class BrokenTests(SynchronousTestCase):
    """Tests for the targets themselves: a broken promise is found."""

    def assert_found(self, name: str, what: str, broken: Any) -> None:
        """Break something that a target calls, and see that its corpus shows it."""
        with mock.patch.object(targets, what, broken):
            self.assertRaises(Exception, replay, name)

    def test_found(self) -> None:
        """
        An unprintable line, a short answer, a traceback in place of a complaint, a text of
        no end and messages of the wrong order are found by the corpus alone.
        """
        self.assert_found("escaped", "escaped", lambda data: "\n")
        self.assert_found("ntp", "answer", lambda *arguments: bytes(47))
        self.assert_found("ini", "read_file", fail)
        self.assert_found("console", "error_answer", lambda problem: {})
        self.assert_found("quotes", "parse_quotes", lambda path: (b"x" * 513,))
        self.assert_found("networks", "parse_networks", fail)
        self.assert_found("numbers", "_KINDS", (lambda text: -1.0,))
        self.assert_found("certificates", "names_of", fail)
        self.assert_found("reload", "differences", lambda old, new: ("\x1b",))
        self.assert_found("import", "write", lambda *arguments: "[x]\n")
        self.assert_found("framing", "Chunks", lambda most: mock.Mock(feed=lambda data: [b"x"]))

    def test_named(self) -> None:
        """A failure names the file, or the seed that shows it again."""
        with mock.patch.dict(TARGETS, escaped=fail):
            failed = self.assertRaises(KeyError, replay, "escaped")
        self.assertIn("corpus/escaped/", failed.__notes__[0])

        def check_new(data: bytes) -> None:
            assert not data

        with mock.patch.dict(TARGETS, escaped=check_new), mock.patch(
            "tests.fuzz.running.replay"
        ):
            problem = self.assertRaises(AssertionError, spend, "escaped", 60.0, 7)
        self.assertIn("--only escaped --seed 7", " ".join(problem.__notes__))

    def test_time(self) -> None:
        """Time is shared out: each round has the next seed, until it is over."""
        times = shares(["streams", "ntp", "ini"], 12.0)
        self.assertEqual(times, {"streams": 8.0, "ntp": 2.0, "ini": 2.0})
        with mock.patch("tests.fuzz.running.try_part") as tried:
            readings = iter([0.0, 0.0, 1.0, 2.0])
            self.assertEqual(spend("streams", 2.0, 5, lambda: next(readings)), 400)
        self.assertEqual([call.args[1].seed for call in tried.call_args_list], [5, 6])
