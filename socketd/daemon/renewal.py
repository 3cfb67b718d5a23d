"""Apply new settings to a running service: its access policy and its live connections."""

from __future__ import annotations

import socket
from typing import Any

from socketd.access.addresses import packed
from socketd.access.capacity import Capacity
from socketd.access.datagram_guard import NETWORK
from socketd.access.policy import AccessPolicy, Slot, make_policy
from socketd.net.service_state import ServiceState
from socketd.settings.model import Service


def renew(service_state: ServiceState, service: Service, clock: Any) -> None:
    """
    Apply new settings to a running service.

    The connection count is kept; connections that the new policy refuses are reset, the
    others get a slot in their source's new quota.

    @param clock: the clock of the reactor.
    """
    old = service_state.policy
    timeout = service.tls.handshake_timeout
    policy = make_policy(service.policy, Capacity(None), clock, timeout, old.bans)
    policy.capacity = old.capacity
    policy.capacity.limit = service.policy.max_connections
    service_state.policy = policy
    service_state.change_logging(service.common.log_connections, service.common.log_messages)
    for connection in service_state.connections:
        if not connection.peer_known:
            # The PROXY header is still pending; the new policy is applied when it arrives.
            continue
        slot, reason = _ask_again(policy, connection)
        connection.reapply_policy(slot, reason)


def _ask_again(policy: AccessPolicy, connection: Any) -> tuple[Slot | None, str | None]:
    family, peer = connection.source
    if family == socket.AF_UNIX:
        return None, None
    address = packed(peer[0])
    if not policy.networks.admits(address):
        return None, NETWORK
    return policy.readmit(address), None
