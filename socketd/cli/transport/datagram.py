"""The datagram transport of clients."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Any

from twisted.internet.error import ConnectionDone, MessageLengthError
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.transport.interface import IClientTransport, Receiver
from socketd.net.datagram.cmsg import SO_TIMESTAMPNS

#: Maximum bytes of a datagram, by the UDP length field.
MAX_DATAGRAM = 65535

# The control message of SO_TIMESTAMPNS.
_TIMESPEC = struct.Struct("@ll")


@implementer(IClientTransport, IReadDescriptor)
class DatagramTransport:
    """
    A connected datagram socket: UDP or UNIX.

    Twisted's ports would connect without the interface of a link-local address. Datagrams have no
    backpressure, they are sent or dropped at once; and no EOF.

    @ivar arrived_at: when the kernel got the current datagram (nanoseconds since 1970); C{None}
        if it was not asked by L{stamp_arrivals}, or does not tell.
    """

    is_datagram = True
    can_half_close = False
    arrived_at: int | None = None
    _control_size = 0

    def __init__(self, reactor: Any, connected: socket.socket, receiver: Receiver) -> None:
        connected.setblocking(False)
        self._reactor = reactor
        self._socket = connected
        self._receiver = receiver
        self._is_lost = False
        self.resumeProducing()

    # Called by the reactor.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "-"

    def doRead(self) -> None:
        try:
            data = self._receive()
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
        else:
            self._receiver.dataReceived(data)

    def _receive(self) -> bytes:
        if not self._control_size:
            return self._socket.recv(MAX_DATAGRAM)
        data, messages, _, _ = self._socket.recvmsg(MAX_DATAGRAM, self._control_size)
        self.arrived_at = None
        for level, kind, value in messages:
            is_time = (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
            if is_time and len(value) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                self.arrived_at = seconds * 10**9 + nanoseconds
        return data

    def connectionLost(self, reason: Failure) -> None:
        # The epoll reactor takes the error of a refused datagram for the end of the socket, and
        # does not read SO_ERROR.
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._lose(OSError(number, os.strerror(number)) if number else ConnectionDone())

    def _lose(self, error: Exception) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._reactor.removeReader(self)
            self._socket.close()
            self._receiver.connectionLost(Failure(error))

    # Called by the receiver.

    def mark(self, ttl: int, tos: int) -> None:
        """Have all datagrams leave with this TTL or hop limit, and this TOS or traffic class."""
        if self._socket.family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        elif self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)

    def stamp_arrivals(self) -> None:
        """Have L{arrived_at} told, where the system does (SO_TIMESTAMPNS, socket(7))."""
        if sys.platform == "linux":
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._control_size = socket.CMSG_SPACE(_TIMESPEC.size)

    def write(self, data: bytes) -> None:
        if self._is_lost:
            return
        try:
            self._socket.send(data)
        except BlockingIOError:
            pass
        except OSError as error:
            is_too_long = error.errno == errno.EMSGSIZE
            self._lose(MessageLengthError(str(error)) if is_too_long else error)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """No-op: there is no backpressure."""

    def unregisterProducer(self) -> None:
        """No-op: there is no backpressure."""

    def pauseProducing(self) -> None:
        """Stop reading; the kernel drops datagrams that exceed its receive buffer."""
        if not self._is_lost:
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        if not self._is_lost:
            self._reactor.addReader(self)

    def loseConnection(self) -> None:
        if not self._is_lost:
            self._reactor.removeReader(self)
            self._reactor.callLater(0, self._lose, ConnectionDone())

    stopProducing = loseWriteConnection = abortConnection = loseConnection
