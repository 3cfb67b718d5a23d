"""
What a worker is given to serve: its share of the settings, and what operators have changed.

The settings go as the master has read them: no worker reads a file that may have changed since.
Of the limits for the whole daemon each worker has a part. What is counted for each source is exact
as it is, since one worker meets all of a source.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.logger import LogLevel

from socketd.access.datagram_guard import IPV4_NETWORK, IPV6_NETWORK, NETWORK_SHARE
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import Switches, switches, take_switches
from socketd.net.sockets.group import Sharing
from socketd.net.sockets.rlimit import connection_limit
from socketd.protocols.registry import installed
from socketd.settings.model import ServiceSettings, Settings
from socketd.settings.networks import Network


def share_out(settings: Settings, sharing: Sharing, index: int, limit: int | None) -> Settings:
    """
    Return the settings of one worker; the shares of all make the numbers of the file.

    @param index: the worker's number, from 0.
    @param limit: the descriptor limit of each process; C{None}: not a constraint.
    """
    total = settings.daemon.max_connections
    if limit is not None:
        total = connection_limit(settings, limit, sharing.workers)
    most = _part(total, sharing.workers, index)
    services = tuple(_share(one, sharing, index) for one in settings.services)
    daemon = evolve(settings.daemon, max_connections=most)
    return evolve(settings, daemon=daemon, services=services)


def _share(service: ServiceSettings, sharing: Sharing, index: int) -> ServiceSettings:
    count, policy = sharing.count(service), service.policy
    if count == 1 or index >= count:
        return service
    shared = evolve(
        policy,
        max_connections=_part(policy.max_connections, count, index),
        udp_service_rate=policy.udp_service_rate / count,
    )
    if not (sharing.is_steered and _has_whole_networks(service)):
        rate = policy.udp_rate or service.declared.udp_rate
        network = policy.udp_network_rate or NETWORK_SHARE * rate
        shared = evolve(shared, udp_network_rate=network / count)
    return evolve(service, policy=shared)


def _part(total: int | None, count: int, index: int) -> int | None:
    return None if total is None else total // count + (index < total % count)


def _has_whole_networks(service: ServiceSettings) -> bool:
    """Whether a network is never more than one source, so that one worker meets all of it."""
    prefixes = service.policy.source_prefix
    return prefixes.ipv4 <= 8 * IPV4_NETWORK and prefixes.ipv6 <= 8 * IPV6_NETWORK


def pack(settings: Settings) -> bytes:
    """Pickle settings; a protocol goes by its name."""
    none: Any = None
    bare = [evolve(one, declared=none) for one in settings.services]
    return pickle.dumps(evolve(settings, services=tuple(bare)))


def unpack(packed: bytes) -> Settings:
    """Undo L{pack}, in a worker: the master is trusted."""
    settings: Settings = pickle.loads(packed)
    protocols = installed()
    services = (evolve(one, declared=protocols[one.protocol]) for one in settings.services)
    return evolve(settings, services=tuple(services))


def standing(daemon: Daemon) -> dict[str, Any]:
    """Collect what operators have changed since the start: arguments of L{take_standing}."""
    now = daemon.reactor.seconds()
    bans = [(one.network, one.ends and one.ends - now) for one in daemon.bans.current()]
    level = daemon.event_bus.level.name
    return {"bans": bans, "faults": switches(daemon.services), "level": level}


def take_standing(
    daemon: Daemon,
    bans: Sequence[tuple[Network, float | None]],
    faults: Switches,
    level: str,
) -> None:
    """Have a daemon that has just begun to serve continue with that."""
    for network, seconds in bans:
        daemon.bans.add(network, seconds)
    daemon.event_bus.level = LogLevel.levelWithName(level)
    take_switches(daemon.services, daemon.settings.faults, faults)
