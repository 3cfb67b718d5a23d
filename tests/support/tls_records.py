"""The records of a client of TLS, written without a library."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from typing import Self

from attrs import define
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

#: What may be in a record (RFC 8446, 5.1).
ALERT, HANDSHAKE, DATA = 21, 22, 23

#: Type, version and length of a record.
HEADER = struct.Struct("!BHH")

#: How a line of a key log begins that has the secret of a client.
SECRET = "CLIENT_TRAFFIC_SECRET_0"

_TLS_1_2 = 0x0303
_TAG = 16
_CIPHERS: Mapping[str, tuple[HashAlgorithm, int]] = {
    "TLS_AES_256_GCM_SHA384": (SHA384(), 32),
    "TLS_AES_128_GCM_SHA256": (SHA256(), 16),
}


@define
class RecordWriter:
    """The records of a client of TLS 1.3, whatever is in them (RFC 8446, 5.2 and 7)."""

    _cipher: str
    _secret: bytes
    _number: int = 0

    @classmethod
    def of(cls, client: SSL.Connection, number: int = 0) -> Self:
        """
        Write from now on for a client of L{logging_context} whose handshake is done.

        @param number: how many records it has written since.
        """
        cipher, line = client.get_cipher_name(), client.get_app_data()
        assert cipher is not None
        return cls(cipher, bytes.fromhex(line.split()[-1].decode()), number)

    def record(self, kind: int, content: bytes) -> bytes:
        """Encrypt a record."""
        key, nonce = self._keys()
        header = HEADER.pack(DATA, _TLS_1_2, len(content) + 1 + _TAG)
        number, self._number = self._number, self._number + 1
        nonce = (int.from_bytes(nonce, "big") ^ number).to_bytes(len(nonce), "big")
        return header + AESGCM(key).encrypt(nonce, content + bytes([kind]), header)

    def update(self, asks: bool) -> bytes:
        """Take new keys (RFC 8446, 4.6.3), and ask the server to do so, too, if C{asks}."""
        record = self.record(HANDSHAKE, b"\x18\0\0\1" + bytes([asks]))
        self._secret, self._number = self._expand("traffic upd", len(self._secret)), 0
        return record

    def _keys(self) -> tuple[bytes, bytes]:
        return self._expand("key", _CIPHERS[self._cipher][1]), self._expand("iv", 12)

    def _expand(self, label: str, length: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = struct.pack("!HB", length, len(name)) + name + b"\0"
        return HKDFExpand(_CIPHERS[self._cipher][0], length, info).derive(self._secret)


def logging_context(context: SSL.Context) -> SSL.Context:
    """Let each connection of a context keep the line of its client's secret."""

    def keep(connection: SSL.Connection, line: bytes) -> None:
        if line.startswith(SECRET.encode()):
            connection.set_app_data(line)

    context.set_keylog_callback(keep)
    return context
