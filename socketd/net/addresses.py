"""
Socket addresses as Twisted's address objects, and as text for people.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Literal

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from socketd.events import escaped


def to_address(family: int, kind: int, name: Any) -> IAddress:
    """
    Make an address object of what a socket call returned.

    @param family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @param kind: C{SOCK_STREAM} or C{SOCK_DGRAM}.
    """
    if family == socket.AF_INET:
        return IPv4Address(_word(kind), name[0], name[1])
    if family == socket.AF_INET6:
        return IPv6Address(_word(kind), *name)
    return UNIXAddress(name or None)


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
