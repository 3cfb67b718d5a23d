"""
What round trips say together: numbers, a histogram, and the same for programs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from attrs import frozen

from socketd.common import table

BARS = 40
"""
The longest bar of a histogram, in characters: with its numbers it fits a terminal.
"""

CLASSES = 10
"""
How many bars a histogram has.
"""

FEW = 20
"""
Fewer times than this have no shape that could be drawn.
"""


@frozen
class RoundTrips:
    """
    What came of a number of questions.

    @ivar sent: how many were asked.
    @ivar times: how long each right answer took, in seconds, in the order of the questions.
    @ivar wrong: how many answers were not what was sent.
    """

    sent: int
    times: Sequence[float]
    wrong: int = 0

    @property
    def loss(self) -> float:
        """
        The part of the questions without a right answer, from 0 to 1.
        """
        return 1 - len(self.times) / self.sent if self.sent else 0.0

    @property
    def average(self) -> float:
        """
        The mean of the times.
        """
        return math.fsum(self.times) / len(self.times)

    @property
    def deviation(self) -> float:
        """
        The mean deviation from the average, as C{ping} of iputils calls its standard deviation.
        """
        average = self.average
        square = math.fsum((one - average) ** 2 for one in self.times) / len(self.times)
        return math.sqrt(square)

    def percentile(self, part: float) -> float:
        """
        The shortest time that so many answers did not exceed (nearest rank).

        @param part: from 0 to 1.
        """
        ordered = sorted(self.times)
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    def figures(self) -> dict[str, float]:
        """
        The figures in milliseconds, by name; none where nothing came back.
        """
        if not self.times:
            return {}
        found = {
            "min": min(self.times),
            "avg": self.average,
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "max": max(self.times),
            "mdev": self.deviation,
        }
        return {name: round(seconds * 1000, 3) for name, seconds in found.items()}


def render(trips: RoundTrips) -> str:
    """
    Show round trips to a person.

    @param trips: the round trips.
    @return: lines.
    """
    wrong = f", {trips.wrong} wrong" if trips.wrong else ""
    text = f"{trips.sent} sent, {len(trips.times)} received{wrong}, {trips.loss:.1%} loss\n"
    figures = trips.figures()
    if figures:
        row = [f"{number:.3f}" for number in figures.values()]
        text += table.render([f"{name} ms" for name in figures], [row])
    return text


def render_json(trips: RoundTrips) -> str:
    """
    Show round trips to a program.

    @param trips: the round trips.
    @return: one line.
    """
    found = {
        "sent": trips.sent,
        "received": len(trips.times),
        "wrong": trips.wrong,
        "loss": round(trips.loss, 6),
        "ms": trips.figures(),
        "times_ms": [round(seconds * 1000, 3) for seconds in trips.times],
    }
    return json.dumps(found) + "\n"


def histogram(times: Sequence[float]) -> str:
    """
    Draw how the times are spread: classes that grow by the same factor each, because the long
    ones are few and far off.

    @param times: seconds.
    @return: one line for each class; nothing where there are few, or all are the same.
    """
    if len(times) < FEW:
        return ""
    low, high = min(times), max(times)
    step = (high / low) ** (1 / CLASSES) if low > 0 else 1.0
    # Times may differ by less than a factor can say.
    if step <= 1:
        return ""
    counts = [0] * CLASSES
    for one in times:
        counts[min(CLASSES - 1, int(math.log(one / low, step)))] += 1
    lines = []
    for number, count in enumerate(counts):
        bar = "#" * math.ceil(BARS * count / max(counts))
        upper = low * step ** (number + 1) * 1000
        lines.append(f"{f'<= {upper:.3f} ms':>16}  {count:>7}  {bar}".rstrip())
    return "\n".join(lines) + "\n"
