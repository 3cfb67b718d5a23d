"""PROXY headers, as a balancer writes them."""

from __future__ import annotations

import socket
import struct

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6, UNIX, UNSPECIFIED = 0x11, 0x21, 0x31, 0x00

#: A TLV of an application (types from 0xE0 on), and one more.
TLVS = struct.pack("!BH3s", 0xE0, 3, b"abc") + struct.pack("!BH", 4, 0)


def v1(source: str = "192.0.2.7", port: int = 4711) -> bytes:
    """Write a line for a source."""
    family = "TCP6" if ":" in source else "TCP4"
    own = "::1" if ":" in source else "127.0.0.1"
    return f"PROXY {family} {source} {own} {port} 7\r\n".encode()


def v2(command: int, kind: int, block: bytes) -> bytes:
    """Write a binary header."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(block)) + block


def v2_tcp(source: str = "192.0.2.7", port: int = 4711, tlvs: bytes = b"") -> bytes:
    """Write a binary header for a source."""
    is_long = ":" in source
    family, own = (socket.AF_INET6, "::1") if is_long else (socket.AF_INET, "127.0.0.1")
    hosts = socket.inet_pton(family, source) + socket.inet_pton(family, own)
    return v2(PROXY, TCP6 if is_long else TCP4, hosts + struct.pack("!HH", port, 7) + tlvs)
