"""A short run of every target, always with the same inputs; C{make fuzz} takes longer."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz import targets
from tests.fuzz.running import Profile, replay, seeds, shares, spend, try_target
from tests.fuzz.shapes import CORPUS, SHAPES
from tests.fuzz.targets import TARGETS, Target

SHORT = Profile(examples=40)

#: A seed is one case; a longer one is more than that.
MAX_SEED = 4096


def fail(*arguments: object) -> None:
    """Raise what no caller expects."""
    raise KeyError("any")


class TargetTests(SynchronousTestCase):
    """Tests for what takes bytes from others."""

    def check(self, name: str) -> None:
        """Try a target with its corpus, and with new inputs."""
        replay(TARGETS[name])
        try_target(TARGETS[name], SHORT)

    def test_every_target(self) -> None:
        """Each target has a test here, its shapes, and a corpus of short files."""
        names = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(names - {"every_target"}, set(TARGETS))
        self.assertEqual(set(SHAPES), set(TARGETS))
        self.assertEqual({path.name for path in CORPUS.iterdir()}, set(TARGETS))
        for target in TARGETS.values():
            sizes = [len(data) for _, data in seeds(target)]
            self.assertTrue(sizes and max(sizes) <= MAX_SEED, target.name)

    def test_ini(self) -> None:
        """Any file is a configuration, or each complaint is one printable line that names it."""
        self.check("ini")

    def test_reload(self) -> None:
        """From any configuration to any other the changes are told in lines."""
        self.check("reload")

    def test_listen(self) -> None:
        """Any text is a listener that can be bound or refused, or is refused at once."""
        self.check("listen")

    def test_import(self) -> None:
        """Any file of a super-server becomes a configuration that loads, whatever its case."""
        self.check("import")

    def test_networks(self) -> None:
        """Any text is networks that hold their own addresses, or refused."""
        self.check("networks")

    def test_numbers(self) -> None:
        """Any text is a finite duration, rate or size, or refused."""
        self.check("numbers")

    def test_values(self) -> None:
        """Any text is a value of each option, or refused with a sentence."""
        self.check("values")

    def test_ntp(self) -> None:
        """Any packet is answered with 48 bytes that its sender can believe, or not at all."""
        self.check("ntp")

    def test_proxy(self) -> None:
        """Any bytes are the same header, or the same error, however they are cut."""
        self.check("proxy")

    def test_escaped(self) -> None:
        """Any bytes become one printable line of a bounded length."""
        self.check("escaped")

    def test_control_messages(self) -> None:
        """Anything beside a datagram is taken apart without an error."""
        self.check("control_messages")

    def test_framing(self) -> None:
        """Messages are what came, in order, none too long, however it is cut."""
        self.check("framing")

    def test_answers(self) -> None:
        """A peer that sends many short messages and reads nothing fills no memory."""
        self.check("answers")

    def test_quotes(self) -> None:
        """Any file holds quotes that fit, or is complained of."""
        self.check("quotes")

    def test_certificates(self) -> None:
        """Any file is certificates and a key, or refused with a line for each option."""
        self.check("certificates")

    def test_keys(self) -> None:
        """Whatever is typed while clients come and go, words go where the prompt says."""
        self.check("keys")

    def test_daemon(self) -> None:
        """Whatever a daemon says, a console shows it or says that it is none."""
        self.check("daemon")

    def test_console(self) -> None:
        """Any line of an operator has a reply, or a refusal of one line."""
        self.check("console")


class BrokenTests(SynchronousTestCase):
    """Tests for the targets themselves: a broken promise is found."""

    def assert_found(self, name: str, what: str, broken: Any) -> None:
        """Break something that a target calls, and see that its corpus shows it."""
        with mock.patch.object(targets, what, broken):
            self.assertRaises(Exception, replay, TARGETS[name])

    def test_found(self) -> None:
        """
        An unprintable line, a short answer, a traceback in place of a complaint, a text of
        no end and messages of the wrong order are found by the corpus alone.
        """
        self.assert_found("escaped", "escaped", lambda data: "\n")
        self.assert_found("ntp", "answer", lambda *arguments: bytes(47))
        self.assert_found("ini", "load", fail)
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
        def check(data: bytes) -> None:
            raise ValueError

        failed = self.assertRaises(ValueError, replay, Target("escaped", check))
        self.assertIn("corpus/escaped/", failed.__notes__[0])

        def check_new(data: bytes) -> None:
            assert not data

        broken = {"escaped": Target("escaped", check_new)}
        with mock.patch.dict(TARGETS, broken), mock.patch("tests.fuzz.running.replay"):
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
