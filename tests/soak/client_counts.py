"""
What the clients saw, by service, to be compared with what the daemon counted; and by kind of load,
for the report. Each client has counts of its own, so that none waits for a lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs
from attrs import define, field


@define
class ServiceCounts:
    """
    What clients did at one service, and what they saw of it.

    @ivar connects: connections that the kernel made.
    @ivar round_trips: messages whose answer was awaited before the next one.
    @ivar sent: bytes of connections that ended well; L{received} likewise.
    @ivar aborted: connections that ended otherwise: not all of their bytes may have arrived.
    @ivar asked: datagrams that the kernel took.
    @ivar unbound: datagrams from a socket without address.
    @ivar silent: datagrams that have no answer.
    @ivar refused: connections that were refused, by reason.
    @ivar possibly_refused: those whose peer cannot tell a refusal from a reset a moment later.
    @ivar overdue: connections that a deadline ended, by its name.
    @ivar dropped: datagrams that must be dropped, by reason.
    @ivar tallies: what metrics of protocols must say, by their name and the values of their
        labels.
    """

    connects: int = 0
    round_trips: int = 0
    sent: int = 0
    received: int = 0
    aborted: int = 0
    aborted_sent: int = 0
    aborted_received: int = 0
    asked: int = 0
    answered: int = 0
    unbound: int = 0
    silent: int = 0
    refused: Counter[str] = field(factory=Counter)
    possibly_refused: Counter[str] = field(factory=Counter)
    overdue: Counter[str] = field(factory=Counter)
    dropped: Counter[str] = field(factory=Counter)
    tallies: Counter[tuple[str, str]] = field(factory=Counter)


@define
class LoadCounts:
    """
    What one kind of load did.

    @ivar times: complete exchanges.
    @ivar bytes: in both directions.
    @ivar checked: replies that were as they should be.
    """

    times: int = 0
    bytes: int = 0
    checked: int = 0


@define
class ClientCounts:
    """Counts by service, and by kind of load."""

    services: dict[str, ServiceCounts] = field(factory=dict)
    loads: dict[str, LoadCounts] = field(factory=dict)

    def service(self, name: str) -> ServiceCounts:
        return self.services.setdefault(name, ServiceCounts())

    def load(self, name: str) -> LoadCounts:
        """The counts of a kind of load."""
        return self.loads.setdefault(name, LoadCounts())


def total(parts: Iterable[ClientCounts]) -> ClientCounts:
    """Add up the counts of all clients."""
    found = ClientCounts()
    for part in parts:
        for name, service in part.services.items():
            _add(found.service(name), service)
        for name, load in part.loads.items():
            _add(found.load(name), load)
    return found


def _add(whole: ServiceCounts | LoadCounts, part: ServiceCounts | LoadCounts) -> None:
    for one in attrs.fields(type(whole)):
        setattr(whole, one.name, getattr(whole, one.name) + getattr(part, one.name))
