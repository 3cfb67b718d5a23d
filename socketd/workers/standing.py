"""What operators have changed since the start: a worker that is started again has it, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import LogLevel

from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import Switches, switches, take_switches
from socketd.settings.networks import Network


def standing(daemon: Daemon) -> dict[str, Any]:
    """Collect it, as the arguments of L{take}."""
    now = daemon.reactor.seconds()
    bans = [(one.network, one.ends and one.ends - now) for one in daemon.bans.current()]
    level = daemon.event_bus.level.name
    return {"bans": bans, "faults": switches(daemon.services), "level": level}


def take(
    daemon: Daemon,
    bans: Sequence[tuple[Network, float | None]],
    faults: Switches,
    level: str,
) -> None:
    """Have a daemon that has just begun to serve continue with it."""
    for network, seconds in bans:
        daemon.bans.add(network, seconds)
    daemon.event_bus.level = LogLevel.levelWithName(level)
    take_switches(daemon.services, daemon.settings.faults, faults)
