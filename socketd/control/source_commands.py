"""The command that lists the sources whose datagrams have numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from socketd.common.host_names import bracketed
from socketd.control.fault_commands import find_service
from socketd.control.operator_session import IOperatorSession
from socketd.control.results import CommandResult, Value
from socketd.daemon.daemon import Daemon
from socketd.daemon.service import SocketService

#: Sources listed per answer, as connections are.
MAX_SOURCES = 500

_COLUMNS = ("service", "source", "received", "lost", "late", "duplicate", "silent")


def sources(daemon: Daemon, session: IOperatorSession, service: str) -> CommandResult:
    """
    List the sources whose datagrams are counted by number, the latest of a service first.

    C{lost} is without what came late; C{silent} is the time since the last datagram.

    @raise CommandError: if there is no such service.
    """
    children = [find_service(daemon, service)] if service else daemon.services
    rows = (row for child in children for row in _rows(child, daemon.reactor.seconds()))
    found = list(islice(rows, MAX_SOURCES))
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
