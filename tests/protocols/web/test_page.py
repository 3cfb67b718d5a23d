"""Tests of docs/HTTP.md against the code; L{tests.interop.with_http} follows its examples."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.web.answers import REASONS
from socketd.protocols.web.options import HttpOptions
from socketd.protocols.web.paths import PATHS
from socketd.settings.options import declared
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "HTTP.md").read_text()


def rows(heading: str) -> list[str]:
    """List what stands first in the rows of a chapter's table."""
    chapter = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", chapter, re.MULTILINE)


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
