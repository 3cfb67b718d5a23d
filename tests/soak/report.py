"""The tables of what was done and measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from socketd.common.table import render
from tests.soak.client_counts import ClientCounts
from tests.soak.samples import Sample
from tests.soak.verdict import Comparison

KIB = 1024


def loads(counts: ClientCounts) -> str:
    """Each kind of load: how often, how much, and how many replies were checked."""
    rows = [
        (name, str(load.times), str(load.bytes), str(load.checked))
        for name, load in counts.loads.items()
    ]
    return render(("LOAD", "TIMES", "BYTES", "CHECKED"), rows)


def faults(done: Mapping[str, int]) -> str:
    """Each kind of fault, and how often it was made."""
    return render(("FAULT", "TIMES"), [(name, str(count)) for name, count in done.items()])


def samples(points: Sequence[tuple[str, Sample]]) -> str:
    """What the daemon held, at rest and at most."""
    headers = ("HELD", "AT", "DESCRIPTORS", "RESIDENT KIB", "OBJECTS", "BLOCKS", "HEAP KIB")
    return render((*headers, "LAG MS"), [_row(name, sample) for name, sample in points])


def peak(found: Iterable[Sample]) -> Sample | None:
    """Pick the sample with the most memory."""
    return max(found, key=lambda sample: sample.resident, default=None)


def middle(found: Sequence[Sample]) -> Sample | None:
    """Pick the sample of half the time."""
    return found[len(found) // 2] if found else None


def counters(found: Sequence[Comparison]) -> str:
    """How many counters were compared, and what differs."""
    exact = sum(one.is_exact for one in found)
    head = f"{len(found)} counters compared: {exact} exact, {len(found) - exact} within bounds\n"
    return head + "".join(f"DIFFERS: {one}\n" for one in found if not one.holds)


def _row(name: str, sample: Sample) -> tuple[str, ...]:
    census = sample.census
    figures = [sample.descriptors, sample.resident // KIB, census.objects, census.blocks]
    figures.append(census.heap // KIB)
    lag = f"{sample.lag / max(1, sample.ticks) * 1000:.1f}"
    return (name, f"{sample.when:.0f} s", *map(str, figures), lag)
