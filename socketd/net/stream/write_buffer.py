"""The write side of a connection: direct writes, and a buffer for what the kernel refuses."""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterable
from fcntl import ioctl
from os import write, writev
from termios import TIOCOUTQ
from typing import Any

from twisted.internet import main
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.net.stream.states import END_OUTPUT, OPEN, Event, StreamState

#: Backpressure: with more unsent bytes than this, a connection is not read from.  One more
#: receive and its reply stay below 256 KiB.
HIGH_WATER = 64 * 1024

#: Buffers per writev(2); the limit is IOV_MAX (1024).
MAX_SEGMENTS = 64

#: What Twisted's own transports say of a C{str}; tests of protocols expect it.
NOT_BYTES = "Data must be bytes"

#: Shared instance: building a Failure costs as much as a connection.
LOST_FAILURE = Failure(main.CONNECTION_LOST)


@implementer(IConsumer)
class WriteBuffer:
    """Mixin: the write buffer of a connection and its producer."""

    reactor: Any
    bytes_sent: int
    producer: Any
    state: StreamState
    _buffer: deque[bytes | memoryview] | None
    _buffered: int
    _descriptor: int
    _family: int
    _made: socket.socket | None
    _producer_paused: bool
    _streaming: bool
    # All of these are slots, so that a connection is small and fast.
    __slots__ = tuple(__annotations__)

    def happens(self, event: Event) -> bool:
        """Change the state; return whether the event changes it."""
        before = self.state
        self.state = event[before]
        return self.state is not before

    @property
    def _socket(self) -> socket.socket:
        """The socket, made when it is first needed; closed if the connection is."""
        if self._made is None:
            descriptor = self._descriptor if self.connected else None
            self._made = socket.socket(self._family, socket.SOCK_STREAM, 0, descriptor)
            if descriptor is None:
                self._made.close()
            else:
                self._made.setblocking(False)
        return self._made

    @property
    def connected(self) -> bool:
        """Whether the socket is open."""
        return self.state.connected

    @property
    def disconnecting(self) -> bool:
        """Whether closing has begun, in whatever way."""
        return self.state.phase != OPEN

    def write(self, data: bytes) -> None:
        """Send data: as much as the kernel accepts at once, the rest through the buffer."""
        if not isinstance(data, bytes):
            raise TypeError(NOT_BYTES)
        if not (data and self.state.takes_output):
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
                if self.producer is not None and not self._streaming:
                    self.reactor.addWriter(self)
                return
            self._buffer = deque()
            self._append(memoryview(data)[sent:] if sent else data)
            self.reactor.addWriter(self)
        else:
            self._append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces as one."""
        try:
            joined = b"".join(data)
        except TypeError:
            raise TypeError(NOT_BYTES) from None
        self.write(joined)

    def _append(self, data: bytes | memoryview) -> None:
        assert self._buffer is not None
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER:
            self._fill_up()

    def _fill_up(self) -> None:
        """Pause reading and the producer, since too much is buffered."""
        self._update_reading()
        self._pause_producer()

    def _pause_producer(self) -> None:
        if self.producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def doWrite(self) -> None:
        """Send buffered data; when the buffer is empty, resume the producer or close."""
        if not self.state.is_alive:
            return
        if self._buffer is not None:
            try:
                sent = writev(self._descriptor, [*self._buffer][:MAX_SEGMENTS])
            except BlockingIOError:
                return
            except OSError:
                self.connectionLost(LOST_FAILURE)
                return
            self._consume(sent)
            self._progressed()
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

    def _drained(self) -> None:
        self.reactor.removeWriter(self)
        if self._producer_owes():
            self._producer_paused = False
            self.producer.resumeProducing()
            if self._streaming and self.state.ends_output:
                # The producer may have no more data and never write again.
                self.reactor.addWriter(self)
        elif self.state.ends_output:
            self._all_sent()

    def loseWriteConnection(self) -> None:
        """Shut down the writing side after all buffered data is sent."""
        if self.happens(END_OUTPUT):
            self.reactor.addWriter(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Register a producer, which is paused while the peer does not read (backpressure)."""
        if self.producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self.producer!r} is registered")
        if not self.state.connected:
            producer.stopProducing()
            return
        self.producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Unregister the producer; a close that waited for it proceeds."""
        self.producer = None
        if self.state.ends_output:
            self.reactor.addWriter(self)

    def _producer_owes(self) -> bool:
        """
        Whether a producer still has data to write: a pull producer, or a paused push producer.

        A push producer that is not paused has written all it had.  By the interface, a close
        waits until it is unregistered; Twisted's transports do not wait, and with protocols
        that rely on it (twisted.web's server, portforward) the close would never finish.
        """
        return self.producer is not None and (not self._streaming or self._producer_paused)

    def _has_more(self) -> bool:
        """Whether data is buffered or a producer still has data to write."""
        return self._buffer is not None or self._producer_owes()

    def _is_owed(self) -> bool:
        """Whether there is more to send, or the peer has not acknowledged what was sent."""
        return self._has_more() or count_unacknowledged(self._descriptor) > 0

    def _update_reading(self) -> None:
        """Called when too much is buffered: pause reading."""

    def _progressed(self) -> None:
        """Called when buffered data was sent."""

    def _all_sent(self) -> None:
        """Called when all is sent and the output is to end."""

    def connectionLost(self, reason: Failure) -> None:
        """End the connection."""


def count_unacknowledged(descriptor: int) -> int:
    """Count the bytes that the peer has not acknowledged or read (tcp(7), unix(7), SIOCOUTQ)."""
    return int.from_bytes(ioctl(descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)
