"""
What the kernel has dropped before the daemon could receive it.
"""

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

#: The kernel counts in so many bits.
_WRAP = 1 << 32


class KernelDrops:
    """
    Counts datagrams that found the receive buffer of their socket full.

    SO_MEMINFO asks one socket about itself. /proc/net/udp would have the same number,
    in a list of all sockets of the machine.
    """

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._last: dict[int, int] = {}

    def update(self, sockets: Iterable[tuple[str, socket.socket]]) -> Mapping[str, int]:
        """
        Ask the kernel.

        @param sockets: those that are open, each with the name of its service.
        @return: what each service has lost, at sockets that are closed by now, too.
        """
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
    """
    @return: what identifies the socket until the machine is started anew, and how many
        datagrams it has lost; C{None} where the kernel does not tell (before Linux 4.12).
    """
    try:
        memory = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        cookie = sock.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, _COOKIE.size)
        return _COOKIE.unpack(cookie)[0], _MEMINFO.unpack(memory)[-1]
    except (OSError, struct.error):
        return None
