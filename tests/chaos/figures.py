"""What a test measured, for the table of C{docs/RELIABILITY.md}."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from unittest import TestCase

#: Names the file that figures are added to; without it they are not kept.
FIGURES = "SOCKETD_FIGURES"


def note(test: TestCase, figure: str) -> None:
    """
    Say what a test measured.

    A promise is not kept by this: the test asserts it.

    @param test: the test that measured.
    @param figure: a few words on one line, such as C{"back after 0.7 s"}.
    """
    if file := os.environ.get(FIGURES):
        with Path(file).open("a", encoding="utf-8") as figures:
            print(test.id(), figure, sep="\t", file=figures)


def noted(lines: Iterable[str]) -> dict[str, list[str]]:
    """Read the figures that were noted, by the dotted name of the test."""
    found: dict[str, list[str]] = {}
    for line in lines:
        test, _, figure = line.rstrip("\n").partition("\t")
        found.setdefault(test, []).append(figure)
    return found
