"""Frames of WebSocket (RFC 6455, 5), written and read without the library that is tested."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from attrs import frozen

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: What a client asks for, with the key of the RFC and what answers it.
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

_KEY = b"\x12\x34\xab\xcd"


@frozen
class Frame:
    """A frame of a server."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0


def frame(
    opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, key: bytes | None = _KEY
) -> bytes:
    """Write a frame of a client; with C{key = None} it is not masked, as a client's must be."""
    first = bytes([fin << 7 | rsv << 4 | opcode])
    is_masked = 0 if key is None else 0x80
    if len(payload) < 126:
        head = first + bytes([is_masked | len(payload)])
    elif len(payload) < 1 << 16:
        head = first + struct.pack("!BH", is_masked | 126, len(payload))
    else:
        head = first + struct.pack("!BQ", is_masked | 127, len(payload))
    return head + payload if key is None else head + key + masked(payload, key)


def masked(payload: bytes, key: bytes) -> bytes:
    """Mask a payload."""
    length = len(payload)
    keys = (key * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return number.to_bytes(length, "big")


def fragments(opcode: int, payload: bytes, size: int, rsv: int = 0) -> list[bytes]:
    """Write a message in frames of a size."""
    starts = range(0, max(1, len(payload)), size)
    return [
        frame(
            CONTINUATION if start else opcode,
            payload[start : start + size],
            start + size >= len(payload),
            0 if start else rsv,
        )
        for start in starts
    ]


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """Write a close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Frames:
    """What a server sends, cut into frames."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add data, and yield the frames that it completes."""
        self._data += data
        while (found := _first(self._data)) is not None:
            one, length = found
            self._data = self._data[length:]
            yield one


def _first(data: bytes) -> tuple[Frame, int] | None:
    if len(data) < 2:
        return None
    assert not data[1] & 0x80, "a server masks nothing"
    length, start = data[1], 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(data) < start:
            return None
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        return None
    payload = data[start : start + length]
    return Frame(data[0] & 15, payload, bool(data[0] & 0x80), data[0] >> 4 & 7), start + length
