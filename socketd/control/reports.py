"""The commands that report on the daemon, its services, listeners and certificates."""

from __future__ import annotations

from math import floor

from socketd.common.events import timestamp
from socketd.common.table import LIST, LIST_GAP, duration
from socketd.control.operator_session import IOperatorSession
from socketd.control.results import CommandResult, Value
from socketd.daemon.daemon import Daemon
from socketd.daemon.snapshot import Snapshot
from socketd.daemon.state import State

#: Seconds.
DAY = 86400

_SERVICE_COLUMNS = (
    "service", "protocol", "listens", "open", "total", "messages", "datagrams", "in", "out",
)  # fmt: skip
_SERVICE_UNITS = {"listens": LIST, "in": "bytes", "out": "bytes"}


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
