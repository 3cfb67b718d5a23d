"""
C{python -m tests.chaos}: run every test of the table, and write what was measured.

Only a run of the whole table, in which all held, changes the document.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos import figures, table

TRIAL = (sys.executable, "-m", "twisted.trial", "--temp-directory=build/chaos")


def main(arguments: Sequence[str]) -> int:
    """
    @return: the exit status of trial, or 2 when no row has the words asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("words", nargs="?", default="", help="only the rows that have these words")
    words = parser.parse_args(arguments).words
    text = table.FILE.read_text(encoding="utf-8")
    chosen = [row for row in table.rows(text) if words in str(row)]
    if not chosen:
        parser.error(f"no row of {table.FILE.name} has {words!r}")
    status, measured = _run([f"tests.{test}" for row in chosen for test in row.tests])
    if status == 0 and not words:
        table.FILE.write_text(table.with_figures(text, figures.noted(measured)), encoding="utf-8")
    return status


def _run(tests: Sequence[str]) -> tuple[int, list[str]]:
    Path("build").mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="socketd-") as directory:
        file = Path(directory, "figures")
        file.touch()
        environment = os.environ | {figures.FIGURES: str(file)}
        status = subprocess.run([*TRIAL, *dict.fromkeys(tests)], env=environment).returncode
        measured = file.read_text(encoding="utf-8").splitlines()
    print(*(line.replace("\t", ": ") for line in measured), sep="\n")
    return status, measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
