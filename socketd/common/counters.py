"""
Plain counters per service, and snapshots of them.

A live connection has its own counters, which are added to the service's when it ends:
each byte is counted once, and a message costs one addition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

import attrs
from attrs import define, field

#: The reasons for which protocols drop a datagram: one longer than they take, one whose answer
#: would be delayed beside too many others, and the answer of another server, which would be
#: answered in turn.
TOO_LONG, DELAY_QUEUE, LOOP = "too_long", "delay_queue", "loop"


class Counting(Protocol):
    """The counters of a live connection."""

    messages_received: int
    bytes_received: int
    bytes_sent: int


@define
class Counters:
    """
    The counters of a service since its start.

    @ivar connections: accepted connections.
    @ivar messages_received: receives with data for the protocol, on ended connections.
    @ivar bytes_received: bytes of these receives.
    @ivar bytes_sent: bytes sent on ended connections.
    @ivar datagrams_received: received datagrams, including dropped ones.
    @ivar datagrams_sent: datagrams accepted by the kernel for sending.
    @ivar datagrams_unsent: datagrams that the kernel refused to send.
    @ivar datagram_bytes_received: bytes of received datagrams, including dropped ones.
    @ivar datagram_bytes_sent: bytes of sent datagrams.
    @ivar datagrams_dropped: datagrams not passed to the protocol, by reason.
    @ivar accepts_failed: how often accepting failed for lack of system resources.
    @ivar full: how often accepting stopped because the limit was reached.
    @ivar refused: rejected connections, by reason.
    @ivar timed_out: connections closed by a deadline, by its option.
    @ivar faults: connections and datagrams on which a fault acted, by its name.
    @ivar responses: HTTP answers, by the class of their status: C{2xx}.
    @ivar nts_sessions: requests for NTS keys, by result.
    @ivar nts_requests: NTP requests with extension fields of NTS, by result.
    @ivar nts_keys: changes of the keys of NTS cookies.
    @ivar bad_requests: HTTP requests that were not answered as asked, by reason.
    @ivar ipsla: what C{ipsla} has opened and answered, and what it has not, by reason.
    @ivar numbered: datagrams with a number, by what the numbers show.
    @ivar probes: packets of measurements, by the class of their session and what became of them.
    """

    connections: int = 0
    messages_received: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    datagrams_received: int = 0
    datagrams_sent: int = 0
    datagrams_unsent: int = 0
    datagram_bytes_received: int = 0
    datagram_bytes_sent: int = 0
    accepts_failed: int = 0
    full: int = 0
    datagrams_dropped: Counter[str] = field(factory=Counter)
    refused: Counter[str] = field(factory=Counter)
    timed_out: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)
    responses: Counter[str] = field(factory=Counter)
    bad_requests: Counter[str] = field(factory=Counter)
    numbered: Counter[str] = field(factory=Counter)
    nts_sessions: Counter[str] = field(factory=Counter)
    nts_requests: Counter[str] = field(factory=Counter)
    nts_keys: Counter[str] = field(factory=Counter)
    probes: Counter[tuple[str, str]] = field(factory=Counter)
    ipsla: Counter[str] = field(factory=Counter)

    def add(self, ended: Counting) -> None:
        """Add the counters of a connection that has ended."""
        self.messages_received += ended.messages_received
        self.bytes_received += ended.bytes_received
        self.bytes_sent += ended.bytes_sent

    def include(self, other: Counters) -> None:
        """Add all counters of another process."""
        for name, figure in attrs.asdict(other, recurse=False).items():
            if isinstance(figure, Counter):
                getattr(self, name).update(figure)
            else:
                setattr(self, name, getattr(self, name) + figure)

    def total(self, live: Iterable[Counting]) -> Counters:
        """Return a snapshot that includes the live connections."""
        figures: dict[str, Any] = attrs.asdict(self, recurse=False)
        tables = {name: one.copy() for name, one in figures.items() if isinstance(one, Counter)}
        total = Counters(**figures | tables)
        for connection in live:
            total.add(connection)
        return total
