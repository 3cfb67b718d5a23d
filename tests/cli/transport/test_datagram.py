"""Tests for L{socketd.cli.transport.datagram}."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from typing import Any

from twisted.internet.error import ConnectionDone, MessageLengthError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from socketd.cli.transport.datagram import DatagramTransport
from socketd.cli.transport.interface import CallbackProducer, Receiver
from tests.support.client_fakes import MemoryReceiver

REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")


class FailingSocket:
    """A socket on which every call fails with an error, which may be pending only."""

    def __init__(self, error: OSError | None = None, pending: int = 0) -> None:
        self.error = error
        self.pending = pending
        self.is_closed = False

    def setblocking(self, flag: bool) -> None:
        """No-op."""

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> int:
        return self._fail()

    def recv(self, size: int) -> int:
        return self._fail()

    def getsockopt(self, level: int, number: int) -> int:
        return self.pending

    def close(self) -> None:
        self.is_closed = True

    def _fail(self) -> int:
        assert self.error is not None and not self.is_closed
        raise self.error


class DatagramTestCase(SynchronousTestCase):
    """A transport to a socket of the test."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.receiver = MemoryReceiver()

    def connect(self, receiver: Receiver) -> Any:
        """Connect a receiver to C{self.peer}."""
        ours, self.peer = socket.socketpair(type=socket.SOCK_DGRAM)
        self.addCleanup(ours.close)
        self.addCleanup(self.peer.close)
        self.peer.setblocking(False)
        return self.transport(ours, receiver)

    def transport(self, connected: Any, receiver: Receiver | None = None) -> Any:
        """Give a receiver a transport over a socket."""
        receiver = receiver or self.receiver
        transport: Any = DatagramTransport(self.reactor, connected, receiver)
        receiver.makeConnection(transport)
        return transport

    def reason(self) -> BaseException | None:
        """Return why the peer was lost, which is reported once."""
        (reason,) = self.receiver.reasons
        value: BaseException | None = reason.value
        return value


class DatagramTransportTests(DatagramTestCase):
    """Tests for L{DatagramTransport}."""

    def test_interface(self) -> None:
        """The reactor reads it."""
        verifyClass(IReadDescriptor, DatagramTransport)
        transport = self.connect(self.receiver)
        self.assertEqual(self.reactor.getReaders(), [transport])

    def test_datagrams(self) -> None:
        """Each datagram is one, an empty one too; without one nothing is received."""
        transport = self.connect(self.receiver)
        for data in (b"one", b""):
            self.peer.send(data)
            transport.write(data)
            transport.doRead()
            self.assertEqual(self.peer.recv(9), data)
        transport.doRead()
        self.assertEqual((self.receiver.received, self.receiver.reasons), ([b"one", b""], []))

    def test_arrivals(self) -> None:
        """The kernel tells when each datagram came, where it is asked to."""
        transport = self.connect(self.receiver)
        self.peer.send(b"before")
        transport.doRead()
        self.assertIsNone(transport.arrived_at)
        transport.stamp_arrivals()
        begin = time.time_ns()
        self.peer.send(b"now")
        transport.doRead()
        self.assertEqual(self.receiver.received, [b"before", b"now"])
        if sys.platform == "linux":
            self.assertTrue(begin <= transport.arrived_at <= time.time_ns())
        transport.doRead()
        self.assertEqual(self.receiver.reasons, [])

    def test_refused(self) -> None:
        """A refusal is reported once and closes the socket; later calls are no-ops."""
        for pending in (False, True):
            self.setUp()
            connected = FailingSocket(REFUSED, errno.ECONNREFUSED)
            transport = self.transport(connected)
            if pending:
                transport.connectionLost(Failure(ConnectionDone()))
            else:
                transport.doRead()
            for call in (
                transport.abortConnection, transport.loseConnection, transport.loseWriteConnection,
                transport.pauseProducing, transport.resumeProducing,
            ):  # fmt: skip
                call()
            transport.write(b"x")
            reason = self.reason()
            assert isinstance(reason, OSError)
            found = (reason.errno, reason.strerror)
            self.assertEqual(found, (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
            self.assertTrue(connected.is_closed)
            self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls()), ([], []))

    def test_ended(self) -> None:
        """A socket that the reactor ends without an error has ended well."""
        self.transport(FailingSocket()).connectionLost(Failure(ConnectionDone()))
        self.assertIsInstance(self.reason(), ConnectionDone)

    def test_closed(self) -> None:
        """A close ends it in the next turn of the reactor, once, and well; so does EOF."""
        for name in ("loseConnection", "loseWriteConnection", "abortConnection", "stopProducing"):
            self.setUp()
            transport = self.connect(self.receiver)
            getattr(transport, name)()
            transport.loseConnection()
            self.assertEqual((self.reactor.getReaders(), self.receiver.reasons), ([], []))
            self.reactor.advance(0)
            self.assertIsInstance(self.reason(), ConnectionDone)
            self.assertEqual(transport.fileno(), -1)

    def test_failed_write(self) -> None:
        """A datagram that cannot be sent loses the peer; a full buffer only drops it."""
        denied = OSError(errno.EACCES, "Permission denied")
        self.transport(FailingSocket(denied)).write(b"x")
        self.assertIs(self.reason(), denied)
        self.setUp()
        self.transport(FailingSocket(OSError(errno.EMSGSIZE, "Message too long"))).write(b"x")
        self.assertIsInstance(self.reason(), MessageLengthError)
        self.setUp()
        self.transport(FailingSocket(BlockingIOError())).write(b"x")
        self.assertEqual(self.receiver.reasons, [])

    def test_pause(self) -> None:
        """It is not read while it is paused; a producer is not needed."""
        transport = self.connect(self.receiver)
        transport.registerProducer(CallbackProducer(lambda: None, lambda: None), True)
        transport.unregisterProducer()
        transport.pauseProducing()
        self.assertEqual(self.reactor.getReaders(), [])
        transport.resumeProducing()
        self.assertEqual(self.reactor.getReaders(), [transport])
