"""What an NTP server answers, for tests of its clients."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from socketd.protocols.clock.ntp_time import SECONDS_1900_TO_1970
from tests.protocols.clock.nts_client import TO_CLIENT, ef, read_fields

NONCE = b"\x5a" * 16


def packet(
    cookie: bytes,
    arrived: float,
    left: float,
    leap: int = 0,
    stratum: int = 2,
    refid: bytes = b"\xc0\0\2\1",
    mode: int = 4,
) -> bytes:
    """Write a reply as a server does; times in seconds since 1970."""
    times = [int((one + SECONDS_1900_TO_1970) * 2**32) % 2**64 for one in (arrived, left)]
    first = leap << 6 | 4 << 3 | mode
    head = struct.pack("!BBbbII4s", first, stratum, 6, -20, 0x8000, 0x4000, refid)
    return head + bytes(8) + cookie + struct.pack("!QQ", *times)


def identifier_of(request: bytes) -> bytes:
    """Return the field with the unique identifier."""
    (kind, identifier), *_ = read_fields(request[48:])
    assert kind == 0x0104
    return ef(kind, identifier)


def sealed(head: bytes, cookies: tuple[bytes, ...] = (), key: bytes = TO_CLIENT) -> bytes:
    """Add the authenticator of a server, which has the cookies."""
    return seal(head, b"".join(ef(0x0204, cookie) for cookie in cookies), key)


def seal(head: bytes, inner: bytes, key: bytes = TO_CLIENT) -> bytes:
    """Add an authenticator that has these bytes."""
    body = AESSIV(key).encrypt(inner, [head, NONCE])
    lengths = len(NONCE).to_bytes(2) + len(body).to_bytes(2)
    return head + ef(0x0404, lengths + NONCE + body + bytes(-len(body) % 4))
