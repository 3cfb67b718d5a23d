"""The descriptor limit (RLIMIT_NOFILE), and whether it suffices for the configuration."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from socketd.settings.diagnostics import Diagnostic
from socketd.settings.model import DAEMON, DEFAULTS, MAX_FURTHER, Settings

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


def available(settings: Settings, limit: int) -> int:
    """Compute how many connections a descriptor limit allows."""
    listeners = sum(len(service.listeners) for service in settings.services)
    further = (service.declared.further_ports(service.options) for service in settings.services)
    return limit - RESERVED - listeners - sum(min(len(ports), MAX_FURTHER) for ports in further)


def connection_limit(settings: Settings, limit: int) -> int:
    """Compute the daemon's connection limit."""
    most = min(MAX_CONNECTIONS, available(settings, limit))
    return settings.daemon.max_connections or max(1, most)


def diagnostics(settings: Settings, limit: int) -> Iterator[Diagnostic]:
    """Report each C{max_connections} that exceeds the descriptor limit."""
    most = available(settings, limit)
    asked = {(DAEMON, settings.daemon.max_connections): settings.lines}
    for service in settings.services:
        section = DEFAULTS if "max_connections" in service.inherited else service.name
        asked[section, service.policy.max_connections] = service.lines
    for (section, value), lines in asked.items():
        if value is not None and value > most:
            message = f"needs more descriptors than the {limit} that a process may have here;"
            message += f" write up to {max(0, most)}, or raise LimitNOFILE= or ulimit -n"
            line = lines["max_connections"]
            yield Diagnostic(
                settings.file, line, message, section, "max_connections", str(value)
            )
