"""Create the socket of a listener, with its options, at its address."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, ENOENT
from typing import Any

from attrs import evolve

from socketd.net.sockets.holders import THIS, holder_of
from socketd.net.sockets.sockopts import TABLE, Refused, wanted
from socketd.settings.listeners import BindAddress, Listener, bind_address, canonical_host
from socketd.settings.model import SocketOptions

#: The receive buffer of datagram sockets (bytes), unless configured: as far as
#: net.core.rmem_max allows, so that a burst is not lost while the reactor serves others.
RECEIVE_BUFFER = 1024 * 1024

#: Errors of a machine that lacks the address or its whole family.
_ABSENT = (EADDRNOTAVAIL, EAFNOSUPPORT, socket.EAI_ADDRFAMILY, socket.EAI_FAMILY)

#: What helps where bind(2) fails, by error and whether the address is a path: ip(7), unix(7).
_REMEDIES = {
    (EACCES, False): "ports below 1024 need CAP_NET_BIND_SERVICE; have it, or ",
    (EACCES, True): "",
    (ENOENT, True): "make its directory, or ",
    (EEXIST, True): "",
}


class CannotListen(Exception):
    """
    A listener's socket could not be bound; the text says why.

    @ivar absent: whether the machine lacks the address or the whole address family.
    @ivar remedy: what helps besides another address, up to a comma; C{None} if nothing is known.
    """

    def __init__(self, reason: str, absent: bool = False, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.absent = absent
        self.remedy = remedy

    @classmethod
    def because(cls, problem: Exception, listener: Listener | None = None) -> CannotListen:
        """Convert an error, naming the process that holds the listener's address if in use."""
        if not isinstance(problem, OSError):
            return cls(str(problem))
        reason, absent = problem.strerror or str(problem), problem.errno in _ABSENT
        if isinstance(problem, socket.gaierror):
            return cls(f"bad host: {reason}", absent)
        if listener is None:
            return cls(reason, absent)
        if problem.errno == EADDRINUSE:
            holder = holder_of(listener)
            stop = "" if holder in ("", THIS) else "stop that, or "
            return cls(f"{reason} by {holder}" if holder else reason, remedy=stop)
        return cls(reason, absent, _REMEDIES.get((problem.errno or 0, bool(listener.path))))

    def line(self, owner: str, listener: Listener, place: str) -> str:
        """
        Format the error as one line for the operator.

        @param owner: the service or option that the listener belongs to.
        @param place: where it is configured.
        """
        advice = ""
        if self.remedy is not None:
            another = "path" if listener.path else "port"
            advice = f"; {self.remedy}write another {another} in {place}"
        return f"{owner} cannot listen at {listener}: {self}{advice}"


def bind_socket(
    listener: Listener, options: SocketOptions, beside: Sequence[socket.socket] = ()
) -> socket.socket:
    """
    Create a listener's socket, set its options and bind it.

    @param beside: sockets of this daemon with a conflicting address.
    @raise OSError: if a step fails.
    @raise Refused: if the system refuses an option.
    """
    sock = socket.socket(listener.family, listener.type)
    try:
        prepare(sock, listener, options)
        with sharing(sock, *beside):
            _bind(sock, listener)
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket, listener: Listener, options: SocketOptions) -> None:
    """Set what must be set before bind(2); raises as L{bind_socket} does."""
    sock.setblocking(False)
    if listener.family == socket.AF_INET6:
        # tcp: and tcp6: listeners may share a port.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if not listener.is_stream:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    for name, value in wanted(options, listener):
        try:
            TABLE[name].apply(sock, value)
        except Refused as refused:
            raise Refused(f"{name}: {refused}") from None


@contextmanager
def sharing(*socks: socket.socket) -> Iterator[None]:
    """
    Set SO_REUSEPORT on several sockets for a moment, so that they do not conflict: bind(2)
    and listen(2) check it on existing sockets, too (socket(7)).
    """
    if len(socks) == 1:
        yield
        return
    option = socket.SOL_SOCKET, socket.SO_REUSEPORT
    before = [sock.getsockopt(*option) for sock in socks]
    try:
        for sock in socks:
            sock.setsockopt(*option, 1)
        yield
    finally:
        for sock, value in zip(socks, before):
            sock.setsockopt(*option, value)


def _bind(sock: socket.socket, listener: Listener) -> None:
    if listener.family != socket.AF_UNIX:
        sock.bind(resolve(listener))
        return
    if listener.has_file:
        _remove_stale(listener)
    # bind(2) itself creates the file with its mode; a chmod(2) afterwards would leave a
    # moment in which others can connect.
    before = os.umask(0o777 & ~listener.mode)
    try:
        sock.bind(listener.path)
    finally:
        os.umask(before)


def _remove_stale(listener: Listener) -> None:
    """Remove a socket file that a killed daemon left behind, unless a process listens there."""
    try:
        mode = os.lstat(listener.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(EEXIST, "the file is there and is no socket")
    with socket.socket(listener.family, listener.type) as probe:
        probe.setblocking(False)
        try:
            probe.connect(listener.path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(listener.path)
            return
        except BlockingIOError:
            pass  # its backlog is full: a process listens
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))


def resolve(listener: Listener) -> Any:
    """Resolve a listener's interface to a socket address with scope: the first result."""
    host = listener.interface or None
    kinds = (listener.family, listener.type)
    try:
        found = socket.getaddrinfo(host, listener.port, *kinds, flags=socket.AI_PASSIVE)
    except UnicodeError:
        # The name cannot be encoded as a DNS name.
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    return found[0][4]


def look_up(listener: Listener) -> BindAddress:
    """The address that a listener binds, with its host name resolved."""
    place = bind_address(listener)
    if not place.port:
        return place
    try:
        host = resolve(listener)[0]
    except OSError:
        # bind() will fail as well, and report the reason.
        return place
    return evolve(place, host=canonical_host(host, place.family))
