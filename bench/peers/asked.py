"""What the peers are asked, and how they answer."""

from __future__ import annotations

import os
from dataclasses import dataclass

#: The body of each reply, and each message: 64 bytes.
BODY = "Sixty-four bytes of text, as they are asked for again and again."

REQUEST = "GET / HTTP/1.1\r\nHost: 127.0.0.2\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"

HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.2\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

#: Masks no byte of ASCII to NUL, which no argument of a program can have.
_KEY = b"\x81\x92\xa3\xb4"


def _frame(message: bytes) -> bytes:
    masked = bytes(byte ^ _KEY[at % 4] for at, byte in enumerate(message))
    return bytes([0x81, 0x80 | len(message)]) + _KEY + masked


#: A text message in a frame of a client.
FRAME = os.fsdecode(_frame(BODY.encode()))


@dataclass(frozen=True)
class Probe:
    """
    A datagram that is answered by a server that is up.

    @ivar size: of the answer (bytes).
    """

    datagram: bytes
    size: int


#: Of RFC 5905: version 4, mode 3.
NTP = Probe(b"\x23" + bytes(47), 48)

#: By the mode of the load: of RFC 868, of NTP, and of RFC 8762.
PROBES = {
    "udp": Probe(b"", 4),
    "ntp": NTP,
    "nts": NTP,
    "stamp": Probe(bytes(44), 44),
}
