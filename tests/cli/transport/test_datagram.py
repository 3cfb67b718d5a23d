"""Tests for L{socketd.cli.transport.datagram}."""

from __future__ import annotations

import errno
import os
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, MessageLengthError
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.transport.datagram import DatagramRequest, DatagramTransport
from socketd.cli.transport.interface import CallbackProducer
from socketd.common.errors import CommandError
from tests.support.client_fakes import MemoryReceiver


class MemorySocket:
    """A socket that knows its pending error only."""

    def __init__(self) -> None:
        """Begin without error."""
        self.error = 0

    def getsockopt(self, level: int, number: int) -> int:
        """
        Tell the pending error.

        @param level: not looked at.
        @param number: not looked at.
        @return: the error.
        """
        return self.error


class MemoryPort:
    """A connected datagram port that sends nothing."""

    def __init__(self) -> None:
        """Begin open."""
        self.socket = MemorySocket()
        self.calls: list[str] = []
        self.sent: list[bytes] = []
        self.error: Exception | None = None

    def getHandle(self) -> MemorySocket:
        return self.socket

    def write(self, data: bytes) -> None:
        """
        Keep it, or fail.

        @param data: the datagram.
        """
        if self.error is not None:
            raise self.error
        self.sent.append(data)

    def startReading(self) -> None:
        self.calls.append("startReading")

    def stopReading(self) -> None:
        self.calls.append("stopReading")

    def stopListening(self) -> None:
        self.calls.append("stopListening")


class DatagramTransportTests(SynchronousTestCase):
    """Tests for L{DatagramTransport}."""

    def setUp(self) -> None:
        self.receiver = MemoryReceiver()
        self.datagrams = DatagramTransport(self.receiver)
        self.port = MemoryPort()
        self.datagrams.makeConnection(cast(Any, self.port))

    def reason(self) -> BaseException | None:
        """
        Find why the peer was lost.

        @return: the only reason.
        """
        (reason,) = self.receiver.reasons
        value: BaseException | None = reason.value
        return value

    def test_both_kinds(self) -> None:
        """
        Datagrams are heard from UDP, which tells the sender, and UNIX, which does not; an empty
        one too.
        """
        self.datagrams.datagramReceived(b"udp", ("127.0.0.1", 1))
        self.datagrams.datagramReceived(b"unix")
        self.datagrams.datagramReceived(b"")
        self.assertEqual(self.receiver.received, [b"udp", b"unix", b""])

    def test_refused(self) -> None:
        """A refusal is told once, and nothing is heard after it."""
        self.datagrams.connectionRefused()
        self.datagrams.connectionRefused()
        self.datagrams.datagramReceived(b"late")
        self.assertIsInstance(self.reason(), ConnectionRefusedError)
        self.assertEqual(self.receiver.received, [])

    def test_error_of_the_socket(self) -> None:
        """A port that the reactor closes for an error tells which one."""
        self.port.socket.error = errno.EHOSTUNREACH
        self.datagrams.doStop()
        reason = self.reason()
        assert isinstance(reason, OSError)
        self.assertEqual(reason.errno, errno.EHOSTUNREACH)
        self.assertEqual(reason.strerror, os.strerror(errno.EHOSTUNREACH))

    def test_closed(self) -> None:
        """An end is the close of the port, and a clean one."""
        self.datagrams.loseWriteConnection()
        self.assertEqual(self.port.calls, ["stopListening"])
        self.datagrams.doStop()
        self.assertIsInstance(self.reason(), ConnectionDone)

    def test_lost_receiver(self) -> None:
        """
        A receiver that is told of the loss by the end of the port may call what it calls on
        any transport: nothing is left to close, and Twisted has taken the transport away.
        """
        self.port.socket.error = errno.ECONNREFUSED

        def part(reason: Failure = connectionDone) -> None:
            datagrams = self.datagrams
            for call in (
                datagrams.abortConnection, datagrams.loseConnection,
                datagrams.pauseProducing, datagrams.resumeProducing,
            ):  # fmt: skip
                call()
            self.datagrams.write(b"x")

        self.receiver.connectionLost = part  # type: ignore[method-assign]
        self.datagrams.doStop()
        self.assertEqual((self.port.calls, self.port.sent), ([], []))

    def test_closed_once(self) -> None:
        """The port is closed once, however often the receiver closes."""
        self.datagrams.loseConnection()
        self.datagrams.abortConnection()
        self.assertEqual(self.port.calls, ["stopListening"])

    def test_failed_write(self) -> None:
        """A datagram that cannot be sent loses the peer."""
        for error in (OSError(errno.EACCES, "Permission denied"), MessageLengthError("long")):
            self.setUp()
            self.port.error = error
            self.datagrams.write(b"x")
            self.assertIs(self.reason(), error)

    def test_pause(self) -> None:
        """The port can be paused, and is not opened again when it is lost."""
        self.datagrams.registerProducer(CallbackProducer(lambda: None, lambda: None), True)
        self.datagrams.pauseProducing()
        self.datagrams.resumeProducing()
        self.datagrams.connectionRefused()
        self.datagrams.resumeProducing()
        self.datagrams.abortConnection()
        self.assertEqual(self.port.calls, ["stopReading", "startReading", "stopListening"])


class DatagramRequestTests(SynchronousTestCase):
    """Tests for L{DatagramRequest}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = MemoryPort()

    def send(self, seconds: float = 10) -> Deferred[bytes]:
        """Send an empty datagram, and wait for the reply."""
        self.request = DatagramRequest(b"")
        self.datagrams: Any = DatagramTransport(self.request)
        self.datagrams.makeConnection(cast(Any, self.port))
        self.request.makeConnection(self.datagrams)
        return Deferred.fromCoroutine(self.request.reply_within(self.clock, seconds))

    def test_answer(self) -> None:
        """The first datagram is the reply, an empty one too; what follows is dropped."""
        reply = self.send()
        self.assertEqual(self.port.sent, [b""])
        self.datagrams.datagramReceived(b"")
        self.datagrams.datagramReceived(b"second")
        self.request.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(reply), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """The error for no reply in time names the timeout."""
        reply = self.send(2.5)
        self.clock.advance(2.5)
        failure = self.failureResultOf(reply, CommandError)
        self.assertEqual(str(failure.value), "no answer within 2.5 s")

    def test_no_limit(self) -> None:
        """Without a timeout, it waits."""
        reply = self.send(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(reply)

    def test_refused(self) -> None:
        """A refusal is a failure at once."""
        reply = self.send()
        self.datagrams.connectionRefused()
        self.failureResultOf(reply, ConnectionRefusedError)

    def test_cannot_be_sent(self) -> None:
        """A request that cannot be sent is a failure at once."""
        self.port.error = OSError(errno.ENETUNREACH, "Network is unreachable")
        self.failureResultOf(self.send(), OSError)
