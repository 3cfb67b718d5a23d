"""
Socket addresses as Twisted's address objects, and as text for people.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Literal

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import InvalidAddressError
from twisted.internet.interfaces import IAddress

from socketd.common.events import escaped

#: What socket calls take for 255.255.255.255.
BROADCAST = "<broadcast>"


def to_address(family: int, kind: int, name: Any) -> IAddress:
    """
    Make an address object of what a socket call returned.

    @param family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @param kind: C{SOCK_STREAM} or C{SOCK_DGRAM}.
    """
    if family == socket.AF_INET:
        return IPv4Address(_word(kind), name[0], name[1])
    if family == socket.AF_INET6:
        return IPv6Address(_word(kind), *to_pair(family, name), *name[2:])
    return UNIXAddress(name or None)


def to_pair(family: int, name: Any) -> Any:
    """
    Write what a socket call returned as Twisted's datagram protocols know addresses:
    of IPv6 too a host and a port, the scope of a link-local one in the host (RFC 4007,
    11.2).
    """
    if family != socket.AF_INET6:
        return name
    host, port, _, scope = name
    return (f"{host}%{_scope_name(scope)}" if scope else host), port


def from_pair(family: int, pair: Any) -> Any:
    """
    Make what socket calls take of an address in the form of L{to_pair}.

    @raise OSError: if there is no such scope.
    """
    if family != socket.AF_INET6 or "%" not in pair[0]:
        return pair
    host, _, scope = pair[0].partition("%")
    return host, pair[1], 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def check_host(family: int, host: str) -> None:
    """
    Refuse what is no address of a family: to look a host name up may block.

    @raise InvalidAddressError: says what it is.
    """
    if family == socket.AF_INET6 and not isIPv6Address(host):
        raise InvalidAddressError(host, "not an IPv6 address")
    if family == socket.AF_INET and not (isIPAddress(host) or host == BROADCAST):
        raise InvalidAddressError(host, "not an IPv4 address")


def _scope_name(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        # The interface has gone since.
        return str(scope)


def host_of(family: int, name: Any) -> str:
    """
    Name the host of a peer, without its port.
    """
    return "unix" if family == socket.AF_UNIX else str(name[0])


def describe(family: int, name: Any) -> str:
    """
    Write an address for people: C{127.0.0.1:7}, C{[::1]:7} or a path.
    """
    if family == socket.AF_UNIX:
        # A peer chooses the path of its own socket.
        return f"unix {escaped(os.fsencode(name))}".rstrip()
    host = f"[{name[0]}]" if family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"


def _word(kind: int) -> Literal["TCP", "UDP"]:
    return "TCP" if kind == socket.SOCK_STREAM else "UDP"
