"""What the answers of a STAMP reflector show: loss, order and delays, each way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from attrs import asdict, define, field, frozen

from socketd.cli.client.round_trip_stats import RoundTripStats, histogram
from socketd.common import table

#: The gain of the estimate of jitter (RFC 3550, section 6.4.1).
JITTER_GAIN = 16


@frozen
class Sample:
    """
    An answer.

    @ivar asked: the sequence number of its packet.
    @ivar answered: that of the answer.
    @ivar forward: the delay on the way there (seconds), by the clocks of both sides.
    @ivar backward: the same on the way back.
    @ivar round_trip: the time on the way, without that at the reflector.
    @ivar error: how far off the clocks of both are at most (seconds); C{None} if not known.
    @ivar ttl: what was left of the packet's TTL.
    """

    asked: int
    answered: int
    forward: float
    backward: float
    round_trip: float
    error: float | None
    ttl: int


@frozen
class Loss:
    """
    How many packets were lost where.

    @ivar unknown: those of which no later answer tells, and all of a reflector that repeats the
        numbers of its packets and does not tell that it counts: it may be stateless.
    """

    forward: int = 0
    backward: int = 0
    unknown: int = 0


@define
class StampResults:
    """
    The results of a measurement.

    @ivar samples: the first answer to each packet, as they came.
    @ivar doubled_forward: packets that the reflector had twice: their answers differ.
    @ivar doubled_backward: answers that came twice.
    @ivar reordered: first answers that came behind one to a later packet.
    @ivar wrong: datagrams that answer no packet, and those of C{bad_hmac}.
    @ivar bad_hmac: datagrams that do not have the HMAC of the key.
    @ivar is_counted: whether the reflector is known to count its answers.
    @ivar is_ssid_lost: whether an answer has no SSID although its packet has one.
    """

    sent: int = 0
    samples: list[Sample] = field(factory=list)
    doubled_forward: int = 0
    doubled_backward: int = 0
    reordered: int = 0
    wrong: int = 0
    bad_hmac: int = 0
    is_counted: bool = False
    is_ssid_lost: bool = False
    _highest: int = -1
    _seen: set[tuple[int, int]] = field(factory=set)
    _asked: set[int] = field(factory=set)

    def add(self, sample: Sample, is_counted: bool = False) -> None:
        """Take an answer, which may tell that its reflector counts."""
        self.is_counted |= is_counted or sample.answered != sample.asked
        pair = sample.asked, sample.answered
        if pair in self._seen:
            self.doubled_backward += 1
            return
        self._seen.add(pair)
        if sample.asked in self._asked:
            self.doubled_forward += 1
            return
        self._asked.add(sample.asked)
        self.samples.append(sample)
        if sample.asked < self._highest:
            self.reordered += 1
        self._highest = max(self._highest, sample.asked)

    @property
    def loss(self) -> Loss:
        """Where packets were lost, as far as the numbers of the answers tell."""
        missing = self.sent - len(self.samples)
        if not self.is_counted:
            return Loss(unknown=missing)
        last = max(self.samples, key=lambda one: one.answered)
        # The reflector had answered as many packets before this one as its number says.
        forward = last.asked + self.doubled_forward - last.answered
        backward = last.answered + 1 - len(self.samples) - self.doubled_forward
        forward, backward = max(0, forward), max(0, backward)
        return Loss(forward, backward, max(0, missing - forward - backward))

    @property
    def error(self) -> float | None:
        """How far off the one-way delays are at most (seconds); C{None} if not known."""
        errors = [one.error for one in self.samples if one.error is not None]
        return max(errors) if errors and len(errors) == len(self.samples) else None

    @property
    def hops(self) -> int | None:
        """The routers that most packets came through on the way there; C{None} without answers."""
        return 255 - min(one.ttl for one in self.samples) if self.samples else None

    def ways(self) -> dict[str, dict[str, float]]:
        """The figures of each way in milliseconds, and the jitter of RFC 3550."""
        found = {}
        for way in ("round_trip", "forward", "backward"):
            times = [getattr(one, way) for one in self.samples]
            found[way] = RoundTripStats(self.sent, times).figures()
            if times:
                found[way]["jitter"] = round(jitter(times) * 1000, 3)
        return found


def jitter(delays: Sequence[float]) -> float:
    """Estimate how much a delay differs from the one before (RFC 3550, section 6.4.1)."""
    estimate = 0.0
    for before, after in pairwise(delays):
        estimate += (abs(after - before) - estimate) / JITTER_GAIN
    return estimate


def render(results: StampResults) -> str:
    """Render the results for people."""
    lost, doubled = results.loss, results.doubled_forward + results.doubled_backward
    text = f"{results.sent} sent, {len(results.samples)} received, {doubled} doubled,"
    text += f" {results.reordered} reordered"
    text += f", {results.wrong} wrong" if results.wrong else ""
    text += f" ({results.bad_hmac} by the HMAC)\n" if results.bad_hmac else "\n"
    text += f"lost: {lost.forward} forward, {lost.backward} backward, {lost.unknown} unknown\n"
    if not results.samples:
        return text
    ways = results.ways()
    rows = [
        [way.replace("_", " "), *(f"{number:.3f}" for number in figures.values())]
        for way, figures in ways.items()
    ]
    text += table.render(["way", *(f"{name} ms" for name in ways["forward"])], rows)
    if results.error is None:
        text += "forward and backward are not exact: a clock is not synchronised\n"
    else:
        text += f"forward and backward are exact to {results.error * 1000:.3f} ms\n"
    if results.is_ssid_lost:
        text += "the reflector does not return the SSID: it has no RFC 8972\n"
    return text + histogram([one.round_trip for one in results.samples])


def render_json(results: StampResults) -> str:
    """Render the results as a line of JSON."""
    lost, error = results.loss, results.error
    found: dict[str, Any] = {
        "sent": results.sent,
        "received": len(results.samples),
        "lost": asdict(lost),
        "duplicates": {"forward": results.doubled_forward, "backward": results.doubled_backward},
        "reordered": results.reordered,
        "wrong": results.wrong,
        "bad_hmac": results.bad_hmac,
        "ssid_lost": results.is_ssid_lost,
        "hops": results.hops,
        "error_ms": None if error is None else round(error * 1000, 3),
        **{f"{way}_ms": figures for way, figures in results.ways().items()},
        "times_ms": [round(one.round_trip * 1000, 3) for one in results.samples],
    }
    return json.dumps(found) + "\n"
