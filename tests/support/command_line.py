"""Runs C{socketd} in the process of the test."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from socketd.cli.main import main


def run_main(*argv: str | Path) -> tuple[int, str, str]:
    """Run a subcommand; return status, standard output, standard error."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = main(list(map(str, argv)))
    return status, out.getvalue(), err.getvalue()
