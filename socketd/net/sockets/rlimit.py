"""
Whether the process may have as many descriptors as the configuration promises.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

from socketd.settings.diagnostics import Diagnostic
from socketd.settings.model import DAEMON, DEFAULTS, Settings

#: Descriptors for everything but connections and listeners: logs, the control
#: socket, files of certificates, the reactor itself.
RESERVED = 128

#: Connections at once where the configuration does not say.
MAX_CONNECTIONS = 10_000


def raise_limit() -> int:
    """
    Raise the soft limit of descriptors to the hard one.

    @return: the limit that holds from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def room(settings: Settings, limit: int) -> int:
    """
    Count the connections for which a limit of descriptors has room.
    """
    listeners = sum(len(service.listeners) for service in settings.services)
    return limit - RESERVED - listeners


def most_connections(settings: Settings, limit: int) -> int:
    """
    Find how many connections the daemon has at most.
    """
    return settings.daemon.max_connections or max(1, min(MAX_CONNECTIONS, room(settings, limit)))


def diagnostics(settings: Settings, limit: int) -> Iterator[Diagnostic]:
    """
    Complain of each C{max_connections} for which there is no room.
    """
    most = room(settings, limit)
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
