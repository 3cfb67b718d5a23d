"""Two configurations that differ in everything, and what a refused reload must not change."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

import attrs

from socketd.daemon.daemon import Daemon
from socketd.net.sockets.sockopts import TABLE
from tests.support.daemons import descriptors

#: Where tcpi_sacked is in struct tcp_info (linux/tcp.h): the backlog of a socket that
#: listens.
TCP_INFO_BACKLOG = 28


def backlog(sock: socket.socket) -> int:
    """Ask the kernel how many may wait at a TCP socket that listens."""
    found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (number,) = struct.unpack_from("I", found, TCP_INFO_BACKLOG)
    return int(number)


def options_of(sock: socket.socket) -> dict[str, object]:
    """Ask the kernel for all that the configuration can set of a socket."""
    found: dict[str, object] = {}
    for name, option in TABLE.items():
        where = option.name
        try:
            found[name] = sock.getsockopt(*where, *((option.size,) if option.size else ()))
        except OSError:
            found[name] = None
    if sock.type == socket.SOCK_STREAM and sock.family == socket.AF_INET:
        found["backlog"] = backlog(sock)
    return found


def snapshot(daemon: Daemon) -> dict[str, Any]:
    """Note all that a refused reload must leave as it is."""
    services = daemon.services
    bound = [one for service in services for one in service.bound]
    paths = [one.listener.path for one in bound if one.listener.path]
    states = [service.service_state for service in services]
    return {
        "settings": daemon.settings,
        "services": services,
        "bound": [(one, one.listener, one.port, one.sock.fileno()) for one in bound],
        "names": [one.sock.getsockname() for one in bound],
        "options": [options_of(one.sock) for one in bound],
        "files": [(os.stat(path).st_ino, os.stat(path).st_mode) for path in paths],
        "policies": [(one, one.policy, one.policy.capacity.limit) for one in states],
        "logging": [(one.log_connections, one.log_messages) for one in states],
        "deadlines": [one.policy.deadlines for one in states],
        "capacity": (daemon.shared.capacity.limit, daemon.shared.capacity.occupancy),
        "bans": daemon.bans.current(),
        "event_bus": (daemon.event_bus.level, daemon.event_bus.quiet),
        "observers": len(daemon.event_bus._on_watched),
        "connections": list(daemon.connection_table),
        "former": dict(daemon.removed),
        "snapshot": attrs.evolve(daemon.snapshot(), uptime=0.0, reloads={}),
        "datagram_ports": set(daemon.shared.datagram_ports),
        "readers": set(daemon.reactor.getReaders()),
        "descriptors": descriptors(),
    }


BEFORE = """
[socketd]
log_level = warn
max_connections = 50
[one]
protocol = echo
listen = tcp:0:interface=127.0.0.1:backlog=9, udp:0:interface=127.0.0.1
[two]
protocol = upper
listen = unix:{runtime}/two.sock:mode=600
log_connections = no
[gone]
protocol = echo
listen = tcp:0:interface=127.0.0.2
"""

#: It changes all that a file can change of the one before.
AFTER = """
[socketd]
log_level = debug
log_quiet = 127.0.0.0/8
max_connections = 40
[one]
protocol = upper
listen = tcp:0:interface=127.0.0.1:backlog=33, udp:0:interface=127.0.0.1
max_connections = 3
max_per_source = 2
idle_timeout = 1s
so_keepalive = no
so_sndbuf = 100KiB
so_rcvbuf = 100KiB
log_messages = text
[two]
protocol = echo
listen = unix:{runtime}/two.sock:mode=666:backlog=5
deny = any
"""
