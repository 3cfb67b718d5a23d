"""What came out: samples, their medians, and ratios between servers."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

#: The numbers of a sample, by name.
Number = Literal["figure", "p50_us", "p99_us", "cpu_us", "memory_mib", "load_busy"]


@dataclass(frozen=True)
class Sample:
    """
    One server in one round of one work; C{None} is what that work does not tell.

    @ivar figure: in the unit of the work.
    @ivar cpu_us: the server's CPU time for each message.
    @ivar memory_mib: resident memory of the server.
    @ivar load_busy: the part of its core that the load used: near 1, the load is the limit.
    @ivar note: what a reader of the figure has to know.
    """

    figure: float
    p50_us: float | None = None
    p99_us: float | None = None
    cpu_us: float | None = None
    memory_mib: float | None = None
    load_busy: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """
    One server in all rounds of one work.

    @ivar missing: why it could not be measured at all.
    @ivar failed: what went wrong in a round; there may be samples from others.
    """

    work: str
    server: str
    samples: tuple[Sample, ...] = ()
    missing: str = ""
    failed: str = ""

    def median(self, number: Number) -> float | None:
        """The median of one number over the rounds."""
        values = [value for value in self.numbers(number) if value is not None]
        return median(values) if values else None

    def numbers(self, number: Number) -> list[float | None]:
        """One number of every round."""
        return [getattr(sample, number) for sample in self.samples]

    def spread(self) -> tuple[float, float] | None:
        """The lowest and the highest figure."""
        figures = [sample.figure for sample in self.samples]
        return (min(figures), max(figures)) if figures else None

    def note(self) -> str:
        """Why there is no figure, or what has to be known about it."""
        said = [f"missing: {self.missing}"] if self.missing else []
        said += [f"failed: {self.failed}"] if self.failed else []
        notes = [sample.note for sample in self.samples if sample.note]
        return "; ".join(said + notes[-1:])


@dataclass(frozen=True)
class Results:
    """Everything that was measured, in the order it was."""

    outcomes: tuple[Outcome, ...]

    def of(self, work: str) -> tuple[Outcome, ...]:
        """All servers of one work."""
        return tuple(outcome for outcome in self.outcomes if outcome.work == work)

    def find(self, work: str, server: str) -> Outcome | None:
        """One server of one work, if it had its turn."""
        return next((o for o in self.of(work) if o.server == server), None)

    def value(self, work: str, server: str, number: Number = "figure") -> float | None:
        """The median of a number of one server in one work."""
        outcome = self.find(work, server)
        return outcome.median(number) if outcome else None

    def ratio(
        self, work: str, server: str, against: str, number: Number = "figure"
    ) -> float | None:
        """
        What C{server} reaches for each one that C{against} does: the median of the
        rounds' ratios, since a machine's speed may change from round to round.
        """
        mine, other = self.find(work, server), self.find(work, against)
        if mine is None or other is None:
            return None
        rounds = zip(mine.numbers(number), other.numbers(number))
        ratios = [ours / theirs for ours, theirs in rounds if ours is not None and theirs]
        return median(ratios) if ratios else None
