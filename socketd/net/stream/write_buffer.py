"""The write side of a connection: direct writes, and a buffer for what the kernel refuses."""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterable
from fcntl import ioctl
from os import write
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import main
from twisted.python.failure import Failure

from socketd.net.stream.deadlines import DeadlineChecks
from socketd.net.written import NOT_BYTES, joined

#: Backpressure: with more unsent bytes than this, a connection is not read from.  One more
#: receive and its reply stay below 256 KiB.
HIGH_WATER = 64 * 1024

#: Buffers per sendmsg(2); the limit is IOV_MAX (1024).
MAX_SEGMENTS = 64

#: Shared instance: building a Failure costs as much as a connection.
LOST = Failure(main.CONNECTION_LOST)


class WriteBuffer(DeadlineChecks):
    """Mixin: the write buffer of a connection and its producer."""

    __slots__ = (
        "_buffer",
        "_descriptor",
        "_half_closing",
        "_producer",
        "_producer_paused",
        "_shut",
        "_socket",
        "_streaming",
        "reactor",
    )

    reactor: Any
    _buffer: deque[bytes | memoryview] | None
    _descriptor: int
    _half_closing: bool
    _producer: Any
    _producer_paused: bool
    _shut: bool
    _socket: socket.socket
    _streaming: bool

    def write(self, data: bytes) -> None:
        """
        Send data: as much as the kernel accepts at once, the rest through the buffer.

        @raise TypeError: if C{data} is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(NOT_BYTES)
        if self._shut or not data:
            return
        if self._buffer is None:
            try:
                sent = write(self._descriptor, data)
            except OSError:
                # Either the kernel's buffer is full or the connection is lost;
                # the next event will tell which.
                sent = 0
            self.bytes_sent += sent
            if sent == len(data):
                if self._producer is not None and not self._streaming:
                    self.reactor.addWriter(self)
                return
            self._buffer = deque()
            self._append(memoryview(data)[sent:] if sent else data)
            self.reactor.addWriter(self)
        else:
            self._append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces as one."""
        self.write(joined(data))

    def _append(self, data: bytes | memoryview) -> None:
        assert self._buffer is not None
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER:
            self._update_reading()
            if self._producer is not None and self._streaming and not self._producer_paused:
                self._producer_paused = True
                self._producer.pauseProducing()

    def doWrite(self) -> None:
        """Send buffered data; when the buffer is empty, resume the producer or close."""
        if not self.connected or self._aborting:
            return
        if self._buffer is not None:
            try:
                sent = self._socket.sendmsg([*self._buffer][:MAX_SEGMENTS])
            except BlockingIOError:
                return
            except OSError:
                self.connectionLost(LOST)
                return
            self._consume(sent)
        if self._buffer is None:
            self._drained()

    def _consume(self, sent: int) -> None:
        """Remove sent bytes from the buffer."""
        assert self._buffer is not None
        self.bytes_sent += sent
        self._buffered -= sent
        while sent:
            piece = self._buffer.popleft()
            if sent < len(piece):
                self._buffer.appendleft(memoryview(piece)[sent:])
                break
            sent -= len(piece)
        if not self._buffer:
            self._buffer = None
        if self.disconnecting:
            self.start_grace(self.reactor.seconds())
        self._update_reading()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Register a producer, which is paused while the peer does not read (backpressure).

        @raise RuntimeError: if another one is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} is registered")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Unregister the producer; a close that waited for it proceeds."""
        self._producer = None
        if self.connected and (self.disconnecting or self._half_closing):
            self.reactor.addWriter(self)

    @property
    def producer(self) -> Any:
        """The registered producer, or C{None}."""
        return self._producer

    def _waits(self) -> bool:
        """Whether data is buffered or a producer still has data to write."""
        return bool(self._buffered) or self._producer_owes()

    def _producer_owes(self) -> bool:
        """
        Whether a producer still has data to write: a pull producer, or a paused push producer.

        A push producer that is not paused has written all it had.  By the interface, a close
        waits until it is unregistered; Twisted's transports do not wait, and with protocols
        that rely on it (twisted.web's server, portforward) the close would never finish.
        """
        return self._producer is not None and (not self._streaming or self._producer_paused)

    def _is_owed(self) -> bool:
        """Whether data is buffered, a producer has more, or sent data is not acknowledged."""
        return (
            self._buffer is not None
            or self._producer_owes()
            or _count_unacknowledged(self._socket) > 0
        )

    def _drained(self) -> None:
        """Called when the buffer is empty: resume the producer or close."""
        raise NotImplementedError

    def _update_reading(self) -> None:
        """Pause or resume reading after the amount of buffered data changed."""
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """End the connection."""
        raise NotImplementedError


def _count_unacknowledged(sock: socket.socket) -> int:
    """Count the bytes that the peer has not acknowledged or read (tcp(7), unix(7), SIOCOUTQ)."""
    return int.from_bytes(ioctl(sock, TIOCOUTQ, bytes(4)), sys.byteorder)
