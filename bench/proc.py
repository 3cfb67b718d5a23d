"""CPU time and memory of a server, as the kernel counts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

#: Clock ticks in a second of /proc/PID/stat.
TICKS = os.sysconf("SC_CLK_TCK")

NANOSECONDS = 1e9

KIB = 1024


@dataclass(frozen=True)
class Stat:
    """
    One process, from /proc/PID/stat.

    @ivar own_ticks: CPU time of the process itself.
    @ivar waited_ticks: that of the children it has waited for.
    """

    pid: int
    parent: int
    own_ticks: int
    waited_ticks: int


def parse_stat(text: str) -> Stat:
    """
    Read one /proc/PID/stat.

    The name of the program, in brackets, may hold spaces and brackets; what follows the last
    bracket are the fields from the third one on, see proc(5).
    """
    head, _, tail = text.rpartition(")")
    fields = [int(field) for field in tail.split()[1:]]
    return Stat(
        pid=int(head.split()[0]),
        parent=fields[0],
        own_ticks=fields[10] + fields[11],
        waited_ticks=fields[12] + fields[13],
    )


def parse_rollup(text: str, kind: str = "Rss") -> int:
    """
    The resident bytes, or those of another kind, from a /proc/PID/smaps_rollup.

    Counted page by page, unlike those of /proc/PID/stat, which the kernel keeps roughly.
    """
    for line in text.splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * KIB
    raise ValueError(f"no {kind} in it")


def family(root: int, stats: Iterable[Stat]) -> list[Stat]:
    """C{root} and all that descend from it."""
    children: dict[int, list[Stat]] = {}
    found = []
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:
        found.extend(children.get(stat.pid, ()))
    return found


def all_processes() -> list[Stat]:
    """Every process there is now."""
    stats = []
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            try:
                stats.append(parse_stat((PROC / entry.name / "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
    return stats


def cpu_seconds(root: int) -> float:
    """
    CPU time that a server and its children have used so far.

    A thousand children that share a second have not one whole tick each: then the scheduler is
    asked, which counts nanoseconds. It is not asked for a single process, because it counts by
    thread and forgets those that ended.
    """
    stats = family(root, all_processes())
    own = _own_seconds if len(stats) == 1 else _scheduled_seconds
    return sum(own(stat) + stat.waited_ticks / TICKS for stat in stats)


def others_cpu_seconds() -> float:
    """CPU time that all have used so far but this program and what it started."""
    stats = all_processes()
    ours = {stat.pid for stat in family(os.getpid(), stats)}
    ticks = (stat.own_ticks + stat.waited_ticks for stat in stats if stat.pid not in ours)
    return sum(ticks) / TICKS


def _own_seconds(stat: Stat) -> float:
    """CPU time of one process, in ticks."""
    return stat.own_ticks / TICKS


def _scheduled_seconds(stat: Stat) -> float:
    """
    CPU time of a process of one thread, in nanoseconds; where they are not counted, in ticks.
    """
    with suppress(OSError):
        nanoseconds = (PROC / str(stat.pid) / "schedstat").read_text().split()[0]
        return int(nanoseconds) / NANOSECONDS
    return _own_seconds(stat)


def resident_bytes(root: int) -> int:
    """Memory of a server and its children; what they share counts for each."""
    pids = [stat.pid for stat in family(root, all_processes())]
    return sum(parse_rollup(_rollup(pid)) for pid in pids)


def children(parent: int) -> list[int]:
    """The processes that one has started and that run still."""
    return [stat.pid for stat in all_processes() if stat.parent == parent]


def proportional_bytes(pid: int) -> int:
    """Memory of a process; of what n processes share the nth part."""
    return parse_rollup(_rollup(pid), "Pss")


def _rollup(pid: int) -> str:
    return (PROC / str(pid) / "smaps_rollup").read_text()
