"""The clients' ends of connections, which count their bytes."""

from __future__ import annotations

import select
import socket
import ssl
from functools import cache

from socketd.net.stream.connection import RESET
from tests.soak.configuration import NAME
from tests.support.certificates import authority

#: Longer than any healthy daemon takes for anything here, on a busy machine (seconds).
PATIENCE = 20.0

#: One receive.
PIECE = 64 * 1024

#: Sources of ordinary clients: all of 127/8 is loopback, so the tables of sources fill.
SOURCES = [f"127.0.1.{number}" for number in range(1, 33)]

FAMILIES = {
    "tcp": socket.AF_INET,
    "tls": socket.AF_INET,
    "udp": socket.AF_INET,
    "tcp6": socket.AF_INET6,
    "tls6": socket.AF_INET6,
    "udp6": socket.AF_INET6,
    "unix": socket.AF_UNIX,
    "unixgram": socket.AF_UNIX,
}


class Mismatch(AssertionError):
    """The daemon did not do as it should."""


class Connection:
    """
    A connection.

    @ivar sent: bytes that the kernel took.
    @ivar received: bytes that came.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.sent = self.received = 0

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self.sock.send(view)
            self.sent += count
            view = view[count:]

    def receive(self, size: int = PIECE) -> bytes:
        """Receive something; nothing at the end."""
        data = self.sock.recv(size)
        self.received += len(data)
        return data

    def read(self, length: int) -> bytes:
        """Receive that many bytes, or fewer if the end comes before."""
        found = bytearray()
        while len(found) < length and (data := self.receive(min(PIECE, length - len(found)))):
            found += data
        return bytes(found)

    def read_to_end(self) -> bytes:
        """Receive up to the end."""
        found = bytearray()
        while data := self.receive():
            found += data
        return bytes(found)

    def shutdown_write(self) -> None:
        """Shut down the writing side."""
        self.sock.shutdown(socket.SHUT_WR)

    def finish(self) -> bytes:
        """Shut down the writing side, and receive what is left."""
        self.shutdown_write()
        return self.read_to_end()

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def exchange(self, data: bytes, size: int = PIECE) -> bytes:
        """
        Send and receive at once, as much as either side takes; then half-close.

        @param size: of one receive.
        @return: all that came.
        """
        found, view = bytearray(), memoryview(data)
        self.sock.setblocking(False)
        while True:
            readable, writable = self._wait(bool(view))
            if writable:
                count = self.sock.send(view[:PIECE])
                self.sent += count
                view = view[count:]
                if not view:
                    self.shutdown_write()
            if readable:
                piece = self.receive(size)
                if not piece:
                    return bytes(found)
                found += piece

    def _wait(self, writes: bool) -> tuple[bool, bool]:
        watched = [self.sock]
        readable, writable, _ = select.select(watched, watched * writes, [], PATIENCE)
        if not (readable or writable):
            raise Mismatch("nothing moves")
        return bool(readable), bool(writable)

    def wait_for_reset(self) -> bool:
        """Wait, without taking a byte, until the connection is reset."""
        poll = select.poll()
        poll.register(self.sock, 0)
        return bool(poll.poll(PATIENCE * 1000))


class TlsConnection:
    """TLS over a connection; the connection counts."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._in, self._out, server_hostname=NAME)
        while not self._handshake_is_done():
            self._fill()

    def certificate(self) -> bytes:
        """The one that the daemon has shown, as it went over the connection."""
        found = self._tls.getpeercert(binary_form=True)
        assert found is not None
        return found

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        self._tls.write(data)
        self._flush()

    def read(self, length: int) -> bytes:
        """Receive that many bytes."""
        found = b""
        while len(found) < length:
            try:
                found += self._tls.read(length - len(found))
            except ssl.SSLWantReadError:
                self._fill()
        return found

    def finish(self) -> bytes:
        """
        Send C{close_notify}, and wait for that of the other side, and for its end.

        @return: what came before; nothing is owed.
        @raise ssl.SSLError: if the end comes without C{close_notify}.
        """
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()
        self._in.write(self._connection.finish())
        self._in.write_eof()
        self._tls.unwrap()
        return b""

    def _handshake_is_done(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def _flush(self) -> None:
        if data := self._out.read():
            self._connection.send(data)

    def _fill(self) -> None:
        data = self._connection.receive()
        if not data:
            raise Mismatch("the connection ended inside TLS")
        self._in.write(data)


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority().pem().decode())
