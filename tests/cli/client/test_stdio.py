"""Tests for L{socketd.cli.client.stdio}."""

from __future__ import annotations

import os
import select

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from socketd.cli.client.chat import LineDialog
from socketd.cli.client.send import Exchange
from socketd.cli.client.stdio import (
    IInput,
    IInputReceiver,
    IOutput,
    StandardInput,
    StandardOutput,
    TextInput,
)
from socketd.cli.operator.session import ConsoleSession
from socketd.cli.transport.interface import CallbackProducer
from socketd.common.errors import CommandError
from tests.support.client_fakes import MemoryInput, MemoryOutput


@implementer(IInputReceiver)
class MemoryInputReceiver:
    """Records what an input delivers."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def input_received(self, data: bytes) -> None:
        self.events.append(data)

    def input_ended(self) -> None:
        self.events.append("end")

    def input_failed(self, error: Exception) -> None:
        self.events.append(str(error))


class InterfaceTests(SynchronousTestCase):
    """Tests for the interfaces of input and output."""

    def test_verified(self) -> None:
        """Inputs and outputs, and their doubles, have all that is called on them."""
        for source in (TextInput, StandardInput, MemoryInput):
            verifyClass(IInput, source)
        for output in (StandardOutput, MemoryOutput):
            verifyClass(IOutput, output)
        for receiver in (Exchange, LineDialog, ConsoleSession):
            verifyClass(IInputReceiver, receiver)


class TextInputTests(SynchronousTestCase):
    """Tests for L{TextInput}."""

    def test_all_at_once(self) -> None:
        """The text is handed over whole, with its end, whatever is paused."""
        receiver = MemoryInputReceiver()
        text = TextInput(b"text")
        text.pauseProducing()
        text.start(receiver)
        text.resumeProducing()
        self.assertEqual(receiver.events, [b"text", "end"])


class StandardInputTests(SynchronousTestCase):
    """Tests for L{StandardInput} over a pipe."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.receiver = MemoryInputReceiver()
        self.read, self.write = os.pipe()
        self.addCleanup(os.close, self.read)
        self.writer = os.fdopen(self.write, "wb", 0)
        self.addCleanup(self.writer.close)
        self.input = StandardInput(self.reactor, self.read)
        self.input.start(self.receiver)

    def test_interface(self) -> None:
        """It is what a reactor waits for, and leaves the descriptor as it was."""
        verifyObject(IReadDescriptor, self.input)
        self.assertEqual(self.input.fileno(), self.read)
        self.assertTrue(os.get_blocking(self.read))
        self.assertFalse(self.input.is_terminal)

    def test_read_to_end(self) -> None:
        """What is read is handed over; then the end."""
        os.write(self.write, b"some\0bytes")
        self.assertIsNone(self.input.doRead())
        self.writer.close()
        self.assertIs(self.input.doRead(), CONNECTION_DONE)
        self.input.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.receiver.events, [b"some\0bytes", "end"])

    def test_pause(self) -> None:
        """A paused input is not waited for; one that has ended is not again."""
        self.input.pauseProducing()
        self.assertEqual(self.reactor.readers, set())
        self.input.resumeProducing()
        self.assertEqual(self.reactor.readers, {self.input})
        self.input.pauseProducing()
        self.input.connectionLost(Failure(ConnectionDone()))
        self.input.resumeProducing()
        self.assertEqual(self.reactor.readers, set())

    def test_nothing_there(self) -> None:
        """On a descriptor that another process made non-blocking, an early read is a no-op."""
        os.set_blocking(self.read, False)
        self.assertIsNone(self.input.doRead())
        self.assertEqual(self.receiver.events, [])

    def test_unreadable(self) -> None:
        """A descriptor that cannot be read is a failure, not an end."""
        unreadable = StandardInput(self.reactor, self.write)
        unreadable.start(self.receiver)
        unreadable.connectionLost(Failure(unreadable.doRead()))
        self.assertEqual(self.receiver.events, ["standard input: Bad file descriptor"])


class StandardOutputTests(SynchronousTestCase):
    """Tests for L{StandardOutput} over a pipe."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.read, self.write = os.pipe()
        self.addCleanup(os.close, self.write)
        self.reader = os.fdopen(self.read, "rb", 0)
        self.addCleanup(self.reader.close)
        self.output = StandardOutput(self.reactor, self.write)

    def run_writers(self) -> bytes:
        """Do what a reactor does for a pipe that is read."""
        data = b""
        while self.reactor.writers:
            why = self.output.doWrite()
            data += os.read(self.read, select.PIPE_BUF)
            if why is not None:
                self.output.connectionLost(Failure(why))
        return data

    def test_write(self) -> None:
        """All is written, in pieces that a ready pipe takes whole, before C{finish} fires."""
        data = os.urandom(5 * select.PIPE_BUF + 1)
        self.output.write(data)
        finished = self.output.finish()
        self.assertNoResult(finished)
        self.assertEqual(self.run_writers(), data)
        self.successResultOf(finished)
        self.assertTrue(os.get_blocking(self.write))

    def test_last_line(self) -> None:
        """Where that is asked for, a last line without an end gets one; no other output does."""
        for ends_line, written, expected in (
            (True, [b"a", b"b"], b"ab\n"),
            (True, [b"a\n", b""], b"a\n"),
            (False, [b"a"], b"a"),
        ):
            self.output = StandardOutput(self.reactor, self.write, ends_line)
            for data in written:
                self.output.write(data)
            finished = self.output.finish()
            self.assertEqual(self.run_writers(), expected)
            self.successResultOf(finished)

    def test_pauses_producer(self) -> None:
        """The producer is paused while the buffer is full."""
        calls: list[str] = []
        producer = CallbackProducer(lambda: calls.append("pause"), lambda: calls.append("resume"))
        self.output.registerProducer(producer, True)
        self.output.write(bytes(self.output.bufferSize + 1))
        self.assertEqual(calls, ["pause"])
        self.run_writers()
        self.assertEqual(calls, ["pause", "resume"])

    def test_nobody_reads(self) -> None:
        """A closed pipe is a broken one, by a failed write or as the reactor says."""
        self.reader.close()
        self.output.write(b"x")
        why = self.output.doWrite()
        for reason in (why, ConnectionLost()):
            output = StandardOutput(self.reactor, self.write)
            output.connectionLost(Failure(reason))
            self.failureResultOf(output.finish(), BrokenPipeError)

    def test_full_device(self) -> None:
        """The error of a full device is explained."""
        self.reader.close()
        with open("/dev/full", "wb") as device:
            output = StandardOutput(self.reactor, device.fileno())
            output.write(b"x")
            output.connectionLost(Failure(output.doWrite()))
        failure = self.failureResultOf(output.finish(), CommandError)
        self.assertEqual(str(failure.value), "standard output: no space left on device")

    def test_full_pipe(self) -> None:
        """On a descriptor that another process made non-blocking, a full pipe is waited for."""
        os.set_blocking(self.write, False)
        while select.select([], [self.write], [], 0)[1]:
            os.write(self.write, bytes(select.PIPE_BUF))
        self.assertEqual(self.output.writeSomeData(bytes(select.PIPE_BUF)), 0)
