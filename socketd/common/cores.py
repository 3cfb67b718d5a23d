"""How many cores the process may use, and how long a process has waited for one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

#: Where control groups are mounted, by cgroups(7).
ROOT = Path("/sys/fs/cgroup")

#: The control groups of this process.
OWN = Path("/proc/self/cgroup")


def usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """
    Count the cores that this process may use: those of its affinity, and as many as the CPU quota
    of its control groups is good for, rounded up.
    """
    quotas = (math.ceil(quota) for quota in _quotas(root, own))
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def waited(pid: int) -> float:
    """
    Return how long a process was ready to run and had no core, in all (seconds).

    Where the kernel does not count that (C{/proc/PID/schedstat}), it is 0.
    """
    match _text(Path(f"/proc/{pid}/schedstat")).split():
        case [_, nanoseconds, _]:
            return int(nanoseconds) / 1e9
    return 0.0


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """List the quotas (cores) of the groups that this process is in; none without groups."""
    for line in _text(own).splitlines():
        number, controllers, path = line.split(":", 2)
        place = root / path.lstrip("/")
        if number == "0":
            for group in (place, *place.parents):
                if group.is_relative_to(root):
                    yield from _ratio(_text(group / "cpu.max"))
        elif "cpu" in controllers.split(","):
            group = root / "cpu" / path.lstrip("/")
            for one in (group, root / "cpu"):
                quota, period = one / "cpu.cfs_quota_us", one / "cpu.cfs_period_us"
                yield from _ratio(f"{_text(quota)} {_text(period)}")


def _ratio(text: str) -> Iterator[float]:
    """Divide a quota by its period; C{max} or -1 is none."""
    match text.split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
