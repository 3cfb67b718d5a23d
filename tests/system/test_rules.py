"""Follows docs/RULES.md as a reader would: rules on real sockets."""

from __future__ import annotations

from tests.support.pages import PageCase
from tests.support.source_tree import ROOT


class PageTests(PageCase):
    """docs/RULES.md holds."""

    def test_followed(self) -> None:
        """Each command of it does what it shows."""
        self.follow(ROOT / "docs" / "RULES.md")
        self.assertEqual(set(self.ports), {"7023", "udp7024"})
