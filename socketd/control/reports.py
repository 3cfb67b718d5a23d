"""The commands and events that report on the daemon and its services: what there is and waits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from math import floor
from typing import Any

from socketd.common.answers import Answer
from socketd.common.events import timestamp
from socketd.common.host_names import bracketed
from socketd.common.operator_queue import TOLD_WAITING
from socketd.common.table import LIST, LIST_GAP, duration
from socketd.control.fault_commands import find_service
from socketd.control.requests import IOperatorSession
from socketd.control.results import MAX_ROWS, CommandResult, Value
from socketd.daemon.daemon import Daemon
from socketd.daemon.service import SocketService
from socketd.daemon.snapshot import Snapshot
from socketd.daemon.state import State

_COLUMNS = ("service", "source", "received", "lost", "late", "duplicate", "silent")

#: Seconds.
DAY = 86400

_SERVICE_COLUMNS = (
    "service", "protocol", "listens", "open", "total", "messages", "datagrams", "in", "out",
)  # fmt: skip
_SERVICE_UNITS = {"listens": LIST, "in": "bytes", "out": "bytes"}


def sources(daemon: Daemon, session: IOperatorSession, service: str) -> CommandResult:
    """
    List the sources whose datagrams are counted by number, the latest of a service first. C{lost}
    is without what came late; C{silent} is the time since the last datagram.
    """
    children = [find_service(daemon, service)] if service else daemon.services
    rows = (row for child in children for row in _rows(child, daemon.reactor.seconds()))
    found = list(islice(rows, MAX_ROWS))
    return CommandResult(columns=_COLUMNS, rows=found, units={"silent": "seconds"})


def _rows(child: SocketService, now: float) -> Iterator[list[Value]]:
    for source, found in reversed(child.service_state.sources.items()):
        counts = found.arrivals
        lost, silent = counts.lost - counts.late, round(now - found.seen, 1)
        shown = [counts.received, lost, counts.late, counts.duplicate, silent]
        yield [child.name, _address(source), *shown]


def _address(source: Any) -> str:
    """Write a source as a protocol has it: a host and a port, or the name of a UNIX socket."""
    if not isinstance(source, tuple):
        return f"unix {os.fsdecode(source or '')}".rstrip()
    host, port = source
    return f"{bracketed(host)}:{port}"


def queue_event(daemon: Daemon) -> Answer:
    """Return the JSON object of the queue: the oldest connections, what they said, who attends."""
    waiting = daemon.operator.waiting
    now = daemon.operator.clock.seconds()
    oldest = [
        {
            "id": connection.connection_id,
            "service": connection.service_state.name,
            "peer": connection.peer,
            "said": question.said,
            "left": round(question.until - now, 1),
        }
        for question in waiting[:TOLD_WAITING]
        if (connection := daemon.find(question.transport.connection_id))
    ]
    count = daemon.operator.count if oldest else 0
    return {
        "event": "waiting",
        "count": count,
        "oldest": oldest,
        "operators": daemon.operator.names,
    }


def status(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """Show the state of the daemon."""
    now = daemon.snapshot()
    invalid = len(now.invalid_certificates)
    text = (
        f"up {duration(round(now.uptime))}, {len(now.services)} services,"
        f" {now.connections} connections, {now.waiting} waiting"
    )
    if invalid:
        text += f", certificates not valid: {invalid}"
    if now.state == State.DRAINING:
        text += ", draining"
    return CommandResult(text, facts=status_facts(now))


def status_facts(now: Snapshot) -> dict[str, Value]:
    """Return the values of C{status}."""
    return {
        "uptime": round(now.uptime, 3),
        "state": now.state,
        "services": len(now.services),
        "connections": now.connections,
        "waiting": now.waiting,
        "bans": now.bans,
        "invalid_certificates": len(now.invalid_certificates),
    }


def services(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """List the services with their counters."""
    rows = []
    for service in daemon.snapshot().services:
        total = service.counters
        row: list[Value] = [service.name, service.protocol, LIST_GAP.join(service.listeners)]
        row += [service.connections, total.connections]
        row += [total.messages_received, total.datagrams_received]
        received = total.bytes_received + total.datagram_bytes_received
        rows.append([*row, received, total.bytes_sent + total.datagram_bytes_sent])
    return CommandResult(columns=_SERVICE_COLUMNS, rows=rows, units=_SERVICE_UNITS)


def listeners(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """List the listeners, those of the daemon itself too, and whether they serve."""
    rows = [
        (name, str(bound), bound.missing or ("serving" if bound.is_serving else "down"))
        for name, bound in daemon.listeners()
    ]
    return CommandResult(columns=("service", "listener", "state"), rows=rows)


def certificates(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """List the services with TLS, and the days until their first certificate expires."""
    now = daemon.wall_clock()
    rows = [
        (
            service.name,
            floor((found.not_after - now) / DAY),
            timestamp(found.not_after),
            LIST_GAP.join(found.invalid),
        )
        for service in daemon.snapshot().services
        if (found := service.certificates) is not None
    ]
    return CommandResult(columns=("service", "days", "until", "problems"), rows=rows)
