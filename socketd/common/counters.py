"""
Plain counts per service, and a snapshot of them.

A live connection counts for itself; its counts are added here when it ends, so
that a byte is counted once and a message costs no more than an addition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import attrs
from attrs import define, field


class Counting(Protocol):
    """
    A live connection, as far as its counts go.
    """

    messages_received: int
    bytes_received: int
    bytes_sent: int


@define
class Counters:
    """
    What a service did since it started.

    @ivar connections: connections accepted.
    @ivar messages_received: receives that brought bytes for the protocol, of
        connections that have ended.
    @ivar bytes_received: bytes of these.
    @ivar bytes_sent: bytes sent to connections that have ended.
    @ivar datagrams_received: datagrams that came, those dropped too.
    @ivar datagrams_sent: datagrams that the kernel took.
    @ivar datagrams_unsent: datagrams that it refused.
    @ivar datagram_bytes_received: the bytes of those that came.
    @ivar datagram_bytes_sent: the bytes of those that the kernel took.
    @ivar datagrams_dropped: datagrams that the protocol did not see, by reason.
    @ivar accepts_failed: times that no connection could be accepted.
    @ivar full: times that accepting stopped because the limit was reached.
    @ivar refused: connections that were not let in, by reason.
    @ivar timed_out: connections that a deadline ended, by its name.
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

    def add(self, ended: Counting) -> None:
        """
        Take over the counts of a connection that has ended.
        """
        self.messages_received += ended.messages_received
        self.bytes_received += ended.bytes_received
        self.bytes_sent += ended.bytes_sent

    def total(self, live: Iterable[Counting]) -> Counters:
        """
        Take a snapshot: a copy, with the live connections counted in.
        """
        total = attrs.evolve(
            self,
            datagrams_dropped=self.datagrams_dropped.copy(),
            refused=self.refused.copy(),
            timed_out=self.timed_out.copy(),
        )
        for connection in live:
            total.add(connection)
        return total
