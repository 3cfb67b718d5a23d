"""The fault C{accept = refuse}: a listening socket whose connections the kernel refuses."""

from __future__ import annotations

import socket
import struct
from errno import EINVAL

from socketd.settings.faults.profile import FaultOptions
from socketd.settings.faults.values import REFUSE

#: C{tcpi_sacked} in C{struct tcp_info} (linux/tcp.h): of a socket that listens, its backlog.
_BACKLOG = struct.Struct("28xI")


def are_all_refused(options: FaultOptions) -> bool:
    """Say whether every connection is refused: the kernel cannot refuse some of them."""
    for_all = options.share == 1 and options.first is None and not options.skip
    return for_all and options.action == REFUSE


def stop_listening(sock: socket.socket) -> int:
    """
    Have the kernel refuse connections, also those that wait: on Linux, shutdown(2) ends that a
    TCP socket listens, and nothing else.

    @return: its backlog, for L{listen_again}.
    """
    tcp_info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BACKLOG.size)
    address = sock.getsockname()
    sock.shutdown(socket.SHUT_RDWR)
    try:
        # A port that the kernel chose is free now.
        sock.bind(address)
    except OSError as problem:
        if problem.errno != EINVAL:
            raise
    backlog: int = _BACKLOG.unpack(tcp_info)[0]
    return backlog


def listen_again(sock: socket.socket, backlog: int) -> None:
    """Accept connections again, unless that has already begun (a reload does so)."""
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(backlog)
