"""The tables: one for the terminal, and the page that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.machine import Machine
from bench.reach import REACHES, SUBJECTS, Reach
from bench.results import Number, Outcome, Results
from bench.servers import BY_NAME
from bench.works import Effort, Work

#: Columns of a row about one server in one work.
COLUMNS = (
    "server", "median", "lowest - highest", "p50 / p99 us", "CPU us each", "RSS MiB",
    "load busy", "socketd / it", "CPU socketd / it", "note",
)

#: How a figure reads that there is none of.
NONE = "-"

#: From here on a figure is shown without decimals.
WHOLE = 100

ABOUT = """\
Each server ran on one core and the load on another. The servers took turns, {rounds} rounds of
{seconds:g} s each, in another random order each round; for memory and start they were restarted
for each of three rounds. A row shows the median of the rounds, the lowest and the highest.
`socketd / it` is socketd's figure divided by that of the row, in each round, and of that the
median: above 1 is better for a rate, below 1 for CPU, memory and time. CPU is user and system time
of the server and its children in the measured time. `load busy` near 100 % says that the load
generator was the limit and not the server. Every reply was compared with what was sent. A datagram
is lost, and sent again, after 100 ms; xinetd discards what queues while it answers.
"""

REPEAT = "Repeat it with `make bench`; `make bench-quick` takes less than a minute."

#: More than this part of one core for other programs, and the figures are theirs too.
QUIET = 0.1

BUSY = "**Other programs took {others:.0%} of a core meanwhile: do not trust these figures.**"


def number(value: float | None) -> str:
    """A figure as it is read: C{152 300}, C{12.34}, C{-}."""
    if value is None:
        return NONE
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= WHOLE else f"{value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is as readable in a terminal."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table."""
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |\n"


def row(outcome: Outcome, results: Results) -> list[str]:
    """One server in one work."""
    spread = outcome.spread()
    p50, p99 = outcome.median("p50_us"), outcome.median("p99_us")
    busy = outcome.median("load_busy")
    return [
        BY_NAME[outcome.server].title,
        number(outcome.median("figure")),
        f"{number(spread[0])} - {number(spread[1])}" if spread else NONE,
        f"{number(p50)} / {number(p99)}" if p50 else NONE,
        number(outcome.median("cpu_us")),
        number(outcome.median("memory_mib")),
        f"{busy:.0%}" if busy is not None else NONE,
        _against(results, outcome, "figure"),
        _against(results, outcome, "cpu_us"),
        outcome.note(),
    ]


def _against(results: Results, outcome: Outcome, number_of: Number) -> str:
    """The ratio of socketd to a peer in the same work."""
    if outcome.server in SUBJECTS:
        return NONE
    ours = (results.ratio(outcome.work, one, outcome.server, number_of) for one in SUBJECTS)
    return number(next((ratio for ratio in ours if ratio is not None), None))


def one_table(works: Sequence[Work], results: Results) -> str:
    """Everything in one table, for the terminal."""
    rows = [
        [work.name, work.unit, *row(outcome, results)]
        for work in works
        for outcome in results.of(work.name)
    ]
    return table(*without_empty(("work", "unit", *COLUMNS), rows))


def reach_table(results: Results, reaches: Sequence[Reach] = REACHES) -> str:
    """What socketd has to reach."""
    header = ("figure", "must", "goal", "measured", "verdict")
    return table(header, [_reach_row(reach, results) for reach in reaches])


def _reach_row(reach: Reach, results: Results) -> list[str]:
    """One figure that is wanted."""
    sign, unit = ">=" if reach.at_least else "<=", f" {reach.unit}" if reach.unit else ""
    goal, measured = reach.goal_in(results), reach.measured(results)
    peer = f"{BY_NAME[reach.goal_peer].title}: " if reach.goal_peer else ""
    return [
        reach.figure,
        f"{sign} {number(reach.must)}{unit}",
        f"{peer}{sign} {number(goal)}{unit}",
        f"{number(measured)}{unit if measured is not None else ''}",
        reach.verdict(results),
    ]


@dataclass(frozen=True)
class Run:
    """
    What a page is about.

    @ivar others: the part of one core that other programs took meanwhile.
    """

    machine: Machine
    effort: Effort
    works: Sequence[Work]
    results: Results
    others: float

    @property
    def warning(self) -> str:
        """Why the figures are not to be trusted; empty if they are."""
        return BUSY.format(others=self.others) if self.others > QUIET else ""


def page(run: Run, notes: str) -> str:
    """
    The results as they are kept.

    @param notes: what people have to say about them.
    """
    about = ABOUT.format(rounds=run.effort.rounds, seconds=run.effort.seconds)
    parts = ["# Results", run.warning, _machine_table(run), about + REPEAT]
    parts += ["## Reach", reach_table(run.results)]
    parts += [_section(work, run.results) for work in run.works]
    parts += [notes]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _section(work: Work, results: Results) -> str:
    """One work."""
    rows = [row(outcome, results) for outcome in results.of(work.name)]
    header = list(COLUMNS)
    header[1] = work.unit
    header[4] = f"CPU us / {work.each}"
    return f"## {work.name}\n\n{work.title}.\n\n{table(*without_empty(header, rows))}"


def without_empty(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that say nothing."""
    kept = [i for i in range(len(header)) if any(cells[i] not in ("", NONE) for cells in rows)]
    return [header[i] for i in kept], [[cells[i] for i in kept] for cells in rows]


def _machine_table(run: Run) -> str:
    """Where and when."""
    machine = run.machine
    rows = [
        ("date", machine.date),
        ("processor", f"{machine.cpu}, {machine.cores} cores"),
        ("memory", f"{machine.memory_gib:.1f} GiB"),
        ("kernel", machine.kernel),
        ("other programs meanwhile", f"{run.others:.1%} of a core"),
        *machine.versions,
    ]
    return table(("machine", ""), rows)
