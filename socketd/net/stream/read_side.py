"""The read side of a connection: received data, pauses, and the peer's EOF."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from os import read
from typing import Any

from twisted.internet import main
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.events import PROTOCOL_FAILED
from socketd.net.addresses import describe, host_of
from socketd.net.stream.deadlines import DeadlineChecks
from socketd.net.stream.states import END_HANDLED, END_OF_INPUT, LINGERING, OPEN, READ_OPEN
from socketd.net.stream.write_buffer import HIGH_WATER, LOST_FAILURE

#: The most that one receive takes (bytes), so that connections are served in turn.  Just
#: below 128 KiB, from which on malloc(3) calls mmap(2) for each allocation.
RECEIVE_SIZE = 128 * 1024 - 256

#: The error when there is no memory for the receive buffer.
NO_MEMORY = "no memory to receive"

#: Shared instance: building a Failure costs as much as a connection.
CLOSED_CLEANLY = Failure(main.CONNECTION_DONE)


@implementer(IHalfCloseableDescriptor, IPushProducer)
class ReadSide(DeadlineChecks):
    """
    Mixin: the read side of a connection.

    @ivar messages_received: receives with data for the service's protocol.
    @ivar is_plain: whether received data goes straight to that protocol, not to a layer or
        nowhere.
    @ivar protocol: what gets received data: a layer, or the service's protocol.
    """

    is_plain: bool
    messages_received: int
    protocol: Any
    _ahead: bytes
    _paused: bool
    _peer: Any
    _peer_family: int
    _reading: bool
    __slots__ = tuple(__annotations__)

    @property
    def peer(self) -> str:
        """The peer's address as printable text."""
        return describe(self._peer_family, self._peer)

    def doRead(self) -> None:
        """Receive once and pass the data to the protocol."""
        if not self._reading:
            return
        try:
            data = read(self._descriptor, RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.connectionLost(LOST_FAILURE)
            return
        except MemoryError:
            self.service_state.emit(PROTOCOL_FAILED, peer=self.peer, error=NO_MEMORY)
            self.abortConnection()
            return
        if not data:
            self._end_of_input()
            return
        self.bytes_received += len(data)
        if self.is_plain:
            self.messages_received += 1
            if self.service_state.observed:
                self.observe(data)
        elif self.state.phase == LINGERING:
            return
        try:
            self.protocol.dataReceived(data)
        except Exception as problem:
            self.report(problem)
            self.abortConnection()

    def _take_ahead(self) -> None:
        """Deliver what followed a layer's bytes in the same receive, before later data."""
        if not (self._ahead and self._wants_to_read()):
            return
        data, self._ahead = self._ahead, b""
        if self.state.phase == OPEN:
            if self.is_plain:
                self.messages_received += 1
                if self.service_state.observed:
                    self.observe(data)
            self._call(self.protocol.dataReceived, data)
        self._update_reading()

    def observe(self, data: bytes) -> None:
        """Emit the event of a message."""
        host = host_of(self._peer_family, self._peer)
        self.service_state.message(host, data, self.peer, self.connection_id)

    def acknowledge(self) -> None:
        """
        Acknowledge received data at once (TCP_QUICKACK), for use when no reply carries the ACK.

        Nagle's algorithm (RFC 896) holds the peer's next small segment back until then, and
        the kernel delays an ACK by 40 ms.
        """
        # UNIX sockets have no such option.
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def readConnectionLost(self, reason: Failure) -> None:
        self._end_of_input()

    def writeConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def _end_of_input(self) -> None:
        """
        Handle EOF: close, or notify a half-closeable protocol, which may send more.

        Buffered data is still sent: the peer may have shut down only its writing side.
        """
        if not self.happens(END_OF_INPUT):
            return
        if self.state.phase == OPEN:
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._call(self.protocol.readConnectionLost)
            else:
                self.loseConnection()
        self.happens(END_HANDLED)
        if self.state.is_closing:
            if self._has_more():
                self.reactor.addWriter(self)
            else:
                self.connectionLost(CLOSED_CLEANLY)
        self._update_reading()

    def _update_reading(self) -> None:
        """Register or unregister for reading, according to pauses and backpressure."""
        wanted = self._wants_to_read()
        if wanted and self._ahead:
            wanted = False
            self.reactor.callLater(0, self._take_ahead)
        if wanted is not self._reading:
            self._reading = wanted
            (self.reactor.addReader if wanted else self.reactor.removeReader)(self)

    def _wants_to_read(self) -> bool:
        state = self.state
        if state.read_side != READ_OPEN:
            return False
        if state.phase == OPEN:
            return not self._paused and self._buffered <= HIGH_WATER
        return state.phase == LINGERING

    def pauseProducing(self) -> None:
        self._paused = True
        self._update_reading()

    def resumeProducing(self) -> None:
        self._paused = False
        self._update_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    # In no interface, but protocols call these on Twisted's own transports.
    stopReading = pauseProducing
    startReading = resumeProducing

    def report(self, problem: Exception) -> None:
        """Log an exception that the protocol raised."""
        self.service_state.report(self.peer, problem)

    def _call(self, hook: Callable[..., object], *arguments: object) -> None:
        try:
            hook(*arguments)
        except Exception as problem:
            self.report(problem)
            self.abortConnection()

    def loseConnection(self) -> None:
        """Close after all buffered data is sent."""
