"""Ports for what must listen where a test says."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

#: The first port of those that the system gives to clients, in a file (ip(7)).
CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

#: Ports below those of clients, from which one is drawn: so many that tests which run at the
#: same time hardly ever draw the same.
CHOICE = 10_000

#: How many may be taken.
TRIES = 100


def free_port() -> int:
    """
    Find a port that nothing has over TCP and UDP, and that no client is given before the test
    has it.
    """
    first = int(CLIENTS.read_text().split()[0])
    for port in random.sample(range(max(1024, first - CHOICE), first), TRIES):
        with suppress(OSError), socket.socket() as stream:
            with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                for sock in (stream, datagrams):
                    sock.bind(("", port))
                return port
    raise AssertionError("no port is free")
