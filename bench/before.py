"""Another checkout of socketd in turn with this one: C{python -m bench before DIRECTORY}."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.reach import EVERYWHERE
from bench.report import number, table
from bench.results import Results
from bench.servers import BY_NAME, Place, Server
from bench.works import Work

#: What the servers of the other checkout are called: socketd-tls gets socketd-tls-before.
SUFFIX = "-before"


def servers(checkout: Path) -> dict[str, Server]:
    """
    List socketd's servers, each with that of the other checkout.

    @raise ValueError: if the other checkout has no environment.
    """
    twistd = checkout.resolve() / ".venv" / "bin" / "twistd"
    if not twistd.exists():
        raise ValueError(f"no {twistd}: run make test in {checkout} first")
    now = [BY_NAME[name] for name in EVERYWHERE]
    then = [_other(server, twistd) for server in now]
    return {server.name: server for server in (*now, *then)}


def _other(server: Server, twistd: Path) -> Server:
    """Make a server that another twistd serves, with the same configuration."""

    def command(place: Place) -> list[str]:
        return [str(twistd), *server.command(place)[1:]]

    return replace(server, name=server.name + SUFFIX, command=command)


def works(chosen: tuple[Work, ...]) -> tuple[Work, ...]:
    """
    Narrow works down to socketd and the other checkout.

    @raise ValueError: if socketd does none of them.
    """
    both = ((work, set(work.servers) & set(EVERYWHERE)) for work in chosen)
    found = tuple(
        replace(work, servers=tuple(name + suffix for name in names for suffix in ("", SUFFIX)))
        for work, names in both
        if names
    )
    if not found:
        raise ValueError("socketd does none of these works")
    return found


def ratios(measured: tuple[Work, ...], results: Results) -> str:
    """Make the table: medians, and the median of the rounds' ratios."""
    header = ("work", "unit", "before", "now", "now / before", "better", "CPU now / before")
    return table(header, [_row(work, results) for work in measured])


def _row(work: Work, results: Results) -> list[str]:
    now, before = work.servers
    return [
        work.name,
        work.unit,
        number(results.value(work.name, before)),
        number(results.value(work.name, now)),
        number(results.ratio(work.name, now, before)),
        "below 1" if work.less_is_better else "above 1",
        number(results.ratio(work.name, now, before, "cpu_us")),
    ]
