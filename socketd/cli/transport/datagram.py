"""The datagram transport of clients."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, MessageLengthError
from twisted.internet.protocol import ConnectedDatagramProtocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import IClientTransport, Receiver


@implementer(IClientTransport)
class DatagramTransport(ConnectedDatagramProtocol):
    """
    A connected datagram socket: UDP or UNIX.

    Datagrams have no backpressure, they are sent or dropped at once; and no EOF.

    @ivar failed: why the socket could not be connected.
    """

    is_datagram = True
    noisy = False
    transport: Any

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._is_lost = self._is_closing = False
        self.failed: BaseException | None = None

    # Called by Twisted.

    def startProtocol(self) -> None:
        self._socket: socket.socket = self.transport.getHandle()

    def datagramReceived(self, datagram: bytes, addr: object = None) -> None:
        if not self._is_lost:
            self._receiver.dataReceived(datagram)

    def connectionRefused(self) -> None:
        self._lose(Failure(ConnectionRefusedError(osError=errno.ECONNREFUSED)))

    def connectionFailed(self, failure: Failure) -> None:
        self.failed = failure.value

    def stopProtocol(self) -> None:
        # The epoll reactor treats the error of a refused datagram as the end of the socket, and
        # does not read SO_ERROR.
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._lose(Failure(OSError(number, os.strerror(number)) if number else ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._receiver.connectionLost(reason)

    # Called by the receiver.

    def write(self, data: bytes) -> None:
        if self._is_lost:
            return
        try:
            self.transport.write(data)
        except (OSError, MessageLengthError):
            self._lose(Failure())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """No-op: there is no backpressure."""

    def unregisterProducer(self) -> None:
        """No-op: there is no backpressure."""

    def pauseProducing(self) -> None:
        """Stop reading; the kernel drops datagrams that exceed its receive buffer."""
        if not self._is_lost:
            self.transport.stopReading()

    def resumeProducing(self) -> None:
        if not self._is_lost:
            self.transport.startReading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        # Twisted does not check for a second stopListening(), and fails in it.
        if self.transport is not None and not self._is_closing:
            self._is_closing = True
            self.transport.stopListening()

    def abortConnection(self) -> None:
        self.loseConnection()


class DatagramRequest(Receiver):
    """Sends one datagram, and receives the first reply; later ones are dropped."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._reply: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        if not self._reply.called:
            self._reply.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._reply.called:
            self._reply.errback(reason)

    async def reply_within(self, reactor: Any, seconds: float) -> bytes:
        """
        Wait for the reply; 0 seconds: without limit.

        @raise CommandError: when no reply came in time.
        @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
        """
        if seconds:
            self._reply.addTimeout(seconds, reactor)
        try:
            return await self._reply
        except TimeoutError:
            raise no_answer(seconds) from None
