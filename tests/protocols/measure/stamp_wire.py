"""
STAMP packets, written and read octet by octet as the figures of RFC 8762 and RFC 8972 show them:
independent of the code that is tested.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

#: The fields by offset and length, of each form of packet (RFC 8762, figures 2, 4, 5 and 6).
SENDER = {"sequence": (0, 4), "timestamp": (4, 8), "error": (12, 2), "ssid": (14, 2)}
REFLECTOR = SENDER | {
    "received": (16, 8), "sender_sequence": (24, 4), "sender_timestamp": (28, 8),
    "sender_error": (36, 2), "ttl": (40, 1),
}  # fmt: skip
AUTHENTICATED_SENDER = {
    "sequence": (0, 4), "timestamp": (16, 8), "error": (24, 2), "ssid": (26, 2),
}  # fmt: skip
AUTHENTICATED_REFLECTOR = AUTHENTICATED_SENDER | {
    "received": (32, 8), "sender_sequence": (48, 4), "sender_timestamp": (64, 8),
    "sender_error": (72, 2), "ttl": (80, 1),
}  # fmt: skip
OPEN, AUTHENTICATED = 44, 112

Fields = Mapping[str, tuple[int, int]]


def write(fields: Fields, length: int, **values: int) -> bytes:
    """Write a packet; all else is zero."""
    packet = bytearray(length)
    for name, value in values.items():
        at, size = fields[name]
        packet[at : at + size] = value.to_bytes(size, "big")
    return bytes(packet)


def read(fields: Fields, packet: bytes) -> dict[str, int]:
    """Read the fields of a packet."""
    places = fields.items()
    return {name: int.from_bytes(packet[at : at + size], "big") for name, (at, size) in places}


def must_be_zero(fields: Fields, packet: bytes) -> bytes:
    """Collect the octets that no field has."""
    used = {index for at, size in fields.values() for index in range(at, at + size)}
    return bytes(octet for index, octet in enumerate(packet) if index not in used)


def request(tlvs: bytes = b"", **values: int) -> bytes:
    """Write what a sender without authentication sends."""
    return write(SENDER, OPEN, **values) + tlvs


def signed(key: bytes, tlvs: bytes = b"", **values: int) -> bytes:
    """Write what a sender with authentication sends."""
    packet = write(AUTHENTICATED_SENDER, AUTHENTICATED, **values)
    return packet[:96] + mac(key, packet[:96]) + tlvs


def mac(key: bytes, covered: bytes) -> bytes:
    """Compute the HMAC of RFC 2104 with SHA-256, cut to 128 bits."""
    return hmac.new(key, covered, hashlib.sha256).digest()[:16]


def tlv(kind: int, value: bytes, flags: int = 0x80, length: int | None = None) -> bytes:
    """Write a TLV as a sender does, with the flag U."""
    size = len(value) if length is None else length
    return bytes((flags, kind)) + size.to_bytes(2, "big") + value


def hmac_tlv(key: bytes, sequence: int, tlvs: bytes) -> bytes:
    """Write the HMAC TLV behind others."""
    return tlv(8, mac(key, sequence.to_bytes(4, "big") + tlvs))
