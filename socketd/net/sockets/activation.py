"""
Socket activation: sockets that systemd, or another implementation of sd_listen_fds(3),
passes at start.

Importing C{twisted.internet.endpoints} removes the variables from the environment, and
keeps one socket of those with the same name, or none where they have no names. So
L{Inherited.take} reads the variables itself, and must be called before that import.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Collection, MutableMapping
from typing import Any

from attrs import frozen

from socketd.common.text import escaped
from socketd.net.addresses import describe

#: SD_LISTEN_FDS_START of sd_listen_fds(3).
FIRST = 3

#: More sockets than this are an error in LISTEN_FDS: no configuration names that many,
#: and 1024 is the usual descriptor limit. Each one costs some system calls.
MAX_INHERITED = 1024

#: The name of a socket without a name (sd_listen_fds_with_names).
UNNAMED = "unknown"

_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"

#: The fourth one, of newer systemd versions, tells apart processes with a reused PID.
_VARIABLES = (_PID, _COUNT, _NAMES, "LISTEN_PIDFDID")

_NUMBER = re.compile(r"[0-9]{1,10}")
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_SERVED = "hand over listening streams and bound datagram sockets of IPv4, IPv6 or UNIX"

#: Other file types that a descriptor can have.
_FILES = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
)


class _Unusable(ValueError):
    """An unusable inherited descriptor or variable; the text says why."""


@frozen(eq=False)
class InheritedSocket:
    """
    An inherited socket: bound, non-blocking and close-on-exec.

    @ivar name: its name in the socket unit; several may have the same name.
    @ivar family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @ivar type: C{SOCK_STREAM}, then it listens; or C{SOCK_DGRAM}.
    @ivar address: the result of getsockname(2) when it was taken.
    """

    name: str
    sock: socket.socket
    family: socket.AddressFamily
    type: socket.SocketKind
    address: Any

    @property
    def is_stream(self) -> bool:
        """Whether it accepts connections."""
        return self.type == socket.SOCK_STREAM

    def describe(self) -> str:
        """Format its address for display, as L{socketd.net.addresses.describe} does."""
        return describe(self.family, self.address)


@frozen(eq=False)
class Inherited:
    """
    All inherited sockets.

    @ivar sockets: those that can be served, in the order of their descriptors.
    @ivar diagnostics: one line for each descriptor or variable that is unusable.
    """

    sockets: tuple[InheritedSocket, ...] = ()
    diagnostics: tuple[str, ...] = ()

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int, first: int = FIRST) -> Inherited:
        """
        Take the sockets passed to this process, and remove the variables.

        An unusable descriptor stays open: its owner is not known.

        @param environ: the environment of the process.
        @param pid: the process id; sockets for another process are not taken.
        @param first: the first descriptor.
        """
        asked, number, names = (environ.get(name) for name in (_PID, _COUNT, _NAMES))
        for variable in _VARIABLES:
            environ.pop(variable, None)
        try:
            if asked is None or number is None or _read_number(_PID, asked) != pid:
                return cls()
            named = _read_names(_read_count(number), names)
        except _Unusable as problem:
            return cls(diagnostics=(str(problem),))
        return cls._take_all(named, first)

    @classmethod
    def _take_all(cls, names: list[str], first: int) -> Inherited:
        sockets, diagnostics = [], []
        for number, name in enumerate(names, first):
            try:
                sockets.append(_take(number, name))
            except _Unusable as problem:
                diagnostics.append(f"inherited descriptor {number} ({_shown(name)}): {problem}")
        return cls(tuple(sockets), tuple(diagnostics))

    def names(self) -> list[str]:
        """List the distinct names of the sockets, in their order."""
        return list(dict.fromkeys(one.name for one in self.sockets))

    def named(self, name: str) -> list[InheritedSocket]:
        """List the sockets with this name."""
        return [one for one in self.sockets if one.name == name]

    def unclaimed(self, claimed: Collection[str]) -> list[InheritedSocket]:
        """List the sockets that have none of these names: their peers would never be served."""
        return [one for one in self.sockets if one.name not in claimed]


def _read_number(variable: str, text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise _Unusable(f"{variable} = {_shown(text)}: is no number")
    return int(text)


def _read_count(text: str) -> int:
    count = _read_number(_COUNT, text)
    if count > MAX_INHERITED:
        raise _Unusable(f"{_COUNT} = {_shown(text)}: is more than {MAX_INHERITED} sockets")
    return count


def _read_names(count: int, text: str | None) -> list[str]:
    if not text:
        return [UNNAMED] * count
    names = text.split(":")
    if len(names) != count:
        raise _Unusable(
            f"{_NAMES} = {_shown(text)}: has {len(names)} names for {count} sockets;"
            " put one colon between two names"
        )
    return [name or UNNAMED for name in names]


def _take(number: int, name: str) -> InheritedSocket:
    """
    Make a socket from a descriptor.

    @raise _Unusable: says what is wrong with it; the descriptor then stays open.
    """
    try:
        _check_is_socket(number)
        sock = socket.socket(fileno=number)
    except OSError as problem:
        raise _unusable(problem) from None
    try:
        taken = _look_at(sock, name)
        sock.setblocking(False)
    except (OSError, _Unusable) as problem:
        sock.detach()
        raise _unusable(problem) from None
    return taken


def _check_is_socket(number: int) -> None:
    # No child process inherits any of these, whether usable or not.
    os.set_inheritable(number, False)
    mode = os.fstat(number).st_mode
    if not stat.S_ISSOCK(mode):
        kind = next((words for is_kind, words in _FILES if is_kind(mode)), "no socket")
        raise _Unusable(f"is {kind}; {_SERVED}")


def _look_at(sock: socket.socket, name: str) -> InheritedSocket:
    """Ask the kernel for the properties of a socket: the variables do not give them."""
    family = sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
    kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    if family not in _FAMILIES:
        raise _Unusable(f"is of address family {family}; {_SERVED}")
    if kind not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        raise _Unusable(f"is of type {_type_name(kind)}; {_SERVED}")
    if kind == socket.SOCK_STREAM and not _listens(sock):
        raise _Unusable(f"does not listen; {_SERVED}")
    address = sock.getsockname()
    if kind == socket.SOCK_DGRAM and not _is_bound(family, address):
        raise _Unusable(f"is not bound; {_SERVED}")
    types = socket.AddressFamily(family), socket.SocketKind(kind)
    return InheritedSocket(name, sock, *types, address)


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _is_bound(family: int, address: Any) -> bool:
    return bool(address if family == socket.AF_UNIX else address[1])


def _type_name(kind: int) -> str:
    return {int(known): known.name for known in socket.SocketKind}.get(kind, str(kind))


def _unusable(problem: OSError | _Unusable) -> _Unusable:
    if isinstance(problem, OSError):
        return _Unusable(problem.strerror or str(problem))
    return problem


def _shown(text: str) -> str:
    return escaped(os.fsencode(text))
