"""Control messages (ancillary data) of datagrams: arrival time and destination address."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

# Constants of linux/in.h, in6.h and asm/socket.h that the socket module lacks.
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50
SO_TIMESTAMP = 29
SO_TIMESTAMPNS = 35

# struct cmsghdr; messages are aligned to size_t (cmsg(3)).
_HEADER = struct.Struct("@Nii")
_ALIGNMENT = struct.calcsize("@N")
_TIMESPEC = struct.Struct("@ll")

#: The interface index in struct in_pktinfo and in6_pktinfo.
IPV4_INDEX = slice(0, 4)
IPV6_INDEX = slice(16, 20)

#: The destination address in these structures.
IPV4_DESTINATION = slice(8, 12)
IPV6_DESTINATION = slice(0, 16)

# The sizes of the two structures; a truncated message has another size.
_IPV4_INFO_SIZE, _IPV6_INFO_SIZE = 12, 20

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
    while at + _HEADER.size <= len(buffer):
        length, level, kind = _HEADER.unpack_from(buffer, at)
        if length < _HEADER.size:
            return
        yield ControlMessage(level, kind, buffer[at + _HEADER.size : at + length])
        at += -(-length // _ALIGNMENT) * _ALIGNMENT


def arrival(buffer: memoryview) -> int | None:
    """
    Find the kernel's arrival time of a datagram (socket(7), SO_TIMESTAMPNS).

    @return: nanoseconds since 1970; C{None} if there is no timestamp.
    """
    for message in control_messages(buffer):
        is_time = (message.level, message.type) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
        if is_time and len(message.data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(message.data)
            return int(seconds * _NANOSECONDS + nanoseconds)
    return None


def packet_info(buffer: memoryview) -> ControlMessage | None:
    """Find the pktinfo message, which has the destination address of a datagram."""
    wanted = (
        (socket.IPPROTO_IP, IP_PKTINFO, _IPV4_INFO_SIZE),
        (socket.IPPROTO_IPV6, IPV6_PKTINFO, _IPV6_INFO_SIZE),
    )
    for message in control_messages(buffer):
        if (message.level, message.type, len(message.data)) in wanted:
            return message
    return None


def destination(info: ControlMessage) -> bytes:
    """Read the destination address of a datagram, packed."""
    is_ipv4 = info.level == socket.IPPROTO_IP
    return bytes(info.data[IPV4_DESTINATION if is_ipv4 else IPV6_DESTINATION])


def answer_from(info: ControlMessage) -> None:
    """
    Reuse the received pktinfo as source address of the reply, in place.

    The interface index is cleared, so that the routing table decides, unless the address
    is link-local (RFC 4007, section 6).
    """
    if info.level == socket.IPPROTO_IP:
        info.data[IPV4_INDEX] = bytes(4)
    elif int.from_bytes(info.data[:2], "big") & 0xFFC0 != 0xFE80:
        info.data[IPV6_INDEX] = bytes(4)


def disable_ancillary(sock: socket.socket) -> None:
    """Disable ancillary data; an inherited socket may have it enabled."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 0)
    elif sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 0)


def ask_for_destination(sock: socket.socket) -> bool:
    """
    Enable pktinfo on a wildcard socket, where the destination address can vary.

    @return: whether it was enabled.
    """
    name = sock.getsockname()
    if sock.family == socket.AF_INET and name[0] == "0.0.0.0":
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        return True
    if sock.family == socket.AF_INET6 and name[0] == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        return True
    return False


def ask_for_arrival(sock: socket.socket) -> None:
    """Enable the kernel's timestamps of arrival."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
