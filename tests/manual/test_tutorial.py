"""Follows README.md, the guide and the tutorial as a reader would, with the real daemon."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.pages import PageCase, commands, pattern
from tests.support.source_tree import ROOT


class PatternTests(SynchronousTestCase):
    """What is shown is compared, but for the dots."""

    def test_dots(self) -> None:
        """Dots stand for a part of a line or for lines, and for nothing more."""
        self.assertRegex("up 3 s, one\n", rf"\A{pattern('up ... s, one')}\s*\Z")
        for shown in ("a\n...", "...\nc", "a\n...\nc"):
            self.assertRegex("a\nb\nb\nc", rf"\A{pattern(shown)}\Z")
        self.assertNotRegex("a\nb", rf"\A{pattern('a...')}\Z")
        self.assertNotRegex("axb", rf"\A{pattern('a.b')}\Z")

    def test_commands(self) -> None:
        """Each command has the lines behind it, and no others."""
        found = list(commands("$ one\n1\n2\n$ two\n"))
        self.assertEqual(found, [("one", "1\n2\n"), ("two", "")])


class TutorialTests(PageCase):
    """The tutorial holds."""

    def test_followed(self) -> None:
        """
        Each command of it does what it shows, in the order of the page, and the daemon
        ends in good order.
        """
        self.follow(ROOT / "docs" / "tutorial.md")
        expected = {"7000", "7001", "7002", "7003", "udp7004", "7005", "7006"}
        self.assertEqual(set(self.ports), expected)

    def test_readme(self) -> None:
        """So does each of README, but for the clone (tests/machine/with_bare.py)."""
        self.follow(ROOT / "README.md")
        self.assertEqual(set(self.ports), {"12345", "udp12345", "8080"})

    def test_guide(self) -> None:
        """So does each of the guide, but for the installation."""
        self.follow(ROOT / "docs" / "guide.md")
        self.assertEqual(set(self.ports), {"7009", "udp7010", "7043"})

    def test_status_page(self) -> None:
        """And that of the status page."""
        self.follow(ROOT / "docs" / "status-page.md")
        self.assertEqual(set(self.ports), {"7055", "7007"})
