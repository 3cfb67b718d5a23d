"""
What one worker has of the limits that the operator sets for the whole daemon.

What is counted for each source is exact as it is, since one worker meets all of a source.
"""

from __future__ import annotations

from attrs import evolve

from socketd.access.datagram_guard import IPV4_NETWORK, IPV6_NETWORK, NETWORK_SHARE
from socketd.net.sockets.group import Sharing
from socketd.net.sockets.rlimit import connection_limit
from socketd.settings.model import ServiceSettings, Settings


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
