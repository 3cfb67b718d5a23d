"""
TLS clients that do what no library lets them: send each flight of a handshake as they like, and
write their own records afterwards.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from OpenSSL import SSL

from socketd.net.tls.handshake import pending
from tests.support.polling import DEADLINE
from tests.support.tls import NAME, trusting_context
from tests.support.tls_records import HANDSHAKE, HEADER, SECRET, RecordWriter

#: The longest record that a handshake is read in (bytes).
RECORD = 16 * 1024 + 256


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
    (secret,) = (line for line in log.read_text().splitlines() if line.startswith(SECRET))
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
        sock.sendall(pending(client))
        if problem is not None:
            raise problem
        if not done:
            client.bio_write(sock.recv(RECORD))


def fragmented(flight: bytes) -> bytes:
    """Write the handshake messages of a flight that is not encrypted as records of one byte."""
    fragments, at = b"", 0
    while at < len(flight):
        kind, version, length = HEADER.unpack_from(flight, at)
        content = flight[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        pieces = content if kind == HANDSHAKE else [content]
        for piece in pieces:
            data = bytes([piece]) if isinstance(piece, int) else piece
            fragments += HEADER.pack(kind, version, len(data)) + data
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
