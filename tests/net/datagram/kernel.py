"""The kernel of a datagram socket in memory: what comes is chosen, and what leaves is kept."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from attrs import define, field

from socketd.net.addresses import from_pair
from socketd.net.datagram import cmsg, mmsg
from socketd.net.datagram.cmsg import control_messages
from tests.net.datagram.controls import written

_V4, _V6, _SOL = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET


class Arrived(NamedTuple):
    """A datagram on its way in; C{ttl} and C{tos} are those of its IP header."""

    data: bytes
    name: Any
    destination: str = "127.0.0.1"
    received_at: int = 0
    ttl: int = 64
    tos: int = 0
    truncated: bool = False


class Left(NamedTuple):
    """A datagram on its way out, with its control messages as level, type and data."""

    data: bytes
    name: Any
    controls: tuple[tuple[int, int, bytes], ...]


@define(eq=False)
class FakeSocket:
    """
    A socket of a family at an address, which gives the control messages that it is asked for.

    @ivar sent: what has left.
    @ivar refused: payloads that the kernel does not send.
    """

    family: int
    address: Any
    waiting: list[Arrived] = field(factory=list)
    sent: list[Left] = field(factory=list)
    refused: tuple[bytes, ...] = ()
    type: int = socket.SOCK_DGRAM
    options: dict[tuple[int, int], int] = field(factory=dict)

    def getsockname(self) -> Any:
        """Where it is bound."""
        return self.address

    def fileno(self) -> int:
        """No descriptor of this process."""
        return 1 << 20

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Note an option."""
        self.options[level, option] = int(value)

    def close(self) -> None:
        """Nothing is open."""

    def sendmsg(self, parts: Any, ancillary: Any, flags: int, name: Any) -> None:
        """Send one datagram, as L{socket.socket.sendmsg}."""
        if not self._send(b"".join(parts), name, tuple(ancillary)):
            raise OSError(1, "refused")

    def _send(self, data: bytes, name: Any, controls: tuple[tuple[int, int, bytes], ...]) -> bool:
        if data in self.refused or not name:
            return False
        self.sent.append(Left(data, name, controls))
        return True

    def recvmmsg(self, fd: int, address: int, count: int, flags: int, timeout: None) -> int:
        """Hand over what waits, as the system call does."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if not taken:
            ctypes.set_errno(11)
            return -1
        headers = (mmsg._Mmsghdr * count).from_address(address)
        for header, arrived in zip(headers, taken):
            self._fill(header, arrived)
        return len(taken)

    def _fill(self, header: Any, arrived: Arrived) -> None:
        name, controls = packed_name(self.family, arrived.name), self._controls(arrived)
        for at, data in ((header.hdr.name, name), (header.hdr.control, controls)):
            ctypes.memmove(at, data, len(data))
        ctypes.memmove(header.hdr.iov[0].base, arrived.data, len(arrived.data))
        header.hdr.namelen, header.hdr.controllen = len(name), len(controls)
        header.hdr.flags = int(socket.MSG_TRUNC) * arrived.truncated
        header.len = len(arrived.data)

    def _controls(self, arrived: Arrived) -> bytes:
        """Write what the options ask for, in the order in which Linux does."""
        seconds, nanoseconds = divmod(arrived.received_at, 10**9)
        there: list[tuple[tuple[int, int], tuple[int, int], bytes]] = [
            ((_SOL, cmsg.SO_TIMESTAMPNS), (_SOL, cmsg.SO_TIMESTAMPNS),
             struct.pack("@ll", seconds, nanoseconds)),
        ]  # fmt: skip
        if self.family == socket.AF_INET:
            address = socket.inet_pton(socket.AF_INET, arrived.destination)
            there += [
                ((_V4, cmsg.IP_PKTINFO), (_V4, cmsg.IP_PKTINFO), b"\5\0\0\0" + address * 2),
                ((_V4, cmsg.IP_RECVTTL), (_V4, socket.IP_TTL), struct.pack("@i", arrived.ttl)),
                ((_V4, socket.IP_RECVTOS), (_V4, socket.IP_TOS), bytes([arrived.tos])),
            ]
        elif self.family == socket.AF_INET6:
            address = socket.inet_pton(socket.AF_INET6, arrived.destination)
            there += [
                ((_V6, socket.IPV6_RECVPKTINFO), (_V6, socket.IPV6_PKTINFO),
                 address + b"\5\0\0\0"),
                ((_V6, socket.IPV6_RECVHOPLIMIT), (_V6, socket.IPV6_HOPLIMIT),
                 struct.pack("@i", arrived.ttl)),
                ((_V6, socket.IPV6_RECVTCLASS), (_V6, socket.IPV6_TCLASS),
                 struct.pack("@i", arrived.tos)),
            ]  # fmt: skip
        asked = [(kind, data) for option, kind, data in there if self.options.get(option)]
        return bytes(written(*asked))

    def sendmmsg(self, fd: int, address: int, count: int, flags: int) -> int:
        """Send up to the first one that is refused, as the system call does."""
        headers = (mmsg._Mmsghdr * count).from_address(address)
        for done, header in enumerate(headers):
            hdr = header.hdr
            data = ctypes.string_at(hdr.iov[0].base, hdr.iov[0].len)
            raw = ctypes.string_at(hdr.control, hdr.controllen) if hdr.controllen else b""
            controls = tuple(
                (level, kind, _number(level, kind, bytes(value)))
                for level, kind, value in control_messages(memoryview(raw))
            )
            name = parsed_name(self.family, ctypes.string_at(hdr.name, hdr.namelen))
            if not self._send(data, name, controls):
                return done or -1
        return count


def _number(level: int, kind: int, value: bytes) -> bytes:
    """A TOS may be one byte or an int."""
    is_tos = (level, kind) == (_V4, socket.IP_TOS)
    return struct.pack("@i", value[0]) if is_tos and len(value) == 1 else value


def packed_name(family: int, name: Any) -> bytes:
    """Write a socket address."""
    start = struct.pack("@H", family)
    if family == socket.AF_UNIX:
        return start + (name or "").encode()
    port = struct.pack("!H", name[1])
    address = socket.inet_pton(family, name[0])
    if family == socket.AF_INET:
        return start + port + address + bytes(8)
    return start + port + bytes(4) + address + bytes(4)


def parsed_name(family: int, raw: bytes) -> Any:
    """Read one, as L{socket.socket.sendmsg} takes it."""
    if family == socket.AF_UNIX:
        return raw[2:].decode() or None
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    return from_pair(family, (socket.inet_ntop(family, raw[8:24]), port))


def install(patch: Any, sock: FakeSocket) -> None:
    """Have the system calls of ports go to a socket."""
    patch(mmsg, "_recvmmsg", sock.recvmmsg)
    patch(mmsg, "_sendmmsg", sock.sendmmsg)


def together(sock: FakeSocket, port: Any, arrived: Sequence[Arrived]) -> list[Left]:
    """Have a port read these at once; return what it sent."""
    before = len(sock.sent)
    sock.waiting += arrived
    port.doRead()
    return sock.sent[before:]
