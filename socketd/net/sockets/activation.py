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
    An inherited socket: bound, non-blocking, close-on-exec, and listening if it is a stream.

    @ivar name: its name in the socket unit; several may have the same name.
    @ivar address: the result of getsockname(2) when it was taken.
    """

    name: str
    sock: socket.socket
    address: Any

    @property
    def is_stream(self) -> bool:
        """Whether it accepts connections."""
        return self.sock.type == socket.SOCK_STREAM

    def describe(self) -> str:
        """Format its address for display."""
        return describe(self.sock.family, self.address)


@frozen(eq=False)
class Inherited:
    """
    All inherited sockets, in the order of their descriptors.

    @ivar diagnostics: one line for each descriptor or variable that is unusable.
    """

    sockets: tuple[InheritedSocket, ...] = ()
    diagnostics: tuple[str, ...] = ()

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int, first: int = FIRST) -> Inherited:
        """
        Take the sockets passed to this process, and remove the variables. Sockets for another
        process are not taken; an unusable descriptor stays open, as its owner is not known.
        """
        asked, count, names = (environ.get(name) for name in (_PID, _COUNT, _NAMES))
        for variable in _VARIABLES:
            environ.pop(variable, None)
        try:
            if asked is None or count is None or _read_number(_PID, asked) != pid:
                return cls()
            named = _read_names(_read_number(_COUNT, count), names)
        except _Unusable as problem:
            return cls(diagnostics=(str(problem),))
        sockets, diagnostics = [], []
        for number, name in enumerate(named, first):
            try:
                sockets.append(_take(number, name))
            except (OSError, _Unusable) as problem:
                reason = getattr(problem, "strerror", None) or problem
                diagnostics.append(f"inherited descriptor {number} ({_shown(name)}): {reason}")
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


def _read_names(count: int, text: str | None) -> list[str]:
    if count > MAX_INHERITED:
        raise _Unusable(f"{_COUNT} = {count}: is more than {MAX_INHERITED} sockets")
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

    @raise OSError, _Unusable: says what is wrong with it; the descriptor then stays open.
    """
    sock = None
    try:
        _check_is_socket(number)
        sock = socket.socket(fileno=number)
        taken = _inspect(sock, name)
        sock.setblocking(False)
    except (OSError, _Unusable):
        if sock is not None:
            sock.detach()
        raise
    return taken


def _check_is_socket(number: int) -> None:
    # No child process inherits any of these, whether usable or not.
    os.set_inheritable(number, False)
    mode = os.fstat(number).st_mode
    if not stat.S_ISSOCK(mode):
        what = next((words for is_type, words in _FILES if is_type(mode)), "no socket")
        raise _Unusable(f"is {what}; {_SERVED}")


def _inspect(sock: socket.socket, name: str) -> InheritedSocket:
    """Check a socket, whose family and type Python has asked the kernel for."""
    if sock.family not in _FAMILIES:
        raise _Unusable(f"is of address family {int(sock.family)}; {_SERVED}")
    if sock.type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        raise _Unusable(f"is of type {getattr(sock.type, 'name', sock.type)}; {_SERVED}")
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type == socket.SOCK_STREAM and not listens:
        raise _Unusable(f"does not listen; {_SERVED}")
    address = sock.getsockname()
    is_bound = address if sock.family == socket.AF_UNIX else address[1]
    if sock.type == socket.SOCK_DGRAM and not is_bound:
        raise _Unusable(f"is not bound; {_SERVED}")
    return InheritedSocket(name, sock, address)


def _shown(text: str) -> str:
    return escaped(os.fsencode(text))
