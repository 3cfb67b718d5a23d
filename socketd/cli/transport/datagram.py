"""The datagram transport of clients."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionRefusedError, MessageLengthError
from twisted.internet.protocol import ConnectedDatagramProtocol
from twisted.python.failure import Failure

from socketd.cli.transport.interface import CallbackProducer, IReceiver


class DatagramLink(ConnectedDatagramProtocol):
    """A connected datagram socket: UDP or UNIX."""

    keeps_messages = True
    noisy = False

    def __init__(self, talker: IReceiver) -> None:
        """
        Create the object, not yet connected.

        @param talker: the receiver of data and connection events.
        """
        self._talker = talker
        self._lost = self._is_closing = False
        self.failed: BaseException | None = None

    # Called by Twisted.

    def startProtocol(self) -> None:
        self._socket: socket.socket = self._transport.getHandle()

    def datagramReceived(self, datagram: bytes, addr: object = None) -> None:
        if not self._lost:
            self._talker.answered(datagram)

    def connectionRefused(self) -> None:
        self._lose(Failure(ConnectionRefusedError(osError=errno.ECONNREFUSED)))

    def connectionFailed(self, failure: Failure) -> None:
        self.failed = failure.value

    def stopProtocol(self) -> None:
        # The epoll reactor treats the error of a refused datagram as the end of the socket, and
        # does not read SO_ERROR.
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._lose(Failure(OSError(number, os.strerror(number)) if number else ConnectionDone()))

    # Called by the receiver.

    def send(self, data: bytes) -> None:
        """
        Send one datagram.

        @param data: the whole datagram; dropped after the transport is lost.
        """
        if self._lost:
            return
        try:
            self._transport.write(data)
        except (OSError, MessageLengthError):
            self._lose(Failure())

    def hold(self, valve: CallbackProducer) -> None:
        """
        Do nothing: datagrams have no backpressure, they are sent or dropped at once.

        @param valve: unused.
        """

    def end(self) -> None:
        """Close at once: datagrams have no EOF to wait for."""
        self.close()

    def pause(self) -> None:
        """
        Stop reading until L{resume}; the kernel drops datagrams that exceed its receive buffer.
        """
        if not self._lost:
            self._transport.stopReading()

    def resume(self) -> None:
        """Resume reading from the peer."""
        if not self._lost:
            self._transport.startReading()

    def close(self) -> None:
        """Close the port, unless it is already closed."""
        # Twisted does not check for a second stopListening(), and fails in it.
        if self._transport is not None and not self._is_closing:
            self._is_closing = True
            self._transport.stopListening()

    def abort(self) -> None:
        """Close at once."""
        self.close()

    def _lose(self, reason: Failure) -> None:
        if not self._lost:
            self._lost = True
            self._talker.lost(reason)

    @property
    def _transport(self) -> Any:
        return self.transport
