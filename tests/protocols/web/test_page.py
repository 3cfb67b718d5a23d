"""Tests of docs/HTTP.md against the code; L{tests.interop.with_http} follows its examples."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.registry import installed
from socketd.protocols.web.answers import REASONS
from socketd.protocols.web.options import HttpOptions
from socketd.protocols.web.paths import PATHS
from socketd.settings.load import parse
from socketd.settings.options import declared
from tests.protocols.web.autobahn import cases
from tests.support.pages import blocks, chapter
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "HTTP.md").read_text()


def rows(heading: str) -> list[str]:
    """List what stands first in the rows of a chapter's table."""
    return re.findall(r"^\| `([^`]+)`", chapter(PAGE, heading), re.MULTILINE)


class PageTests(SynchronousTestCase):
    """docs/HTTP.md holds."""

    def test_paths(self) -> None:
        """It has every path as it is written, in order, and no other."""
        self.assertEqual(rows("Paths"), [path.usage for path in PATHS.values()])

    def test_reasons(self) -> None:
        """It has every reason, in order, and no other."""
        self.assertEqual(rows("Requests that are wrong"), list(REASONS))

    def test_bounds(self) -> None:
        """It has every option that is a bound."""
        options = [name for name in declared(HttpOptions) if re.match("max_|request_", name)]
        self.assertEqual(sorted(rows("Bounds")), sorted(options))

    def test_autobahn(self) -> None:
        """Its list of cases is that of the tests."""
        listed = [
            f"{section}{number}"
            for section, first, last in re.findall(r"\b(\d+\.(?:\d+\.)?)(\d+)-(\d+)", PAGE)
            for number in range(int(first), int(last) + 1)
        ]
        self.assertEqual(listed, [case.number for case in cases()])

    def test_configurations(self) -> None:
        """Each configuration in it can be used."""
        texts = [block.text for block in blocks(PAGE) if block.language == "ini"]
        self.assertEqual(len([parse(text, "x.ini", installed(), "/run") for text in texts]), 2)
