"""
Forges datagrams, and captures those that pass an interface.

IPv4 only: headers of RFC 791 and RFC 768. What sends or watches is a socket of a
network namespace, see L{tests.support.namespaces}.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from tests.support.namespaces import Namespace

# The socket module has neither of these of linux/if_ether.h, if_packet.h, filter.h,
# asm/socket.h.
_ETH_P_IP = 0x0800
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33

#: Room for all answers of a moment (bytes).
BUFFER = 32 * 1024 * 1024

_HEADERS = struct.Struct("!BBHHHBBH4s4sHHHH")
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")

#: The largest packet of these tests.
_MAX_PACKET = 65536


@frozen
class Captured:
    """
    A captured datagram.

    @ivar source: the packed address and the port that it came from.
    @ivar target: the same for where it goes.
    """

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    data: bytes


def make_packet(source: tuple[bytes, int], target: tuple[bytes, int], data: bytes) -> bytes:
    """Write a packet; the kernel adds its length and checksum, UDP needs none (RFC 768)."""
    size = 8 + len(data)
    udp = (source[1], target[1], size, 0)
    ip = (0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0, source[0], target[0])
    return _HEADERS.pack(*ip, *udp) + data


def parse_packet(packet: bytes) -> Captured | None:
    """Take a packet apart; C{None} if it is no whole UDP datagram."""
    if len(packet) < _HEADERS.size or packet[0] != 0x45 or packet[9] != socket.IPPROTO_UDP:
        return None
    *_, source, target, source_port, target_port, size, _ = _HEADERS.unpack_from(packet)
    return Captured((source, source_port), (target, target_port), packet[28 : 20 + size])


class Forger:
    """Sends datagrams with forged sources."""

    def __init__(self, namespace: Namespace) -> None:
        self._socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.count = 0

    def send(self, source: tuple[bytes, int], target: tuple[bytes, int], data: bytes) -> None:
        """Send a datagram in the name of another one."""
        self._socket.sendto(make_packet(source, target, data), (socket.inet_ntoa(target[0]), 0))
        self.count += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class PacketCapture:
    """Captures the datagrams that pass an interface, each of them once."""

    def __init__(self, namespace: Namespace, interface: str, source: str = "") -> None:
        """
        @param source: the only address whose datagrams are seen; all if it is empty.
        """
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            # Only root of the machine exceeds net.core.rmem_max; L{lost} tells.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        if source:
            _attach_filter(self._socket, source)
        # What leaves comes back at once on loopback, and would be seen twice.
        self._socket.bind((interface, _ETH_P_IP if interface == "lo" else _ETH_P_ALL))
        self._lost = 0

    def captured(self, seconds: float = 0.0) -> Iterator[Captured]:
        """List what has passed, and what passes while there is time."""
        end = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.0, end - time.monotonic()))
            try:
                packet = self._socket.recv(_MAX_PACKET)
            except (BlockingIOError, TimeoutError):
                return
            found = parse_packet(packet)
            if found is not None:
                yield found

    def lost(self) -> int:
        """Count what passed unseen, because there was no room."""
        found = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._lost += int(struct.unpack("@II", found)[1])
        return self._lost

    def close(self) -> None:
        """Stop."""
        self._socket.close()


def queues(namespace: Namespace) -> list[tuple[int, int]]:
    """
    List for each UDP socket of a namespace how many bytes wait in it, and how many
    datagrams it has lost (proc(5), net/udp).
    """
    lines = Path(f"/proc/{namespace.pid}/net/udp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [(int(found[4].partition(":")[2], 16), int(found[12])) for found in fields]


def _attach_filter(sock: socket.socket, source: str) -> None:
    """Have the kernel show the UDP datagrams of one address only (bpf(4), classic)."""
    address = int.from_bytes(socket.inet_aton(source), "big")
    program = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (0x30, 0, 0, 9),  # load the protocol
            (0x15, 0, 3, socket.IPPROTO_UDP),
            (0x20, 0, 0, 12),  # load the source
            (0x15, 0, 1, address),
            (0x06, 0, 0, _MAX_PACKET),  # take all of it
            (0x06, 0, 0, 0),  # take nothing
        )
    )
    held = ctypes.create_string_buffer(program, len(program))
    length = len(program) // _INSTRUCTION.size
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM.pack(length, ctypes.addressof(held))
    )
