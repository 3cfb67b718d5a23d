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


def _count(metric: str, help: str) -> Any:
    """Declare a counter, with the name of its metric and what that says."""
    return field(default=0, metadata={"metric": metric, "help": help})


def _table(metric: str, help: str, *labels: str) -> Any:
    """Declare counters by labels: the reason, for example."""
    return field(factory=Counter, metadata={"metric": metric, "help": help, "labels": labels})


@define
class Counters:
    """
    The counters of a service since its start; those of bytes are of connections that have ended.
    """

    connections: int = _count("connections_total", "Connections that were accepted.")
    messages_received: int = _count(
        "messages_received_total", "Receives that brought bytes for the protocol on connections."
    )
    bytes_received: int = _count("received_bytes_total", "Bytes received on connections.")
    bytes_sent: int = _count("sent_bytes_total", "Bytes sent on connections.")
    accepts_failed: int = _count(
        "accept_failures_total", "Times that accept failed for lack of descriptors or memory."
    )
    full: int = _count("full_total", "Times that accepting stopped at the limit.")
    datagrams_received: int = _count(
        "datagrams_received_total", "Datagrams received, those dropped too."
    )
    datagrams_sent: int = _count("datagrams_sent_total", "Datagrams sent in answer.")
    datagram_bytes_received: int = _count(
        "datagrams_received_bytes_total", "Bytes of the datagrams received, those dropped too."
    )
    datagram_bytes_sent: int = _count(
        "datagrams_sent_bytes_total", "Bytes of the datagrams sent in answer."
    )
    datagrams_unsent: int = _count(
        "datagrams_unsent_total", "Answers that the kernel refused to send."
    )
    refused: Counter[str] = _table(
        "connections_refused_total", "Connections that were refused, by reason.", "reason"
    )
    timed_out: Counter[str] = _table(
        "connections_overdue_total", "Connections that a deadline ended, by its option.", "reason"
    )
    datagrams_dropped: Counter[str] = _table(
        "datagrams_dropped_total", "Datagrams that were dropped unanswered, by reason.", "reason"
    )
    responses: Counter[str] = _table(
        "http_responses_total", "HTTP responses, by the class of their status.", "class"
    )
    bad_requests: Counter[str] = _table(
        "http_bad_requests_total",
        "HTTP requests that were not answered as asked, by reason.",
        "reason",
    )
    numbered: Counter[str] = _table(
        "numbered_datagrams_total",
        "Datagrams whose numbers were counted, by what these show; lost and late: a gap, and"
        " filled.",
        "result",
    )
    ipsla: Counter[str] = _table(
        "ipsla_total",
        "Control messages and probes of IP SLA, and ports opened, by what became of them.",
        "result",
    )
    nts_sessions: Counter[str] = _table(
        "nts_sessions_total", "Connections that asked for keys of NTS, by result.", "result"
    )
    nts_requests: Counter[str] = _table(
        "nts_requests_total", "NTP requests with fields of NTS, by result.", "result"
    )
    nts_keys: Counter[str] = _table(
        "nts_keys_total",
        "Times that keys of NTS cookies were read, made, rotated or not saved, by result.",
        "result",
    )
    probes: Counter[tuple[str, str]] = _table(
        "probes_total",
        "Packets of measurements, by the class of their session and what became of them.",
        "class",
        "result",
    )
    faults: Counter[str] = _table(
        "faults_total",
        "Connections and datagrams on which a fault of the service's profile acted, by fault.",
        "fault",
    )

    def add(self, ended: Counting) -> None:
        """Add the counters of a connection that has ended."""
        self.messages_received += ended.messages_received
        self.bytes_received += ended.bytes_received
        self.bytes_sent += ended.bytes_sent

    def include(self, other: Counters) -> None:
        """Add all counters of another."""
        for name, figure in attrs.asdict(other, recurse=False).items():
            if isinstance(figure, Counter):
                getattr(self, name).update(figure)
            else:
                setattr(self, name, getattr(self, name) + figure)

    def total(self, live: Iterable[Counting]) -> Counters:
        """Return a snapshot that includes the live connections."""
        total = Counters()
        total.include(self)
        for connection in live:
            total.add(connection)
        return total
