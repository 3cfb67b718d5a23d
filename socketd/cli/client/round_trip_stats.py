"""Statistics of round trips: summary, histogram, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import fmean, pstdev

from attrs import frozen

from socketd.common import table

#: Characters of the longest bar of a histogram, so that bar and numbers fit a terminal.
MAX_BAR = 40

#: Number of histogram bars.
CLASSES = 10

#: Minimum number of samples for a histogram; fewer show no distribution.
MIN_SAMPLES = 20


@frozen
class RoundTripStats:
    """The results of a measurement: requests, seconds of each correct reply, wrong replies."""

    sent: int
    times: Sequence[float]
    wrong: int = 0

    @property
    def loss(self) -> float:
        """The fraction of requests without a correct reply, from 0 to 1."""
        return 1 - len(self.times) / self.sent if self.sent else 0.0

    def percentile(self, fraction: float) -> float:
        """Compute a percentile of the times (nearest rank) from a fraction of 0 to 1."""
        ordered = sorted(self.times)
        return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]

    def figures(self) -> dict[str, float]:
        """The statistics in milliseconds, by the names of iputils; empty without replies."""
        if not self.times:
            return {}
        found = {
            "min": min(self.times),
            "avg": fmean(self.times),
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "max": max(self.times),
            "mdev": pstdev(self.times),
        }
        return {name: round(seconds * 1000, 3) for name, seconds in found.items()}


def render(stats: RoundTripStats) -> str:
    """Render the results as a table."""
    wrong = f", {stats.wrong} wrong" if stats.wrong else ""
    text = f"{stats.sent} sent, {len(stats.times)} received{wrong}, {stats.loss:.1%} loss\n"
    figures = stats.figures()
    if figures:
        row = [f"{number:.3f}" for number in figures.values()]
        text += table.render([f"{name} ms" for name in figures], [row])
    return text


def render_json(stats: RoundTripStats) -> str:
    """Render the results as a line of JSON."""
    found = {
        "sent": stats.sent,
        "received": len(stats.times),
        "wrong": stats.wrong,
        "loss": round(stats.loss, 6),
        "ms": stats.figures(),
        "times_ms": [round(seconds * 1000, 3) for seconds in stats.times],
    }
    return json.dumps(found) + "\n"


def histogram(times: Sequence[float]) -> str:
    """
    Draw a histogram with logarithmic classes, because long times are few and far apart; it is
    empty for few or equal samples.
    """
    if len(times) < MIN_SAMPLES:
        return ""
    low, high = min(times), max(times)
    step = (high / low) ** (1 / CLASSES) if low > 0 else 1.0
    # The times may differ by less than a float can represent as a factor.
    if step <= 1:
        return ""
    counts = [0] * CLASSES
    for time in times:
        counts[min(CLASSES - 1, int(math.log(time / low, step)))] += 1
    lines = []
    for number, count in enumerate(counts):
        bar = "#" * math.ceil(MAX_BAR * count / max(counts))
        upper = low * step ** (number + 1) * 1000
        lines.append(f"{f'<= {upper:.3f} ms':>16}  {count:>7}  {bar}".rstrip())
    return "\n".join(lines) + "\n"
