"""Control messages (ancillary data) of datagrams: arrival time, destination and IP header."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from attrs import frozen

# Constants of linux/in.h and asm/socket.h that the socket module lacks.
IP_PKTINFO = 8
IP_RECVTTL = 12
SO_TIMESTAMP = 29
SO_TIMESTAMPNS = 35

# struct cmsghdr; messages are aligned to size_t (cmsg(3)).
_HEADER = struct.Struct("@Nii")
_ALIGNMENT = struct.calcsize("@N")
_TIMESPEC = struct.Struct("@ll")

#: The header of a timestamp, and the two numbers that follow it.
TIME_FIELDS = "ll"
TIME_HEADER = _HEADER.pack(_HEADER.size + _TIMESPEC.size, socket.SOL_SOCKET, SO_TIMESTAMPNS)
_INT = struct.Struct("@i")

#: The TTL of answers for measurements: how far they have come shows from what is left of it (RFC
#: 5357, section 4.2.1).
MAX_TTL = 255

#: The size of the header of a control message.
HEADER_SIZE = _HEADER.size

_NANOSECONDS = 1_000_000_000


class ControlMessage(NamedTuple):
    """One control message."""

    level: int
    type: int
    data: memoryview


def control_messages(buffer: memoryview) -> Iterator[ControlMessage]:
    """
    Parse the control messages of one datagram (RFC 3542, section 20).

    @param buffer: the C{msg_controllen} bytes that the kernel wrote.
    """
    at = 0
    while at + HEADER_SIZE <= len(buffer):
        length, level, type_ = _HEADER.unpack_from(buffer, at)
        if length < HEADER_SIZE:
            return
        yield ControlMessage(level, type_, buffer[at + HEADER_SIZE : at + length])
        at += -(-length // _ALIGNMENT) * _ALIGNMENT


def arrival(buffer: memoryview) -> int | None:
    """Find the kernel's arrival time (SO_TIMESTAMPNS, socket(7)), in nanoseconds since 1970."""
    for message in control_messages(buffer):
        is_time = (message.level, message.type) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
        if is_time and len(message.data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(message.data)
            return int(seconds * _NANOSECONDS + nanoseconds)
    return None


class IpHeader(NamedTuple):
    """
    What the IP header of a datagram said; C{None} if the system does not tell.

    @ivar ttl: its TTL or hop limit on arrival.
    @ivar tos: its TOS or traffic class: DSCP and ECN (RFC 2474, RFC 3168).
    """

    ttl: int | None = None
    tos: int | None = None


_TTL_TYPES = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
_TOS_TYPES = {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}


def ip_header(buffer: memoryview) -> IpHeader:
    """Find TTL and TOS (ip(7)), or hop limit and traffic class (RFC 3542, section 6)."""
    ttl = tos = None
    for level, type_, data in control_messages(buffer):
        if (level, type_) in _TTL_TYPES and len(data) == _INT.size:
            ttl = int(_INT.unpack(data)[0])
        elif (level, type_) in _TOS_TYPES and data:
            # One byte of IPv4, an int of IPv6.
            tos = int(_INT.unpack(data)[0]) if len(data) == _INT.size else data[0]
    return IpHeader(ttl, tos)


def ask_for_ip_header(sock: socket.socket, ask: bool = True) -> None:
    """Enable or disable what L{ip_header} finds."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, ask)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, ask)
    elif sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, ask)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, ask)


@cache
def answer_header(family: int, tos: int) -> tuple[tuple[int, int, bytes], ...]:
    """Make the control messages of an answer with L{MAX_TTL} and this TOS or traffic class."""
    ttl_, tos_ = _INT.pack(MAX_TTL), _INT.pack(tos)
    if family == socket.AF_INET:
        return (socket.IPPROTO_IP, socket.IP_TTL, ttl_), (socket.IPPROTO_IP, socket.IP_TOS, tos_)
    if family == socket.AF_INET6:
        level = socket.IPPROTO_IPV6
        return (level, socket.IPV6_HOPLIMIT, ttl_), (level, socket.IPV6_TCLASS, tos_)
    return ()


@frozen
class Pktinfo:
    """
    The control message with the destination of a datagram: struct in_pktinfo (ip(7)) or
    in6_pktinfo (RFC 3542, section 6).

    @ivar option: the socket option that enables it.
    @ivar size: the size of the structure; a truncated message has another one.
    @ivar index: the offset of the interface index.
    @ivar address: where the destination address is.
    """

    level: int
    type: int
    option: int
    size: int
    index: int
    address: slice

    def find(self, buffer: memoryview) -> memoryview | None:
        """Find the structure among the control messages of one datagram."""
        wanted = self.level, self.type, self.size
        for message in control_messages(buffer):
            if (message.level, message.type, len(message.data)) == wanted:
                return message.data
        return None

    def destination(self, info: memoryview) -> bytes:
        """Read the destination address, packed."""
        return bytes(info[self.address])

    def scope(self, info: memoryview) -> int:
        """Read the interface index of a link-local destination (RFC 4007, 6); 0 for others."""
        is_link_local = self is IPV6 and info[0] == 0xFE and info[1] & 0xC0 == 0x80
        return int(_INT.unpack_from(info, self.index)[0]) if is_link_local else 0

    def answer_from(self, info: memoryview, at: int = 0) -> None:
        """
        Reuse the structure as source address of the reply, in place.

        The interface index is cleared, so that the routing table decides, unless the address
        is link-local (RFC 4007, section 6).

        @param at: the offset of the structure.
        """
        if self is IPV4 or info[at] != 0xFE or info[at + 1] & 0xC0 != 0x80:
            _INT.pack_into(info, at + self.index, 0)


IPV4 = Pktinfo(socket.IPPROTO_IP, IP_PKTINFO, IP_PKTINFO, 12, 0, slice(8, 12))
IPV6 = Pktinfo(
    socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, socket.IPV6_RECVPKTINFO, 20, 16, slice(0, 16)
)
_PKTINFO = {socket.AF_INET: IPV4, socket.AF_INET6: IPV6}
_WILDCARDS = ("0.0.0.0", "::")


@frozen
class Layout:
    """
    Where the control messages of a datagram are. The kernel writes them in this order: time,
    pktinfo, TTL, TOS (C{udp_recvmsg}, C{ip_cmsg_recv}, C{ip6_datagram_recv_ctl}).

    @ivar size: the bytes of all of them.
    @ivar pktinfo: where that of pktinfo is, or would be; C{ttl}: those of TTL and TOS.
    @ivar tos: where the one of TOS is.
    """

    size: int
    pktinfo: int
    ttl: int
    tos: int

    @classmethod
    def of(cls, pktinfo: Pktinfo | None, timestamped: bool, has_ip_header: bool) -> Layout:
        """Know where a socket has what it was asked for."""
        first = _space(_TIMESPEC.size) if timestamped else 0
        ttl = first + (0 if pktinfo is None else _space(pktinfo.size))
        # A TOS is one byte of IPv4, an int of IPv6: the same space.
        number = _space(_INT.size) if has_ip_header else 0
        return cls(ttl + 2 * number, first, ttl, ttl + number)


def _space(size: int) -> int:
    """The bytes that a control message takes (CMSG_SPACE, cmsg(3))."""
    return HEADER_SIZE - (-size // _ALIGNMENT) * _ALIGNMENT


def disable_ancillary(sock: socket.socket) -> None:
    """Disable ancillary data; an inherited socket may have it enabled."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
    if pktinfo := _PKTINFO.get(sock.family):
        sock.setsockopt(pktinfo.level, pktinfo.option, 0)
        ask_for_ip_header(sock, False)


def ask_for_destination(sock: socket.socket) -> Pktinfo | None:
    """Enable pktinfo on a wildcard socket, where the destination varies; return its layout."""
    pktinfo = _PKTINFO.get(sock.family)
    if pktinfo is None or sock.getsockname()[0] not in _WILDCARDS:
        return None
    sock.setsockopt(pktinfo.level, pktinfo.option, 1)
    return pktinfo


def ask_for_arrival(sock: socket.socket) -> None:
    """Enable the kernel's timestamps of arrival."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
