"""Follows docs/MEASURE.md as a reader would, with the real daemon."""

from __future__ import annotations

from tests.support.needs import need
from tests.support.pages import PageCase
from tests.support.source_tree import ROOT


class MeasurePageTests(PageCase):
    """docs/MEASURE.md holds."""

    def test_followed(self) -> None:
        """Each command of it does what it shows, with the netcat and the socat of the machine."""
        need("nc.openbsd", "socat")
        self.follow(ROOT / "docs" / "MEASURE.md")
        self.assertEqual(set(self.ports), {"udp7007", "7009", "7019"})
