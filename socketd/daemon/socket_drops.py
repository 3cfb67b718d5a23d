"""Counts of datagrams that the kernel dropped before the daemon could receive them."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterable, Mapping

# asm-generic/socket.h; Python's module has no names for these.
_SO_MEMINFO = 55
_SO_COOKIE = 57

# SK_MEMINFO_VARS of linux/sock_diag.h; the last one is SK_MEMINFO_DROPS.
_MEMINFO = struct.Struct("9I")
_COOKIE = struct.Struct("Q")

#: The kernel's counter has 32 bits.
_WRAP = 1 << 32


class KernelDrops:
    """
    Counts datagrams dropped because the receive buffer of their socket was full.

    SO_MEMINFO reads one socket; /proc/net/udp has the same number, but lists all sockets
    of the machine.
    """

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._last: dict[int, int] = {}

    def update(self, sockets: Iterable[tuple[str, socket.socket]]) -> Mapping[str, int]:
        """Return the drops of each service, including those at sockets since closed."""
        last: dict[int, int] = {}
        for name, sock in sockets:
            self._totals[name] += 0
            found = _ask(sock)
            if found is not None:
                cookie, drops = found
                self._totals[name] += (drops - self._last.get(cookie, 0)) % _WRAP
                last[cookie] = drops
        self._last = last
        return self._totals


def _ask(sock: socket.socket) -> tuple[int, int] | None:
    # The cookie is unique until reboot; before Linux 4.12 the kernel lacks the options.
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        cookie = sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _COOKIE.size)
        return _COOKIE.unpack(cookie)[0], _MEMINFO.unpack(memory)[-1]
    except (OSError, struct.error):
        return None
