"""Tests of docs/STAMP.md against the code."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.sequence import EXPIRY, MAX_SESSIONS, WINDOW
from socketd.protocols.measure.stamp import CLASSES, RESULTS
from socketd.protocols.measure.stamp_tlv import MAX_TLVS
from tests.support.pages import chapter
from tests.support.source_tree import ROOT

PAGE = (ROOT / "docs" / "STAMP.md").read_text()


class StampPageTests(SynchronousTestCase):
    """docs/STAMP.md holds."""

    def test_clauses(self) -> None:
        """Each test that stands beside a clause is there."""
        tables = PAGE.split("| clause | kept | test |\n|---|---|---|\n")[1:]
        folders = "tests/protocols/measure", "tests/cli/client/stamp"
        for folder, least, table in zip(folders, (45, 15), tables, strict=True):
            rows = table.partition("\n\n")[0].splitlines()
            self.assertGreaterEqual(len(rows), least)
            self.check_rows(rows, folder)

    def check_rows(self, rows: list[str], folder: str) -> None:
        """Check the rows of a table, whose tests are in a folder."""
        for row in rows:
            clause, kept, tests = row.strip("| ").split(" | ")
            self.assertTrue(kept.startswith(("yes", "no", "in part", "zero")), clause)
            for file, case, method in re.findall(r"`(\S+) (\w+)\.(\w+)`", tests):
                path = Path(folder) / file if "/" not in file else Path(file)
                source = (ROOT / path).read_text().partition(f"class {case}(")[2]
                self.assertIn(f"    def {method}(self)", source.partition("\nclass ")[0], row)
            self.assertTrue("`" in tests or kept.startswith("no"), clause)

    def test_counted(self) -> None:
        """It has all results and classes, in their order."""
        text = chapter(PAGE, "Counted")
        self.assertEqual(tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)), RESULTS)
        for name in CLASSES:
            self.assertIn(f"`{name}`", text.partition("|")[0])

    def test_numbers(self) -> None:
        """The bounds that it names are those of the code."""
        for text in (
            f"after {EXPIRY:.0f} s without", f"There are {MAX_SESSIONS} of a listener",
            f"of the last {WINDOW}.", f"behind {MAX_TLVS} TLVs",
        ):  # fmt: skip
            self.assertIn(text, PAGE)
