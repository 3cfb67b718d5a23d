"""Listeners: the addresses that a service is served at, and where their sockets are bound."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from attrs import frozen

from socketd.common.host_names import bracketed

#: Long enough for any reactor pause that is too short to trigger the watchdog; the kernel
#: caps it at net.core.somaxconn.
DEFAULT_BACKLOG = 4096

#: Owner and group; access to the service is granted by group membership.
DEFAULT_MODE = 0o660

#: The kind of sockets passed by systemd, which come with their family and type.
INHERITED = "systemd"

#: Names of the wildcard address in other programs.
EVERY = ("*", "any", "all")

#: The wildcard address of each family.
_WILDCARDS = ("0.0.0.0", "::")

#: The address family and the type of the socket of each kind.
KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "tls": (socket.AF_INET, socket.SOCK_STREAM),
    "tls6": (socket.AF_INET6, socket.SOCK_STREAM),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
    "unixgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}


@frozen
class Listener:
    """
    One address that a service listens on.

    @ivar kind: the prefix: C{tcp}, C{udp6}, C{unix}, ...
    @ivar interface: an address or a host name; empty for the wildcard address.
    @ivar port: 0 lets the kernel choose one.
    @ivar optional: whether it is skipped if the machine lacks its address or its address
        family.
    @ivar name: the C{FileDescriptorName=} of sockets passed by systemd.
    @ivar proxied: whether each connection begins with a PROXY header.
    """

    kind: str
    interface: str = ""
    port: int = 0
    path: str = ""
    mode: int = DEFAULT_MODE
    backlog: int = DEFAULT_BACKLOG
    optional: bool = False
    name: str = ""
    tls: bool = False
    proxied: bool = False

    @property
    def is_inherited(self) -> bool:
        """Whether systemd passes its sockets."""
        return self.kind == INHERITED

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of its socket."""
        return KINDS[self.kind][0]

    @property
    def type(self) -> socket.SocketKind:
        """The type of its socket: stream or datagram."""
        return KINDS[self.kind][1]

    @property
    def has_file(self) -> bool:
        """Whether it has a socket file; an abstract UNIX socket, with a NUL in front, has none."""
        return bool(self.path) and self.path[0] != "\0"

    @property
    def is_stream(self) -> bool:
        """Whether it is known to accept connections; the type of those of systemd is not."""
        return not self.is_inherited and self.type == socket.SOCK_STREAM

    def __str__(self) -> str:
        """Format it for display: C{tcp 127.0.0.1:7007}."""
        if self.is_inherited:
            return f"{self.kind} {self.name}"
        if self.path:
            return f"{self.kind} {self.path}"
        return f"{self.kind} {bracketed(self.interface or '*')}:{self.port}"


def only_datagrams(listeners: Sequence[Listener]) -> bool:
    """Say whether a service has no connections; systemd may hand over any socket."""
    return not any(one.is_stream or one.is_inherited for one in listeners)


def only_streams(listeners: Sequence[Listener]) -> bool:
    """Say whether a service has no datagrams; systemd may hand over any socket."""
    return all(one.is_stream for one in listeners)


@frozen
class BindAddress:
    """
    The canonical bind address of a listener: at a reload, a listener can take over the
    socket of another one with an equal place.

    @ivar host: the interface; empty for the wildcard address.
    @ivar path: the path with the symbolic links of its directory resolved, but not those of
        its last component.
    """

    family: socket.AddressFamily
    type: socket.SocketKind
    host: str = ""
    port: int = 0
    path: str = ""


def bind_address(listener: Listener) -> BindAddress:
    """Return the bind address of a listener, independent of its protocol, TLS and spelling."""
    family, type_ = listener.family, listener.type
    if listener.path and not listener.has_file:
        return BindAddress(family, type_, path=listener.path)
    if listener.path:
        directory, name = os.path.split(listener.path)
        # bind(2) follows symbolic links in the directory, but not in the last component.
        return BindAddress(family, type_, path=os.path.join(os.path.realpath(directory), name))
    return BindAddress(family, type_, canonical_host(listener.interface, family), listener.port)


def canonical_host(host: str, family: socket.AddressFamily) -> str:
    """
    Normalise an address to the system's spelling, and a host name to lower case.

    @return: the host; an empty string for the wildcard address.
    """
    if not host:
        return ""
    if host.lower() == "localhost":
        # Always resolves to loopback (RFC 6761, 6.3).
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"
    try:
        # Numeric only: no DNS lookup, so this neither blocks nor varies.
        found = socket.getaddrinfo(host, 0, family, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return host.lower()
    address, _, *scope = found[0][4]
    if address in _WILDCARDS:
        return ""
    return f"{address}%{scope[1]}" if scope and scope[1] else str(address)


def is_local(listener: Listener) -> bool:
    """Say whether it is known, without a DNS lookup, that only this machine reaches a listener."""
    try:
        host = canonical_host(listener.interface, listener.family)
        return bool(listener.path) or ip_address(host).is_loopback
    except ValueError:
        # A host name, or the wildcard address.
        return False
