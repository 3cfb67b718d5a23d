"""Conversion of socket addresses to Twisted's address objects and to printable text."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, Literal

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import InvalidAddressError
from twisted.internet.interfaces import IAddress

from socketd.common.text import escaped

#: The name that socket calls accept for 255.255.255.255.
BROADCAST = "<broadcast>"


def to_address(family: int, type_: int, name: Any) -> IAddress:
    """
    Convert a socket address to Twisted's address object.

    @param type_: C{SOCK_STREAM} or C{SOCK_DGRAM}.
    """
    word: Literal["TCP", "UDP"] = "TCP" if type_ == socket.SOCK_STREAM else "UDP"
    if family == socket.AF_INET:
        return IPv4Address(word, name[0], name[1])
    if family == socket.AF_INET6:
        return IPv6Address(word, *to_pair(family, name), *name[2:])
    return UNIXAddress(name or None)


def to_pair(family: int, name: Any) -> Any:
    """
    Convert a socket address to Twisted's datagram form: host and port, also for IPv6, with
    the scope of a link-local address in the host (RFC 4007, 11.2).
    """
    if family != socket.AF_INET6:
        return name
    host, port, _, scope = name
    if scope:
        # The interface may have been removed.
        with suppress(OSError):
            scope = socket.if_indextoname(scope)
        host = f"{host}%{scope}"
    return host, port


def from_pair(family: int, pair: Any) -> Any:
    """
    Convert an address from the form of L{to_pair} to a socket address.

    @raise OSError: if there is no interface of the scope's name.
    """
    if family != socket.AF_INET6 or "%" not in pair[0]:
        return pair
    host, _, scope = pair[0].partition("%")
    return host, pair[1], 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def check_host(family: int, host: str) -> None:
    """
    Reject anything but an address of the family, since resolving a host name may block.

    @raise InvalidAddressError: if it is no such address.
    """
    if family == socket.AF_INET6 and not isIPv6Address(host):
        raise InvalidAddressError(host, "not an IPv6 address")
    if family == socket.AF_INET and not (isIPAddress(host) or host == BROADCAST):
        raise InvalidAddressError(host, "not an IPv4 address")


def host_of(family: int, name: Any) -> str:
    """The host of a peer, without its port."""
    return "unix" if family == socket.AF_UNIX else str(name[0])


def describe(family: int, name: Any) -> str:
    """Format an address as printable text: C{127.0.0.1:7}, C{[::1]:7} or a path."""
    if family == socket.AF_UNIX:
        # Untrusted: a peer chooses the path of its own socket.
        return f"unix {escaped(os.fsencode(name))}".rstrip()
    host = f"[{name[0]}]" if family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"
