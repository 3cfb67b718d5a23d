"""
The history of a daemon for its charts: figures per second of each service and of all together,
one sample a second for a quarter of an hour, in bounded memory.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping

from attrs import define, field

from socketd.daemon.snapshot import ServiceSnapshot

#: Seconds from one sample to the next, and how many samples are kept: 15 minutes.
INTERVAL = 1.0
LENGTH = 900

#: The most services that have a history of their own, those of the file's beginning; with ten
#: figures of 4 bytes a sample each, 2 MiB.
MAX_SERVICES = 64

#: The most figures of one service: ten, and the reasons to drop a datagram.
MAX_FIGURES = 32

#: The name of all services together, which no service can have.
ALL = ""

#: The event loop's lag, which only L{ALL} has (milliseconds).
LAG = "lag"

#: Values at the moment; all other figures are counters, of which the rate is kept.
GAUGES = frozenset({"open", LAG})

#: Precedes the reason in the name of a figure.
DROP = "drop "

#: Figures by name: totals since the start, or rates per second.
Figures = Mapping[str, float]


def figures_of(service: ServiceSnapshot) -> dict[str, float]:
    """Read the figures of a service: how many connections are open, and its counters."""
    found = service.counters
    dropped = dict(found.datagrams_dropped)
    if service.kernel_drops:
        dropped["kernel"] = service.kernel_drops
    figures: dict[str, float] = {
        "open": service.connections,
        "connections": found.connections,
        "refused": found.refused.total(),
        "overdue": found.timed_out.total(),
        "messages": found.messages_received,
        "in": found.bytes_received + found.datagram_bytes_received,
        "out": found.bytes_sent + found.datagram_bytes_sent,
        "datagrams": found.datagrams_received,
        "answers": found.datagrams_sent,
    }
    return figures | {f"{DROP}{reason}": count for reason, count in dropped.items()}


@define(eq=False)
class Series:
    """The figures of one service; one that was always 0 takes no memory."""

    _rings: dict[str, array[float]] = field(factory=dict, init=False)

    def put(self, at: int, figures: Figures, other: float = 0.0) -> None:
        """Put a sample at a place in the rings; C{other}: what figures are that it has not."""
        for name, value in figures.items():
            if value and name not in self._rings and len(self._rings) < MAX_FIGURES:
                self._rings[name] = array("f", bytes(4 * LENGTH))
        for name, ring in self._rings.items():
            ring[at] = figures.get(name, other)

    def read(self, order: Iterable[int]) -> dict[str, list[float | None]]:
        """Read the samples at these places; C{None} where there was none."""
        places = list(order)
        return {
            name: [None if math.isnan(ring[at]) else round(ring[at], 1) for at in places]
            for name, ring in self._rings.items()
        }


@define(eq=False)
class History:
    """The samples of all services."""

    _series: dict[str, Series] = field(factory=lambda: {ALL: Series()}, init=False)
    _totals: dict[str, Figures] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _sampled: float | None = field(default=None, init=False)

    def note(
        self, now: float, services: Iterable[ServiceSnapshot], lag: float
    ) -> dict[str, dict[str, float]]:
        """
        Take a sample at a time of the reactor's clock; the seconds that were missed have none.
        Return the figures that are not 0, by service.
        """
        totals: dict[str, Figures] = {one.name: figures_of(one) for one in services}
        elapsed = INTERVAL if self._sampled is None else max(now - self._sampled, INTERVAL / 2)
        rates = {name: self._rates(name, found, elapsed) for name, found in totals.items()}
        self._totals, self._sampled = totals, now
        rates[ALL] = _sum(rates.values()) | {LAG: round(lag * 1000, 1)}
        for _ in range(min(round(elapsed / INTERVAL) - 1, LENGTH)):
            self._advance({}, math.nan)
        self._advance(rates)
        kept = {name: found for name, found in rates.items() if name in self._series}
        return {name: {k: v for k, v in found.items() if v} for name, found in kept.items()}

    def read(self, service: str) -> dict[str, list[float | None]]:
        """Read the samples of a service, the oldest first, without figures that were always 0."""
        found = self._series.get(service)
        if found is None:
            return {}
        begin = max(0, self._count - LENGTH)
        return found.read(at % LENGTH for at in range(begin, self._count))

    def _rates(self, name: str, totals: Figures, elapsed: float) -> dict[str, float]:
        before = self._totals.get(name, totals)
        return {
            figure: (
                total
                if figure in GAUGES
                # A service that was removed and added again counts from 0.
                else round(max(0.0, total - before.get(figure, 0.0)) / elapsed, 1)
            )
            for figure, total in totals.items()
        }

    def _advance(self, rates: Mapping[str, Figures], other: float = 0.0) -> None:
        at = self._count % LENGTH
        self._count += 1
        for name in rates:
            if name not in self._series and len(self._series) <= MAX_SERVICES:
                self._series[name] = Series()
        for name, series in self._series.items():
            series.put(at, rates.get(name, {}), other)


def _sum(all_rates: Iterable[Figures]) -> dict[str, float]:
    total: dict[str, float] = {}
    for rates in all_rates:
        for name, value in rates.items():
            total[name] = total.get(name, 0.0) + value
    return total
