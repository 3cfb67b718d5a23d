"""
Writes the control and measurement messages of RFC 6812, from its figures.

It uses nothing of the daemon, so that a mistake there is not made here, too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from ipaddress import ip_address

#: A key, and its number.
KEY_ID, KEY = 7, b"correct-horse"

#: The digests of C{request(50001, MODE)} by mode, as OpenSSL computes them: C{openssl dgst
#: -sha256} of key and message, and with C{-mac HMAC -macopt key:correct-horse} of the message.
DIGESTS = {
    1: bytes.fromhex("a1f770327f5f20bdce506d233f31d3c1b0d7d75a7e1069391abcff4ec91a1d71"),
    2: bytes.fromhex("4676e0500ffd1955a4002cbcda7cc1d0ddcfdb685617eb818bcb63987de9c607"),
}


def number(value: int, size: int) -> bytes:
    """Write a number of so many octets."""
    return value.to_bytes(size, "big")


def address(text: str) -> bytes:
    """Write an address in 16 octets, those of IPv4 in front."""
    return ip_address(text).packed.ljust(16, b"\0")


def first_version(text: str, port: int, milliseconds: int) -> bytes:
    """Write the request of version 1 for a port, as routers were captured to."""
    place = ip_address(text).packed
    if len(place) == 4:
        end = number(port, 2) + number(milliseconds, 2)
        part = number(4, 2) + number(16, 2) + bytes(4) + place + end
    else:
        end = number(port, 2) + bytes(2) + number(milliseconds, 4)
        part = number(8, 2) + number(32, 2) + bytes(4) + place + end
    part += number(1, 2) + number(28, 2) + bytes(24)
    return number(1, 1) + b"\x69" + number(8 + len(part), 2) + bytes(4) + part


def authentication(
    mode: int = 0, key_id: int = 0, random: bytes = bytes(16), size: int = 60
) -> bytes:
    """Write the section (figure of 3.1.1.2.1), with a digest of zeros or cut."""
    head = number(1, 2) + number(0, 2) + number(size, 4)
    return (head + number(mode, 1) + b"\0" + number(key_id, 2) + random + bytes(32))[:size]


def measurement(
    port: int,
    milliseconds: int = 5000,
    source: str = "192.0.2.1",
    destination: str = "192.0.2.2",
    source_port: int = 60038,
    kind: int = 2,
    role: int = 1,
) -> bytes:
    """Write the section (figure of 3.1.1.2.2)."""
    addresses = (address(source) + address(destination)) * 2
    ports = number(50300, 2) + bytes(2) + number(source_port, 2) + number(port, 2)
    head = number(2, 2) + number(0, 2) + number(92, 4)
    kinds = number(kind, 1) + number(role, 1) + bytes(2) + number(0x1234, 4)
    return head + kinds + addresses + ports + number(milliseconds, 4)


def control(*sections: bytes, sequence: int = 9, status: int = 0, time: int = 0) -> bytes:
    """Write a message of these sections (figure of 3.1.1.1)."""
    body = b"".join(sections)
    head = number(2, 1) + b"\0" + number(status, 2) + number(sequence, 4)
    return head + number(20 + len(body), 4) + number(time, 8) + body


def signed(message: bytes, key: bytes = KEY) -> bytes:
    """Write the digest of a message, by its mode."""
    cleared = message[:48] + bytes(32) + message[80:]
    if message[28] == 1:
        digest = hashlib.sha256(key + cleared).digest()
    else:
        digest = hmac.new(key, cleared, hashlib.sha256).digest()
    return cleared[:48] + digest + cleared[80:]


def request(port: int, mode: int = 0, key: bytes = KEY, **fields: int | str) -> bytes:
    """Write a request to open a port; with a mode it is signed."""
    message = control(
        authentication(mode, KEY_ID if mode else 0, b"\x5a" * 16 if mode else bytes(16)),
        measurement(port, **fields),  # type: ignore[arg-type]
    )
    return signed(message, key) if mode else message


def statuses(message: bytes) -> tuple[int, int, int]:
    """Read the status of an answer, and those of its sections."""
    places = (2, 22, 82)
    first, second, third = (int.from_bytes(message[at : at + 2], "big") for at in places)
    return first, second, third


def with_statuses(message: bytes, values: Mapping[int, int]) -> bytes:
    """Write other statuses into a message, by their place."""
    out = bytearray(message)
    for at, value in values.items():
        out[at : at + 2] = number(value, 2)
    return bytes(out)


def probe(sequence: int, size: int = 124) -> bytes:
    """Write a measurement request (figure of 3.2)."""
    head = number(3, 2) + bytes(2) + b"\xd6\xd8\x52\x08\xb3\x1f\x57\xb4" + bytes(40)
    return (head + number(sequence, 4) + bytes(4)).ljust(size, b"\xab")
