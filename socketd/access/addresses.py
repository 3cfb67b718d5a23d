"""Packed addresses (4 or 16 bytes in network order), and the keys of their sources."""

from __future__ import annotations

import socket
from collections.abc import Callable

from socketd.settings.networks import Prefixes

#: The sizes of a packed address.
IPV4_BYTES = 4
IPV6_BYTES = 16

_LOOPBACK_IPV4 = 127
_LOOPBACK_IPV6 = bytes(15) + b"\1"

# ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
_IPV4_MAPPED = b"\0" * 10 + b"\xff\xff"


def packed(host: str) -> bytes:
    """
    Pack an address like C{192.0.2.1}, C{::ffff:192.0.2.1} or C{fe80::1%eth0}; IPv4-mapped
    IPv6 becomes IPv4, and the scope is removed.

    @raise OSError: when it is not an address.
    """
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    if "%" in host:
        host = host[: host.index("%")]
    return canonical(socket.inet_pton(socket.AF_INET6, host))


def canonical(address: bytes) -> bytes:
    """Convert an IPv4-mapped IPv6 address to IPv4; others are unchanged."""
    return address[12:] if address[:12] == _IPV4_MAPPED else address


def is_loopback(address: bytes) -> bool:
    """Say whether a packed address is one of this host alone."""
    if len(address) == IPV4_BYTES:
        return address[0] == _LOOPBACK_IPV4
    return address == _LOOPBACK_IPV6


def is_link_local(address: bytes) -> bool:
    """Say whether a packed address is in fe80::/10 (RFC 4291, 2.4)."""
    return len(address) == IPV6_BYTES and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def make_source_key(prefixes: Prefixes) -> Callable[[bytes], bytes]:
    """
    Make the function that maps an address to the key of its source.

    The key is the address with the bits after the prefix set to 0, so that keys of the two
    families differ in length. A link-local address is its own source: all hosts of a link
    have the same prefix (RFC 4291, 2.5.6).
    """
    masks = {
        size: (1 << bits) - 1 << 8 * size - bits
        for size, bits in ((IPV4_BYTES, prefixes.ipv4), (IPV6_BYTES, prefixes.ipv6))
    }

    def source_key(address: bytes) -> bytes:
        if is_link_local(address):
            return address
        size = len(address)
        return (int.from_bytes(address, "big") & masks[size]).to_bytes(size, "big")

    return source_key
