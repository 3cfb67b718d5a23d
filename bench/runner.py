"""The rounds: every server has its turn, then all of them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from bench.measure import RunFailed
from bench.results import Outcome, Results, Sample
from bench.servers import Server
from bench.works import Work

#: Rounds of a work whose servers are restarted each time: memory hardly differs
#: from round to round, and a start takes its time.
FRESH_ROUNDS = 3

#: Takes one sample, or raises L{RunFailed}.
Take = Callable[[Work, Server], Sample]

#: Is told of every sample in a line.
Progress = Callable[[str], None]


@dataclass
class Tally:
    """What one server has so far in one work."""

    work: Work
    server: Server
    missing: str
    failed: str = ""
    samples: list[Sample] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """The end of it."""
        samples = tuple(self.samples)
        return Outcome(self.work.name, self.server.name, samples, self.missing, self.failed)


def run(
    works: Sequence[Work],
    servers: Mapping[str, Server],
    rounds: int,
    take: Take,
    progress: Progress,
) -> Results:
    """
    All rounds of all works.

    @param servers: those that take part, by name.
    """
    outcomes: list[Outcome] = []
    for work in works:
        taking_part = [servers[name] for name in work.servers if name in servers]
        tallies = [Tally(work, server, server.missing()) for server in taking_part]
        for turn in range(min(rounds, FRESH_ROUNDS) if work.fresh else rounds):
            for tally in in_turn(tallies, turn):
                _take_one(tally, turn, take, progress)
        outcomes += [tally.outcome() for tally in tallies]
    return Results(tuple(outcomes))


def in_turn(tallies: Sequence[Tally], turn: int) -> list[Tally]:
    """
    Who can be measured, each round in another order, the same in every run.

    The order matters: after a slow server the machine has rested, and the
    next one is some 5 % faster.  A server that failed is not asked again: a broken
    one costs time, and its failure is told.
    """
    able = [tally for tally in tallies if not tally.missing and not tally.failed]
    return Random(turn).sample(able, len(able))


def _take_one(tally: Tally, turn: int, take: Take, progress: Progress) -> None:
    """One sample, or the reason why there is none."""
    who = f"{tally.work.name} {turn + 1} {tally.server.name}"
    try:
        sample = take(tally.work, tally.server)
    except RunFailed as error:
        tally.failed = str(error)
        progress(f"{who}: failed: {error}")
        return
    tally.samples.append(sample)
    progress(f"{who}: {sample.figure:,.2f} {tally.work.unit}")
