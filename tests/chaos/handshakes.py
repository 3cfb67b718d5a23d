"""
TLS clients that do what no library lets them: send each flight of a handshake as they like, and
write their own records afterwards.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import define, field
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from socketd.net.tls.handshake import pending
from tests.support.polling import DEADLINE
from tests.support.tls import NAME, trusting_context

#: What may be in a record (RFC 8446, 5.1).
ALERT, HANDSHAKE, DATA = 21, 22, 23

#: The longest record that a handshake is read in (bytes).
RECORD = 16 * 1024 + 256

_HEADER = struct.Struct("!BHH")
_TLS_1_2 = 0x0303
_TAG = 16
_CIPHERS: Mapping[str, tuple[HashAlgorithm, int]] = {
    "TLS_AES_256_GCM_SHA384": (SHA384(), 32),
    "TLS_AES_128_GCM_SHA256": (SHA256(), 16),
}
_SECRET = "CLIENT_TRAFFIC_SECRET_0"


class HandshakeClient:
    """
    A client that does the handshake flight by flight.

    @ivar tls: the state of its TLS.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext | None = None, name: str = NAME
    ) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or trusting_context()).wrap_bio(
            self._incoming, self._outgoing, server_hostname=name
        )

    def flights(self) -> Iterator[bytes]:
        """
        Make what this side sends, flight after flight; between two of them, the last one
        has to be sent, and the answer is waited for.

        @raise ssl.SSLError: if the server refuses.
        @raise ConnectionError: if it ends the connection.
        """
        while not self._step():
            yield self._outgoing.read()
            self._receive()
        if self._outgoing.pending:
            yield self._outgoing.read()

    def handshake(self) -> None:
        """Do the whole handshake; see L{flights}."""
        for flight in self.flights():
            self.sock.sendall(flight)

    def exchange(self, data: bytes) -> bytes:
        """Send data, and receive an answer of the same length."""
        self.tls.write(data)
        self.sock.sendall(self._outgoing.read())
        return self.receive(len(data))

    def receive(self, length: int) -> bytes:
        """Receive so many bytes."""
        received = b""
        while len(received) < length:
            try:
                received += self.tls.read(length - len(received))
            except ssl.SSLWantReadError:
                self._receive()
        return received

    def _step(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _receive(self) -> None:
        data = self.sock.recv(RECORD)
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)


@define
class RecordWriter:
    """The records of a client of TLS 1.3, whatever is in them (RFC 8446, 5.2 and 7)."""

    _cipher: str
    _secret: bytes
    _number: int = field(default=0, init=False)

    def record(self, kind: int, content: bytes) -> bytes:
        """Encrypt a record."""
        key, nonce = self._keys()
        header = _HEADER.pack(DATA, _TLS_1_2, len(content) + 1 + _TAG)
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


def take_over_writing(
    sock: socket.socket, directory: Path
) -> tuple[HandshakeClient, RecordWriter]:
    """
    Do a handshake, and write the records of the client from then on.

    @param directory: for a file with the keys.
    @return: the client, which only receives, and what writes its records.
    """
    log = directory / f"keys-{sock.getsockname()[1]}"
    context = trusting_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = str(log)
    client = HandshakeClient(sock, context)
    client.handshake()
    (secret,) = (line for line in log.read_text().splitlines() if line.startswith(_SECRET))
    cipher = client.tls.cipher()
    assert cipher is not None
    return client, RecordWriter(cipher[0], bytes.fromhex(secret.split()[-1]))


def handshake(client: SSL.Connection, sock: socket.socket) -> None:
    """Do a handshake with a client of pyOpenSSL; raise C{SSL.Error} if one side refuses."""
    problem: SSL.Error | None = None
    done = False
    while not done:
        try:
            client.do_handshake()
            done = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            problem = error
        for piece in pending(client):
            sock.sendall(piece)
        if problem is not None:
            raise problem
        if not done:
            client.bio_write(sock.recv(RECORD))


def fragmented(flight: bytes) -> bytes:
    """Write the handshake messages of a flight that is not encrypted as records of one byte."""
    fragments, at = b"", 0
    while at < len(flight):
        kind, version, length = _HEADER.unpack_from(flight, at)
        content = flight[at + _HEADER.size : at + _HEADER.size + length]
        at += _HEADER.size + length
        pieces = content if kind == HANDSHAKE else [content]
        for piece in pieces:
            data = bytes([piece]) if isinstance(piece, int) else piece
            fragments += _HEADER.pack(kind, version, len(data)) + data
    return fragments


def dribble(rest: Mapping[socket.socket, bytes], pause: float) -> list[float]:
    """
    Send one byte to each connection, then pause, and again, until the server has ended
    all of them.

    @param rest: what each connection is to send.
    @param pause: seconds between two bytes.
    @return: how long each connection lasted (seconds), in order of their ends.
    @raise AssertionError: if one is still there at the end.
    """
    began, left, lasted = time.monotonic(), dict(rest), []
    while left:
        assert time.monotonic() - began < DEADLINE, f"{len(left)} connections are left"
        for sock, data in left.items():
            if data:
                left[sock] = data[_sent(sock, data[:1]) :]
        wake = time.monotonic() + pause
        while (wait := wake - time.monotonic()) > 0 and left:
            for sock in _ended(left, wait):
                del left[sock]
                lasted.append(time.monotonic() - began)
    return lasted


def _sent(sock: socket.socket, data: bytes) -> int:
    try:
        return sock.send(data)
    except ConnectionError:
        # The end is seen when it is read.
        return 0


def _ended(socks: Mapping[socket.socket, bytes], wait: float) -> list[socket.socket]:
    """Read what there is, and return the connections that have ended."""
    poll = select.poll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poll.register(number, select.POLLIN)
    readable = [by_number[number] for number, _ in poll.poll(wait * 1000)]
    return [sock for sock in readable if _at_end(sock)]


def _at_end(sock: socket.socket) -> bool:
    try:
        return not sock.recv(RECORD)
    except ConnectionResetError:
        return True
