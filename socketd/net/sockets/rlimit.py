"""The descriptor limit (RLIMIT_NOFILE), and whether it suffices for the configuration."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

from socketd.settings.diagnostics import Diagnostic
from socketd.settings.model import MAX_FURTHER, Settings

#: Descriptors for everything but connections and listeners: logs, the control socket,
#: certificate files, the reactor itself.
RESERVED = 128

#: The default of the daemon's max_connections.
MAX_CONNECTIONS = 10_000


def raise_limit() -> int:
    """Raise the soft descriptor limit to the hard one, and return that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def available(settings: Settings, limit: int, workers: int = 1) -> int:
    """Compute how many connections a descriptor limit allows that each of some workers has."""
    further = (service.declared.further_ports(service.options) for service in settings.services)
    ports = sum(min(len(ports), MAX_FURTHER) for ports in further)
    return workers * (limit - RESERVED - _listeners(settings) - ports)


def _listeners(settings: Settings) -> int:
    return sum(len(service.listeners) for service in settings.services)


def connection_limit(settings: Settings, limit: int, workers: int = 1) -> int:
    """Compute the daemon's connection limit."""
    most = min(MAX_CONNECTIONS, available(settings, limit, workers))
    return settings.daemon.max_connections or max(workers, most)


def diagnostics(settings: Settings, limit: int, workers: int = 1) -> Iterator[Diagnostic]:
    """
    Report each C{max_connections} that exceeds the descriptor limit, and workers whose sockets do,
    all of which their master has.
    """
    if workers > 1 and (sockets := workers * _listeners(settings)) > limit - RESERVED:
        message = f"needs {sockets} sockets, more than the {limit} descriptors that a process may"
        message += " have here; write fewer, or raise LimitNOFILE= or ulimit -n"
        yield settings.complaint("workers", message, workers)
    most = available(settings, limit, workers)
    asked: list[tuple[Any, int | None]] = [(settings, settings.daemon.max_connections)]
    asked += [(service, service.policy.max_connections) for service in settings.services]
    for section, value in asked:
        if value is not None and value > most:
            message = f"needs more descriptors than the {limit} that a process may have here;"
            message += f" write up to {max(0, most)}, or raise LimitNOFILE= or ulimit -n"
            yield section.complaint("max_connections", message, str(value))
