"""
The figures of all workers: what each has told last, and the sums of the processes that have died.

A worker is asked at least once a second; what it has counted after that is lost with it. No sum
ever goes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

import attrs
from attrs import define, evolve, field, frozen

from socketd.common.counters import Counters
from socketd.common.lag import BUCKETS, Lag
from socketd.daemon.snapshot import ServiceSnapshot, Snapshot
from socketd.workers import checks
from socketd.workers.link import Malformed

#: The most reasons of one counter, and listeners of one service, that a worker may name.
MAX_NAMES = 1024


def tell(snapshot: Snapshot, lag: Lag) -> dict[str, Any]:
    """Make the figures of a worker fit for the link."""
    services = [
        {
            "name": one.name,
            "connections": one.connections,
            "counters": {
                name: [[_key(key), count] for key, count in figure.items()]
                if isinstance(figure, Counter) else figure
                for name, figure in attrs.asdict(one.counters, recurse=False).items()
            },
            "listeners": one.listeners,
            "drops": one.kernel_drops or 0,
            "faulty": one.fault.connections if one.fault else 0,
        }
        for one in (*snapshot.services, *snapshot.removed)
    ]  # fmt: skip
    return {"services": services, "waiting": snapshot.waiting, "lag": attrs.asdict(lag)}


def _key(key: Any) -> Any:
    return list(key) if isinstance(key, tuple) else key


@frozen
class Share:
    """
    What one worker counts of a service.

    @ivar listeners: its listeners, those too that only it has.
    @ivar drops: what the kernel has dropped at these.
    @ivar faulty: how many connections came since the service's fault profile is on.
    """

    connections: int
    counters: Counters
    listeners: tuple[str, ...]
    drops: int
    faulty: int


@define
class Shares:
    """What a worker has told: its part of each service, by name; all of them again if it died."""

    services: dict[str, Share] = field(factory=dict)
    waiting: int = 0
    lag: Lag = field(factory=Lag)


def take(services: Any = None, waiting: Any = None, lag: Any = None) -> Shares:
    """Undo L{tell}; raise L{Malformed} for anything else."""
    try:
        shares = dict(_share(**one) for one in services)
        measured = _lag(**lag)
    except (AttributeError, TypeError):
        raise Malformed("it told no figures") from None
    return Shares(shares, checks.count(waiting), measured)


def _share(name: Any, counters: Any, listeners: Any, **counts: Any) -> tuple[str, Share]:
    figures = {one: _figure(one, found) for one, found in counters.items()}
    counted: dict[str, Any] = {one: checks.count(found) for one, found in counts.items()}
    counted["listeners"] = tuple(map(checks.text, _list(listeners)))
    return checks.text(name), Share(counters=Counters(**figures), **counted)


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list) or len(found) > MAX_NAMES:
        raise Malformed("it told no list, or a long one")
    return found


def _pair(found: Any) -> list[Any]:
    pair = _list(found)
    if len(pair) != 2:
        raise Malformed("it told no pair")
    return pair


def _figure(name: str, found: Any) -> Any:
    labels = _LABELS.get(name, ())
    if not labels:
        return checks.count(found)
    reason = _two_reasons if len(labels) > 1 else checks.text
    return Counter({reason(key): checks.count(one) for key, one in map(_pair, _list(found))})


def _two_reasons(found: Any) -> Any:
    return tuple(map(checks.text, _pair(found)))


def _lag(counts: Any, total: Any, last: Any) -> Lag:
    counted = [checks.count(one) for one in _list(counts)]
    if len(counted) != len(BUCKETS) + 1:
        raise Malformed("it told no lag")
    return Lag(counted, checks.number(total), checks.number(last))


_LABELS = {one.name: one.metadata.get("labels", ()) for one in attrs.fields(Counters)}


@define(eq=False)
class Figures:
    """The figures of all workers, by their numbers."""

    size: int
    _last: list[Shares] = field(init=False)
    _dead: list[Shares] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._last = [Shares() for _ in range(self.size)]
        self._dead = [Shares() for _ in range(self.size)]

    @property
    def connections(self) -> int:
        """How many connections all of them have."""
        return sum(map(self.connections_of, range(self.size)))

    def connections_of(self, index: int) -> int:
        """How many connections a worker has."""
        return sum(share.connections for share in self._last[index].services.values())

    def note(self, index: int, told: Shares, names: Container[str]) -> None:
        """Note what a worker has told of the services that there are."""
        told.services = {name: one for name, one in told.services.items() if name in names}
        self._last[index] = told

    def bury(self, index: int) -> None:
        """Keep the counters of a worker that has died."""
        last, dead = self._last[index], self._dead[index]
        self._last[index] = Shares()
        for name, share in last.services.items():
            before = dead.services.get(name)
            if before is not None:
                share.counters.include(before.counters)
                share = evolve(share, drops=share.drops + before.drops)
            dead.services[name] = evolve(share, connections=0, listeners=(), faulty=0)
        dead.lag = last.lag.after(dead.lag)

    def lag(self, index: int) -> Lag:
        """Return the lag of a worker, with that of the processes before."""
        return self._last[index].lag.after(self._dead[index].lag)

    def add(self, own: Snapshot) -> Snapshot:
        """Add all of it to what the master shows of itself."""
        return evolve(
            own,
            services=tuple(map(self._of_service, own.services)),
            removed=tuple(map(self._of_service, own.removed)),
            waiting=sum(one.waiting for one in self._last),
            connections=self.connections,
        )

    def _of_service(self, own: ServiceSnapshot) -> ServiceSnapshot:
        told = (one.services.get(own.name) for one in (*self._last, *self._dead))
        found = [share for share in told if share is not None]
        counters = own.counters
        for share in found:
            counters.include(share.counters)
        listeners = [*own.listeners, *(text for share in found for text in share.listeners)]
        drops, fault = own.kernel_drops, own.fault
        if drops is not None:
            drops += sum(share.drops for share in found)
        if fault is not None:
            faulty = fault.connections + sum(share.faulty for share in found)
            fault = evolve(fault, connections=faulty)
        return evolve(
            own,
            connections=own.connections + sum(share.connections for share in found),
            listeners=tuple(dict.fromkeys(listeners)) if own.listeners else (),
            kernel_drops=drops,
            fault=fault,
        )
