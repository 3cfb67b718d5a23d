"""
Put a live service under new rules: its door, and the connections that are in.
"""

from __future__ import annotations

import socket
from typing import Any

from socketd.access.datagram_guard import NETWORK
from socketd.access.policy import AccessPolicy, Slot, make_policy
from socketd.access.rates import Capacity, packed
from socketd.net.service_state import ServiceState
from socketd.settings.model import Service


def renew(service_state: ServiceState, service: Service, clock: Any) -> None:
    """
    Have a site do as the service's new settings say.

    The capacity stays, for it counts who is in; whoever may no longer come in is
    reset, and the others have their place under the new limits.

    @param clock: the reactor's.
    """
    old = service_state.policy
    timeout = service.tls.handshake_timeout
    policy = make_policy(service.policy, Capacity(None), clock, timeout, old.bans)
    policy.capacity = old.capacity
    policy.capacity.limit = service.policy.max_connections
    service_state.policy = policy
    service_state.change_logging(service.common.log_connections, service.common.log_messages)
    for connection in service_state.connections:
        if not connection.known:
            # Its PROXY header is still to come; then the new door is asked.
            continue
        slot_held, reason = _ask_again(policy, connection)
        connection.reapply_policy(slot_held, reason)


def _ask_again(policy: AccessPolicy, connection: Any) -> tuple[Slot | None, str | None]:
    family, peer = connection.source
    if family == socket.AF_UNIX:
        return None, None
    address = packed(peer[0])
    if not policy.networks.admits(address):
        return None, NETWORK
    return policy.keep(address), None
