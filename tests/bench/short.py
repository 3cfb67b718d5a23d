"""Loads that are as short as the machine allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.cores import choose
from bench.load import LoadReport, run

#: Long enough for some hundred messages and short enough for a test; then, where nothing was
#: answered in it, long enough on a machine that is very slow (seconds).
WINDOWS = (0.2, 2.0, 15.0)


def window(seconds: float) -> tuple[str, ...]:
    """The options of a load that is measured for so long."""
    return ("--seconds", str(seconds), "--warm-up", "0.05")


#: The options of the shortest one.
SHORT = window(WINDOWS[0])


def measure(
    arguments: Iterable[str],
    is_enough: Callable[[LoadReport], object] = lambda report: report.messages,
    on_mark: Callable[[str], None] = lambda mark: None,
) -> LoadReport:
    """
    Run a load until it says enough, or what is wrong; return its report.

    @raise LoadFailed: with what it says was wrong.
    """
    arguments = list(arguments)
    for seconds in WINDOWS:
        report = run([*arguments, *window(seconds)], choose().load, on_mark)
        if report.errors or is_enough(report):
            break
    return report
