"""The table of C{docs/RELIABILITY.md}: fault, promise, the tests that show it, the figure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

FILE = Path(__file__).parents[2] / "docs/RELIABILITY.md"

_ROW = re.compile(r"^\| (?P<fault>[^|]+?) \| (?P<promise>[^|]+?) \| (?P<tests>`[^|]+?) \|")


@frozen
class Row:
    """
    One line of the table.

    @ivar tests: dotted names, without C{tests.} before them.
    @ivar figure: what the last C{make faults} measured.
    """

    fault: str
    promise: str
    tests: tuple[str, ...]
    figure: str = "held"

    def __str__(self) -> str:
        tests = ", ".join(f"`{test}`" for test in self.tests)
        return f"| {self.fault} | {self.promise} | {tests} | {self.figure} |"


def row(line: str) -> Row | None:
    """Read a line of the document; L{None} if it is none of the table's."""
    found = _ROW.match(line)
    if found is None:
        return None
    tests = tuple(re.findall("`([^`]+)`", found["tests"]))
    return Row(found["fault"], found["promise"], tests)


def rows(text: str) -> Iterator[Row]:
    """Read the table."""
    return filter(None, map(row, text.splitlines()))


def with_figures(text: str, figures: Mapping[str, Sequence[str]]) -> str:
    """Write what was measured into the table, by the whole name of the test."""
    return "".join(_renewed(line, figures) for line in text.splitlines(keepends=True))


def _renewed(line: str, figures: Mapping[str, Sequence[str]]) -> str:
    found = row(line)
    if found is None:
        return line
    measured = [figure for test in found.tests for figure in figures.get(f"tests.{test}", ())]
    return f"{evolve(found, figure='; '.join(measured) or 'held')}\n"
