"""
The sending part of a connection: at once where the kernel takes it, the rest in order.
"""

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

#: A connection that holds more unsent bytes is not read from; with one more
#: receive and its answer it stays below 256 KiB.
HIGH_WATER = 64 * 1024

#: Buffers that one sendmsg(2) takes; IOV_MAX is 1024, and few are worth a turn.
MAX_SEGMENTS = 64

#: Made once: a failure costs as much as a whole connection else.
LOST = Failure(main.CONNECTION_LOST)


class WriteBuffer(DeadlineChecks):
    """
    What is to be sent, and who produces it.
    """

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
        Send bytes: at once as far as the kernel takes them, the rest in order.

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
                # the reactor will say which.
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
        """
        Send several pieces, in one call to the kernel if it takes them all.
        """
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
        """
        Send what is buffered; once there is nothing left, do what waited for that.
        """
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
        """
        Take sent bytes out of the buffer.
        """
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
        Take what a producer writes, as fast as the peer does.

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
        """
        Let the producer go; a close that waited for it goes on.
        """
        self._producer = None
        if self.connected and (self.disconnecting or self._half_closing):
            self.reactor.addWriter(self)

    @property
    def producer(self) -> Any:
        """
        The producer that is registered, or C{None}.
        """
        return self._producer

    def _waits(self) -> bool:
        """
        Bytes wait, or a producer that has been told to.
        """
        return bool(self._buffered) or self._producer_owes()

    def _producer_owes(self) -> bool:
        """
        A producer will say more: it is asked for each piece, or was told to wait.

        Another one has said what it had to say.  Interfaces would have a close wait
        until it is unregistered, but Twisted's transports do not, and protocols that
        close so (the server of twisted.web, portforward) would not end.
        """
        return self._producer is not None and (not self._streaming or self._producer_paused)

    def _is_owed(self) -> bool:
        """
        Bytes or a producer wait, or the kernel has not heard that the peer has all.
        """
        return (
            self._buffer is not None
            or self._producer_owes()
            or _count_unacknowledged(self._socket) > 0
        )

    def _drained(self) -> None:
        """
        Do what waited for the last byte to be sent.
        """
        raise NotImplementedError

    def _update_reading(self) -> None:
        """
        Read, or do not, now that more or less waits to be sent.
        """
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """
        End.
        """
        raise NotImplementedError


def _count_unacknowledged(sock: socket.socket) -> int:
    """
    Count the bytes that the other side has not taken (tcp(7) and unix(7), SIOCOUTQ).
    """
    return int.from_bytes(ioctl(sock, TIOCOUTQ, bytes(4)), sys.byteorder)
