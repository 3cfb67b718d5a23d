"""
Which process has an address that could not be had, as far as Linux tells.

Nothing here is asked while all goes well: the answer costs a look at every process.
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

from socketd.common.events import escaped
from socketd.settings.listeners import Listener, Place, place_of

PROC = Path("/proc")

#: What is said of this process.
THIS = "this daemon itself"

#: So many sockets of a table are looked at (a tenth of a second).
MAX_SOCKETS = 50_000

#: So many descriptors of other processes are (a tenth of a second): peers wait meanwhile.
MAX_DESCRIPTORS = 50_000

#: proc(5): the state of a TCP socket that listens.
_LISTENS = "0A"

#: The inode of a TCP socket that no process has any more.
_CLOSED = "0"

#: So many fields has a row of UNIX sockets with a path.
_WITH_PATH = 8


@frozen
class _Socket:
    """
    A row of a table of sockets.

    @ivar uid: whose it is; C{None} if the table does not say.
    """

    inode: str
    listens: bool = True
    uid: int | None = None


def holder_of(listener: Listener, proc: Path = PROC) -> str:
    """
    Name who has the address of a listener, or one that is among it or that it is among.

    @param proc: where proc(5) is.
    @return: C{NAME (process 7)}, C{a process of USER}, or nothing if it is not known.
    """
    place = place_of(listener)
    rows = _paths(proc, place) if place.path else _ports(proc, place)
    try:
        found = sorted(rows, key=lambda row: not row.listens)
        return _process_with(proc, [row.inode for row in found]) or _user(found)
    except (OSError, ValueError, IndexError):
        # There is no /proc here, or it is none of Linux.
        return ""


def _ports(proc: Path, place: Place) -> Iterator[_Socket]:
    word = "tcp" if place.type == socket.SOCK_STREAM else "udp"
    # A socket for IPv6 may have the port of IPv4, too.
    tables = [word, f"{word}6"] if place.family == socket.AF_INET else [f"{word}6"]
    for fields in (row for table in tables for row in _rows(proc, table)):
        host, _, port = fields[1].partition(":")
        if int(port, 16) == place.port and fields[9] != _CLOSED:
            host = _host(host)
            if host == place.host or not (host and place.host):
                yield _Socket(fields[9], fields[3] == _LISTENS, int(fields[7]))


def _paths(proc: Path, place: Place) -> Iterator[_Socket]:
    for fields in _rows(proc, "unix"):
        if len(fields) == _WITH_PATH and os.path.isabs(fields[-1]):
            directory, name = os.path.split(fields[-1])
            if os.path.join(os.path.realpath(directory), name) == place.path:
                yield _Socket(fields[6])


def _rows(proc: Path, table: str) -> Iterator[list[str]]:
    """
    Read a table of sockets; a path is the last field, whatever is in it.
    """
    parts = _WITH_PATH - 1 if table == "unix" else -1
    file = proc / "net" / table
    with suppress(FileNotFoundError), file.open(errors="surrogateescape") as lines:
        yield from (line.rstrip("\n").split(None, parts) for line in islice(lines, 1, MAX_SOCKETS))


def _host(text: str) -> str:
    """
    Read an address as the kernel writes it: words of 32 bits in its own order of bytes.

    @return: in the spelling of L{Place}; an IPv4-mapped one as the IPv4 address that it is.
    """
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    if packed[:12] == bytes(10) + b"\xff\xff":
        packed = packed[12:]
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed) if any(packed) else ""


def _process_with(proc: Path, inodes: Collection[str]) -> str:
    """
    Find a process that has one of these sockets open, among those that this one may look
    into.
    """
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
        # It may have ended, or be another user's.
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
