"""A client of Network Time Security (RFC 8915), written apart from the server."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from attrs import field, frozen
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

END = bytes.fromhex("80000000")

#: The request of chronyd 4.3 with one algorithm: NTPv4, AEAD_AES_SIV_CMAC_256.
USUAL = bytes.fromhex("8001 0002 0000  0004 0002 000f") + END

TO_SERVER, TO_CLIENT = bytes(range(32)), bytes(range(32, 64))

#: What a client of version 4 sends; its transmit timestamp is any.
HEADER = bytes([0x23, 0, 6, 0xEC]) + bytes(36) + bytes.fromhex("ee0ba1c012345678")


def record(kind: int, body: bytes = b"", critical: bool = True) -> bytes:
    """Write a record of key establishment."""
    return struct.pack("!HH", kind | critical << 15, len(body)) + body


def read_records(message: bytes) -> list[tuple[int, bool, bytes]]:
    """Take a response apart: type, critical bit and body of each record."""
    found = []
    while message:
        kind, length = struct.unpack_from("!HH", message)
        found.append((kind & 0x7FFF, bool(kind >> 15), message[4 : 4 + length]))
        message = message[4 + length :]
    return found


def ef(kind: int, body: bytes) -> bytes:
    """Write an extension field whose body has a multiple of four bytes."""
    assert len(body) % 4 == 0
    return struct.pack("!HH", kind, 4 + len(body)) + body


def read_fields(data: bytes) -> list[tuple[int, bytes]]:
    """Take extension fields apart."""
    found = []
    while data:
        kind, length = struct.unpack_from("!HH", data)
        found.append((kind, data[4:length]))
        data = data[length:]
    return found


@frozen
class Client:
    """
    A client that has a cookie.

    @ivar to_server: its keys.
    """

    cookie: bytes
    to_server: bytes = TO_SERVER
    to_client: bytes = TO_CLIENT
    identifier: bytes = field(factory=lambda: os.urandom(32))

    def request(
        self,
        *more: bytes,
        placeholders: int = 0,
        inner: bytes = b"",
        nonce: bytes = b"\x5a" * 16,
        header: bytes = HEADER,
    ) -> bytes:
        """
        Write a request.

        @param more: fields before the authenticator.
        @param inner: what is encrypted in that.
        """
        fields = [ef(0x0104, self.identifier), ef(0x0204, self.cookie)]
        fields += [ef(0x0304, bytes(len(self.cookie)))] * placeholders
        return self.seal(header + b"".join([*fields, *more]), inner, nonce)

    def seal(self, packet: bytes, inner: bytes = b"", nonce: bytes = b"\x5a" * 16) -> bytes:
        """Add the authenticator."""
        sealed = AESSIV(self.to_server).encrypt(inner, [packet, nonce])
        body = struct.pack("!HH", len(nonce), len(sealed))
        for part in (nonce, sealed):
            body += part + bytes(-len(part) % 4)
        return packet + ef(0x0404, body + bytes(max(0, 16 - len(nonce) & ~3)))

    def cookies(self, answer: bytes) -> Sequence[bytes]:
        """
        Verify an answer and take its cookies.

        @raise InvalidTag: if it was not made with the keys.
        """
        (first, identifier), (last, body) = read_fields(answer[48:])
        assert (first, identifier, last) == (0x0104, self.identifier, 0x0404)
        nonce_length, sealed_length = struct.unpack_from("!HH", body)
        nonce = body[4 : 4 + nonce_length]
        begin = 4 + nonce_length + -nonce_length % 4
        associated = answer[: 48 + 4 + len(identifier)]
        sealed = body[begin : begin + sealed_length]
        inner = AESSIV(self.to_client).decrypt(sealed, [associated, nonce])
        found = read_fields(inner)
        assert {kind for kind, _ in found} == {0x0204}
        return [cookie for _, cookie in found]
