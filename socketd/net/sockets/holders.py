"""
Find the process that holds an address in use, as far as Linux tells.

Used only after bind(2) has failed: it scans the descriptors of every process.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from attrs import frozen

from socketd.access.addresses import IPV4_BYTES, canonical
from socketd.common.text import escaped
from socketd.settings.listeners import BindAddress, Listener, bind_address

PROC = Path("/proc")

#: The text for this process.
THIS = "this daemon itself"

#: Bound on the sockets read from a table (a tenth of a second).
MAX_SOCKETS = 50_000

#: Bound on the descriptors scanned (a tenth of a second), since it blocks the reactor.
MAX_DESCRIPTORS = 50_000

#: proc(5): the state of a listening TCP socket.
_LISTENS = "0A"

#: The inode of a TCP socket that no process has open.
_CLOSED = "0"

#: The fields of a row of the UNIX table with a path.
_WITH_PATH = 8


@frozen
class _Socket:
    """A row of a socket table; C{uid} is its owner, if the table says."""

    inode: str
    listens: bool = True
    uid: int | None = None


def holder_of(listener: Listener, proc: Path = PROC) -> str:
    """
    Name the holder of a listener's address, or of one that overlaps it (wildcard): C{NAME
    (process 7)}, C{a process of USER}, or empty if it is not known.
    """
    place = bind_address(listener)
    rows = _paths(proc, place) if place.path else _ports(proc, place)
    try:
        found = sorted(rows, key=lambda row: not row.listens)
        return _process_with(proc, [row.inode for row in found]) or _user(found)
    except (OSError, ValueError, IndexError):
        # There is no /proc, or it is not that of Linux.
        return ""


def _ports(proc: Path, place: BindAddress) -> Iterator[_Socket]:
    word = "tcp" if place.type == socket.SOCK_STREAM else "udp"
    # A dual-stack IPv6 socket can hold the IPv4 port, too.
    tables = [word, f"{word}6"] if place.family == socket.AF_INET else [f"{word}6"]
    for fields in (row for table in tables for row in _rows(proc, table)):
        host, _, port = fields[1].partition(":")
        if int(port, 16) == place.port and fields[9] != _CLOSED:
            host = _host(host)
            if host == place.host or not (host and place.host):
                yield _Socket(fields[9], fields[3] == _LISTENS, int(fields[7]))


def _paths(proc: Path, place: BindAddress) -> Iterator[_Socket]:
    for fields in _rows(proc, "unix"):
        if len(fields) == _WITH_PATH and os.path.isabs(fields[-1]):
            directory, name = os.path.split(fields[-1])
            if os.path.join(os.path.realpath(directory), name) == place.path:
                yield _Socket(fields[6])


def _rows(proc: Path, table: str) -> Iterator[list[str]]:
    """Read a socket table; a path is the last field, spaces included."""
    parts = _WITH_PATH - 1 if table == "unix" else -1
    file = proc / "net" / table
    with suppress(FileNotFoundError), file.open(errors="surrogateescape") as lines:
        yield from (line.rstrip("\n").split(None, parts) for line in islice(lines, 1, MAX_SOCKETS))


def _host(text: str) -> str:
    """
    Convert an address of the kernel's table, 32-bit words in host byte order, to the spelling
    of L{BindAddress}; IPv4-mapped becomes IPv4.
    """
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    address = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = canonical(address)
    family = socket.AF_INET if len(address) == IPV4_BYTES else socket.AF_INET6
    return socket.inet_ntop(family, address) if any(address) else ""


def _process_with(proc: Path, inodes: Collection[str]) -> str:
    """Find a process that has one of these sockets open, if this process may inspect it."""
    links = {f"socket:[{inode}]" for inode in inodes}
    for path in islice(_descriptors(proc), MAX_DESCRIPTORS if links else 0):
        with suppress(OSError):
            if os.readlink(path) in links:
                process = path.split("/")[-3]
                if int(process) == os.getpid():
                    return THIS
                name = (proc / process / "comm").read_bytes().rstrip(b"\n")
                return f"{escaped(name)} (process {process})"
    return ""


def _descriptors(proc: Path) -> Iterator[str]:
    for process in filter(str.isdecimal, os.listdir(proc)):
        # The process may have ended, or belong to another user.
        with suppress(OSError):
            directory = f"{proc}/{process}/fd"
            yield from (f"{directory}/{number}" for number in os.listdir(directory))


def _user(found: list[_Socket]) -> str:
    uid = next((row.uid for row in found if row.uid is not None), None)
    if uid is None:
        return ""
    try:
        return f"a process of {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"a process of user {uid}"
