"""Follows the pages of docs/howto/ as a reader would, with the real daemon."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.needs import need
from tests.support.pages import PageCase, blocks
from tests.support.source_tree import ROOT

PAGES = ROOT / "docs" / "howto"

#: A link of the index to a page beside it.
LINKED = re.compile(r"\]\(([\w-]+\.md)\)")


class HowToTests(PageCase):
    """Each page holds: every command of it does what it shows."""

    def go(self, name: str, *ports: str) -> None:
        """Follow a page, and expect it to serve at these ports."""
        self.follow(PAGES / f"{name}.md")
        self.assertEqual(set(self.ports), set(ports))

    def test_index(self) -> None:
        """The index has each page, and each with a console has its test."""
        files = {page.name: page for page in PAGES.glob("*.md")}
        listed = LINKED.findall((PAGES / "index.md").read_text())
        self.assertEqual(sorted([*listed, "index.md"]), sorted(files))
        shown = {name for name, page in files.items() if has_console(page)}
        tests = {name.removeprefix("test_").replace("_", "-") for name in dir(self)}
        self.assertLessEqual({Path(name).stem for name in shown}, tests)

    def test_balancer(self) -> None:
        """A backend that fails on demand."""
        need("curl")
        self.go("balancer", "7055", "7001")

    def test_control_socket(self) -> None:
        """A socket for operators."""
        self.go("control-socket", "7001")

    def test_device(self) -> None:
        """A device by rules."""
        self.go("device", "7023")

    def test_firewall(self) -> None:
        """Who is there behind the rule."""
        self.go("firewall", "7000", "udp7000", "7001", "7002", "udp7003")

    def test_internet(self) -> None:
        """The file for port 7 is right."""
        self.go("internet")

    def test_measure(self) -> None:
        """A reflector, and its sender."""
        self.go("measure", "udp7062")

    def test_ntp(self) -> None:
        """A server for firmware."""
        self.go("ntp", "udp7010")

    def test_prometheus(self) -> None:
        """Figures of a client."""
        need("curl")
        self.go("prometheus", "7055", "7007")

    def test_proxies(self) -> None:
        """A PROXY header by hand."""
        self.go("proxies", "7008")

    def test_troubleshoot(self) -> None:
        """What is asked first."""
        self.go("troubleshoot", "7007", "udp7007")

    def test_xinetd(self) -> None:
        """A file of xinetd is converted."""
        self.go("xinetd")


def has_console(page: Path) -> bool:
    """Say whether a page shows commands."""
    return any(block.language == "console" for block in blocks(page.read_text()))
