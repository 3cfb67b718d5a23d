"""
What a start needs beside its configuration, and this machine may have by then: said by
C{socketd check}, and no reason to refuse the configuration.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from socketd.net.listen import look_up
from socketd.settings.listeners import Listener

#: capabilities(7): CAP_NET_BIND_SERVICE, as a bit of a mask.
_BIND_SERVICE = 1 << 10

#: The lowest port that needs no privilege, where the kernel does not tell (ip-sysctl).
_UNPRIVILEGED = 1024

_LOWEST = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_STATUS = Path("/proc/self/status")


def needed(listener: Listener, runtime: str) -> str:
    """
    Say what is missing for a listener; nothing is bound there.

    @param runtime: the directory for UNIX sockets, which a start makes.
    @return: nothing if all is there.
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
        return "needs a place where no file is; what is there is no socket"
    return ""


def _needed_address(listener: Listener) -> str:
    if not listener.interface:
        return ""
    host = look_up(listener).host
    try:
        # At a port of the kernel's choice, that no peer knows.
        with socket.socket(listener.family, socket.SOCK_DGRAM) as trial:
            trial.bind((host, 0))
    except socket.gaierror:
        return f"needs the host name {listener.interface}, which has no address now"
    except OSError:
        return f"needs the address {listener.interface}, which this machine has not now"
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
