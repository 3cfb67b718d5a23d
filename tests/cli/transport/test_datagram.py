"""Tests for L{socketd.cli.transport.datagram} and L{socketd.cli.transport.asking}."""

from __future__ import annotations

import errno
import os
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, MessageLengthError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.transport.asking import Question
from socketd.cli.transport.datagram import DatagramLink
from socketd.cli.transport.interface import CallbackProducer
from socketd.common.errors import CommandError
from tests.support.client_fakes import MemoryTalker


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


class DatagramLinkTests(SynchronousTestCase):
    """Tests for L{DatagramLink}."""

    def setUp(self) -> None:
        self.talker = MemoryTalker()
        self.link = DatagramLink(self.talker)
        self.port = MemoryPort()
        self.link.makeConnection(cast(Any, self.port))

    def reason(self) -> BaseException | None:
        """
        Find why the peer was lost.

        @return: the only reason.
        """
        (reason,) = self.talker.reasons
        value: BaseException | None = reason.value
        return value

    def test_both_kinds(self) -> None:
        """
        Datagrams are heard from UDP, which tells the sender, and UNIX, which does not; an empty
        one too.
        """
        self.link.datagramReceived(b"udp", ("127.0.0.1", 1))
        self.link.datagramReceived(b"unix")
        self.link.datagramReceived(b"")
        self.assertEqual(self.talker.heard, [b"udp", b"unix", b""])

    def test_refused(self) -> None:
        """A refusal is told once, and nothing is heard after it."""
        self.link.connectionRefused()
        self.link.connectionRefused()
        self.link.datagramReceived(b"late")
        self.assertIsInstance(self.reason(), ConnectionRefusedError)
        self.assertEqual(self.talker.heard, [])

    def test_error_of_the_socket(self) -> None:
        """A port that the reactor closes for an error tells which one."""
        self.port.socket.error = errno.EHOSTUNREACH
        self.link.doStop()
        reason = self.reason()
        assert isinstance(reason, OSError)
        self.assertEqual(reason.errno, errno.EHOSTUNREACH)
        self.assertEqual(reason.strerror, os.strerror(errno.EHOSTUNREACH))

    def test_closed(self) -> None:
        """An end is the close of the port, and a clean one."""
        self.link.end()
        self.assertEqual(self.port.calls, ["stopListening"])
        self.link.doStop()
        self.assertIsInstance(self.reason(), ConnectionDone)

    def test_lost_talker(self) -> None:
        """
        A talker that is told of the loss by the end of the port may do with the link what it
        does with any: nothing is left to close, and Twisted has taken the transport away.
        """
        self.port.socket.error = errno.ECONNREFUSED

        def part(reason: Failure) -> None:
            for call in (self.link.abort, self.link.close, self.link.pause, self.link.resume):
                call()
            self.link.send(b"x")

        self.talker.lost = part  # type: ignore[method-assign]
        self.link.doStop()
        self.assertEqual((self.port.calls, self.port.sent), ([], []))

    def test_closed_once(self) -> None:
        """The port is closed once, however often the talker parts."""
        self.link.close()
        self.link.abort()
        self.assertEqual(self.port.calls, ["stopListening"])

    def test_failed_write(self) -> None:
        """A datagram that cannot be sent loses the peer."""
        for error in (OSError(errno.EACCES, "Permission denied"), MessageLengthError("long")):
            self.setUp()
            self.port.error = error
            self.link.send(b"x")
            self.assertIs(self.reason(), error)

    def test_pause(self) -> None:
        """The port can be paused, and is not opened again when it is lost."""
        self.link.hold(CallbackProducer(lambda: None, lambda: None, lambda: None))
        self.link.pause()
        self.link.resume()
        self.link.connectionRefused()
        self.link.resume()
        self.link.abort()
        self.assertEqual(self.port.calls, ["stopReading", "startReading", "stopListening"])


class QuestionTests(SynchronousTestCase):
    """Tests for L{Question}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.question = Question()
        self.port = MemoryPort()
        self.question.link.makeConnection(cast(Any, self.port))

    def ask(self, seconds: float = 10) -> Deferred[bytes]:
        """
        Ask an empty question.

        @param seconds: how long to wait.
        @return: the answer.
        """
        return Deferred.fromCoroutine(self.question.ask(self.clock, b"", seconds))

    def test_answer(self) -> None:
        """The first datagram is the answer, an empty one too; what follows is dropped."""
        answer = self.ask()
        self.assertEqual(self.port.sent, [b""])
        self.question.link.datagramReceived(b"")
        self.question.link.datagramReceived(b"second")
        self.question.peer_ended()
        self.question.lost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(answer), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """After the time the failure says so."""
        answer = self.ask(2.5)
        self.clock.advance(2.5)
        failure = self.failureResultOf(answer, CommandError)
        self.assertEqual(str(failure.value), "no answer within 2.5 s")

    def test_for_ever(self) -> None:
        """Without a time, it waits."""
        answer = self.ask(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(answer)

    def test_refused(self) -> None:
        """A refusal is a failure at once."""
        answer = self.ask()
        self.question.link.connectionRefused()
        self.failureResultOf(answer, ConnectionRefusedError)

    def test_cannot_be_sent(self) -> None:
        """A question that cannot be sent is a failure at once."""
        self.port.error = OSError(errno.ENETUNREACH, "Network is unreachable")
        self.failureResultOf(self.ask(), OSError)
