"""
Put a live service under new rules: its door, and the connections that are in.
"""

from __future__ import annotations

import socket
from typing import Any

from socketd.access.datagram_guard import NETWORK
from socketd.access.policy import Door, Entrance, make_door
from socketd.access.rates import Capacity, packed
from socketd.net.service_state import Site
from socketd.settings.model import Service


def renew(site: Site, service: Service, clock: Any) -> None:
    """
    Have a site do as the service's new settings say.

    The capacity stays, for it counts who is in; whoever may no longer come in is
    reset, and the others have their place under the new limits.

    @param clock: the reactor's.
    """
    old = site.door
    timeout = service.tls.handshake_timeout
    door = make_door(service.door, Capacity(None), clock, timeout, old.bans)
    door.capacity = old.capacity
    door.capacity.limit = service.door.max_connections
    site.door = door
    site.change_logging(service.common.log_connections, service.common.log_messages)
    for connection in site.connections:
        if not connection.known:
            # Its PROXY header is still to come; then the new door is asked.
            continue
        entrance, reason = _ask_again(door, connection)
        connection.recheck(entrance, reason)


def _ask_again(door: Door, connection: Any) -> tuple[Entrance | None, str | None]:
    family, peer = connection.source
    if family == socket.AF_UNIX:
        return None, None
    address = packed(peer[0])
    if not door.networks.admits(address):
        return None, NETWORK
    return door.keep(address), None
