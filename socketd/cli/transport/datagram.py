"""
Datagrams as a way to the peer.
"""

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
    """
    A connected datagram socket: UDP or UNIX.
    """

    keeps_messages = True
    noisy = False

    def __init__(self, talker: IReceiver) -> None:
        """
        Begin unconnected.

        @param talker: who is told what the peer does.
        """
        self._talker = talker
        self._lost = self._is_closing = False
        self.failed: BaseException | None = None

    # What Twisted calls.

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
        # The epoll reactor takes the error of a datagram that was refused for the end of the
        # socket, and asks nobody which one it was.
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._lose(Failure(OSError(number, os.strerror(number)) if number else ConnectionDone()))

    # What the talker calls.

    def send(self, data: bytes) -> None:
        """
        Send one datagram.

        @param data: all of it; dropped where the peer is lost.
        """
        if self._lost:
            return
        try:
            self._transport.write(data)
        except (OSError, MessageLengthError):
            self._lose(Failure())

    def hold(self, valve: CallbackProducer) -> None:
        """
        Do nothing: a datagram is sent or dropped at once.

        @param valve: not used.
        """

    def end(self) -> None:
        """
        Part: nobody can tell when the last datagram came.
        """
        self.close()

    def pause(self) -> None:
        """
        Take nothing from the peer until L{resume}; the kernel keeps some and drops the rest.
        """
        if not self._lost:
            self._transport.stopReading()

    def resume(self) -> None:
        """
        Take what the peer says.
        """
        if not self._lost:
            self._transport.startReading()

    def close(self) -> None:
        """
        Part; nothing is left to close where the peer is lost because the port was.
        """
        # Twisted closes a port as often as it is told to, and fails the second time.
        if self._transport is not None and not self._is_closing:
            self._is_closing = True
            self._transport.stopListening()

    def abort(self) -> None:
        """
        Part.
        """
        self.close()

    def _lose(self, reason: Failure) -> None:
        if not self._lost:
            self._lost = True
            self._talker.lost(reason)

    @property
    def _transport(self) -> Any:
        return self.transport
