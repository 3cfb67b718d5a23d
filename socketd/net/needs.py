"""
Preconditions of a start that this machine does not meet now: C{socketd check} reports them,
but accepts the configuration, since they may be met by the time of the start.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from socketd.net.sockets.bind import look_up
from socketd.settings.listeners import Listener

#: The bit mask of CAP_NET_BIND_SERVICE (capabilities(7)).
_BIND_SERVICE = 1 << 10

#: The lowest unprivileged port, if the kernel's setting cannot be read (ip-sysctl).
_UNPRIVILEGED = 1024

_LOWEST = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_STATUS = Path("/proc/self/status")


def needed(listener: Listener, runtime: str) -> str:
    """
    Say what a listener lacks, if anything, without binding its port or path.

    @param runtime: the directory for UNIX sockets, which a start creates.
    """
    if listener.is_inherited:
        return f"needs a socket unit with FileDescriptorName={listener.name}, or cannot start"
    if listener.path:
        return _needed_by_path(listener.path, runtime)
    return "" if listener.optional else _needed_address(listener) or _needed_privilege(listener)


def _needed_by_path(path: str, runtime: str) -> str:
    directory = os.path.dirname(path)
    if directory and directory != runtime and not os.path.isdir(directory):
        return f"needs the directory {directory}, which is not there"
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        return "needs a free path; the file there is no socket"
    return ""


def _needed_address(listener: Listener) -> str:
    host = look_up(listener).host
    try:
        # Port 0: the kernel chooses one that is free.
        with socket.socket(listener.family, socket.SOCK_DGRAM) as scratch:
            scratch.bind((host, 0))
    except socket.gaierror:
        return f"needs the host name {listener.interface}, which has no address now"
    except OSError:
        # Every machine with this daemon has IPv4.
        what = f"the address {listener.interface}" if listener.interface else "IPv6"
        return f"needs {what}, which this machine has not now"
    return ""


def _needed_privilege(listener: Listener) -> str:
    if not 0 < listener.port < _lowest() or _has_privilege():
        return ""
    return f"needs CAP_NET_BIND_SERVICE for a port below {_lowest()}, which this user has not"


def _lowest() -> int:
    try:
        return int(_LOWEST.read_text())
    except (OSError, ValueError):
        return _UNPRIVILEGED


def _has_privilege() -> bool:
    try:
        lines = _STATUS.read_text().splitlines()
        mask = next(line for line in lines if line.startswith("CapEff:")).split()[1]
    except (OSError, StopIteration):
        return os.geteuid() == 0
    return bool(int(mask, 16) & _BIND_SERVICE)
