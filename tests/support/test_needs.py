"""Tests for what the tests do where something is missing, and for what they say then."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.figures import FIGURES
from tests.interop.table import CLIENTS, PORT_123_QUERIES, QUERIES
from tests.support import needs
from tests.support.source_tree import ROOT
from tests.support.summary import summarise

TESTS = ROOT / "tests"

#: How a thread is made.
THREAD = ("Thread", "threading.Thread")

#: A command or file that a test asks for by a literal.
ASKED = re.compile(r'(?:need|locate)\("([\w./-]+)"\)')


class NeedTests(SynchronousTestCase):
    """Tests for L{needs}."""

    def setUp(self) -> None:
        self.patch(needs, "PLACES", self.mktemp())
        self.patch(os, "environ", {})

    def test_missing(self) -> None:
        """What is missing is said with the packages that have it."""
        problem = self.assertRaises(SkipTest, needs.need, "chronyd", "ntpdig", "strace")
        expected = "needs chronyd, ntpdig, strace: apt-get install chrony ntpsec-ntpdig strace"
        self.assertEqual(str(problem), expected)
        problem = self.assertRaises(SkipTest, needs.locate, "ip")
        self.assertEqual(str(problem), "needs ip: apt-get install iproute2")

    def test_there(self) -> None:
        """What is there is found, a file by its absolute path, too."""
        place, name = os.path.split(sys.executable)
        self.patch(needs, "PLACES", place)
        self.assertEqual(needs.locate(name), sys.executable)
        self.assertEqual(needs.locate(sys.executable), sys.executable)

    def test_right(self) -> None:
        """A right is missing where what tries it fails, and its complaint is told."""
        needs.need_right("a namespace", "/bin/sh", "-c", "exit 0")
        for command, complaint in (
            (("/bin/sh", "-c", "echo not you >&2; exit 1"), "not you"),
            (("/nonexistent/unshare",), "No such file"),
        ):
            problem = self.assertRaises(SkipTest, needs.need_right, "a namespace", *command)
            self.assertRegex(str(problem), f"^needs a namespace: run it as root, .*{complaint}")

    def test_measured(self) -> None:
        """Where all faults are measured it is a failure."""
        self.patch(os, "environ", {FIGURES: "somewhere"})
        self.assertRaises(AssertionError, needs.need, "strace")


class PackagesTests(SynchronousTestCase):
    """Tests for the list of packages."""

    def test_complete(self) -> None:
        """
        The list has what the tests ask for and the clients of the table, and nothing that is
        named nowhere.
        """
        others = [path for path in TESTS.rglob("*.py") if path != Path(__file__)]
        text = "\n".join(path.read_text(encoding="utf-8") for path in others)
        clients = {one.name for one in (*CLIENTS, *QUERIES, *PORT_123_QUERIES)}
        listed = needs.packages()
        self.assertLessEqual({*ASKED.findall(text), *needs.COMPILING, *clients}, set(listed))
        unused = [name for name in listed if os.path.basename(name) not in text]
        self.assertEqual(unused, [])


class SummaryTests(SynchronousTestCase):
    """Tests for L{summarise}."""

    def test_skipped(self) -> None:
        """All packages are in one command, and each other reason is told once."""
        lines = [
            "needs cc, /usr/include/stdio.h: apt-get install gcc libc6-dev",
            "needs strace: apt-get install strace",
            "needs cc: apt-get install gcc",
            "needs IPv6: the machine has no ::1",
            "needs IPv6: the machine has no ::1",
            "PASSED (skips=5, successes=3)",
        ]
        expected = [
            "5 skipped. To run them: apt-get install gcc libc6-dev strace",
            "    needs IPv6: the machine has no ::1",
        ]
        self.assertEqual(summarise(lines), expected)
        lines[-1] = "FAILED (skips=5, failures=1)"
        self.assertEqual(summarise(lines), expected)

    def test_rights_only(self) -> None:
        """What no package has is not to be installed."""
        lines = ["needs IPv6: the machine has no ::1", "PASSED (skips=1, successes=3)"]
        expected = ["1 skipped.", "    needs IPv6: the machine has no ::1"]
        self.assertEqual(summarise(lines), expected)

    def test_none(self) -> None:
        """Where no test was skipped there is nothing to say."""
        self.assertEqual(summarise(["PASSED (successes=3)"]), [])


class ThreadsTests(SynchronousTestCase):
    """Tests for the threads that tests start."""

    def test_daemons(self) -> None:
        """None keeps Python from its end, should nothing wake it."""
        for module in TESTS.rglob("*.py"):
            text = module.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "Thread(" in text else ():
                if isinstance(node, ast.Call) and ast.unparse(node.func) in THREAD:
                    self.assertIn("daemon", [one.arg for one in node.keywords], module)
