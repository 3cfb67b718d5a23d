"""Tests of what README.md and docs/ say against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from unittest import TestLoader, TestSuite

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.main import subcommands
from socketd.common.commands import COMMANDS
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from tests.machine.with_bare import FIRST, ONE_USER, PACKAGE, parts
from tests.support.pages import blocks
from tests.support.source_tree import ROOT

README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()

#: A test as documents cite it: C{file.py Class.test}, or the name below C{tests}.
CITED = re.compile(r"`(?:tests/([\w/]+)\.py |([a-z_.]+)\.)?([A-Z]\w+\.test_\w+)`")


@cache
def tests_of(module: str) -> set[str]:
    """List the tests of a module by their dotted names."""
    found, suites = set(), [TestLoader().loadTestsFromModule(import_module(module))]
    while suites:
        for one in suites.pop():
            if isinstance(one, TestSuite):
                suites.append(one)
            else:
                found.add(one.id())
    return found


def cited(text: str) -> Iterator[str]:
    """List the tests that a document cites; one without a module is of the last one's."""
    module = ""
    for path, name, test in CITED.findall(text):
        module = f"tests.{path.replace('/', '.') or name}" if path or name else module
        yield f"{module}.{test}"


class GuideTests(SynchronousTestCase):
    """README.md and docs/guide.md hold."""

    def test_configurations(self) -> None:
        """Every configuration in it can be used, but for the one whose complaints it shows."""
        texts = [block.text for block in blocks(GUIDE) if block.language == "ini"]
        names = [
            [service.name for service in parse(text, "guide.md", installed(), "/run").services]
            for text in texts
            if not text.startswith("; broken.ini\n")
        ]
        echo = ["echo"]
        self.assertEqual(names, [["echo", "greeter"], echo, echo, echo, echo, echo])

    def test_blocks(self) -> None:
        """
        Each block of them is run by a test: the consoles and logs by
        L{tests.manual.test_tutorial}, the commands for a shell on a machine of their own;
        configurations are checked here.
        """
        fences = re.findall(r"^```(.*)$", README + GUIDE, re.MULTILINE)
        self.assertEqual(set(fences[::2]), {"sh", "console", "log", "ini"})
        self.assertEqual(set(fences[1::2]), {""})
        self.assertEqual(set(parts()), {FIRST, PACKAGE, ONE_USER})

    def test_protocols(self) -> None:
        """The table of protocols has every one, and no other."""
        table = GUIDE.partition("## What it serves")[2].partition("\n\n")[0]
        named = re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)
        self.assertEqual(sorted(named), sorted(installed()))

    def test_commands(self) -> None:
        """It names every subcommand, and every command of the console but help itself."""
        for name in subcommands():
            self.assertIn(f"`socketd {name}", GUIDE)
        console = GUIDE.partition("At the console")[2].partition("\n\n")[0].replace("\n", " ")
        for command in COMMANDS.values():
            self.assertIn(f"`{command.usage}`", console)


class CitationTests(SynchronousTestCase):
    """The tests that documents cite show what these promise."""

    def test_there(self) -> None:
        """Each of them can be run, and each file is there."""
        texts = [page.read_text() for page in (ROOT / "docs").rglob("*.md")]
        names = [name for text in texts for name in cited(text)]
        for file in re.findall(r"`(tests/[\w/]+\.py)\b", "".join(texts)):
            self.assertTrue((ROOT / file).exists(), file)
        self.assertGreater(len(names), 100)
        missing = [name for name in names if name not in tests_of(name.rsplit(".", 2)[0])]
        self.assertEqual(missing, [])

    def test_every_fault(self) -> None:
        """Each test of a fault is in docs/RELIABILITY.md, but for those of the network itself."""
        files = (ROOT / "tests" / "chaos").glob("*_*.py")
        modules = [f"tests.chaos.{file.stem}" for file in files if file.stem != "test_netem"]
        tests = {name for module in modules for name in tests_of(module)}
        named = set(cited((ROOT / "docs" / "RELIABILITY.md").read_text()))
        # Twisted's TestCase has a method of that name; a base of tests has no other.
        self.assertEqual({n for n in tests - named if not n.endswith(".runTest")}, set())
