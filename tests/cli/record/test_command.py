"""Tests for L{socketd.cli.record.command}."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.record.command import OneClientFactory, listen_address, listener_at, pass_on
from socketd.cli.record.recording import CLOSE, RESET, Recording
from socketd.cli.transport.interface import Receiver
from socketd.common.errors import CommandError
from socketd.settings.listener_syntax import parse_listener
from tests.settings.refusals import refusal
from tests.support.client_fakes import HalfCloseTransport, MemoryTransport
from tests.support.command_line import run_main

CLEAN = Failure(ConnectionDone())
BROKEN = Failure(ConnectionLost())


class FakePort:
    """A listening port."""

    is_open = True

    def stopListening(self) -> None:
        self.is_open = False


class PassOnTests(SynchronousTestCase):
    """Tests for L{pass_on}."""

    def setUp(self) -> None:
        self.recording = Recording()
        self.port = FakePort()
        self.connected: Deferred[None] = Deferred()
        self.done = Deferred.fromCoroutine(pass_on(self.recording, self.listen, self.connect))
        self.wire = HalfCloseTransport()
        self.client = self.enter(self.wire)
        self.transport = MemoryTransport()

    def listen(self, factory: OneClientFactory) -> FakePort:
        """Have the factory."""
        self.factory = factory
        return self.port

    async def connect(self, receiver: Receiver) -> None:
        """Connect the server when the test says so."""
        await self.connected
        self.transport.connect(receiver)
        self.server = receiver

    def enter(self, wire: StringTransport) -> Protocol:
        """Connect a client."""
        stream = self.factory.buildProtocol(None)
        assert stream is not None
        stream.makeConnection(wire)
        return stream

    def join(self) -> None:
        """Let the server be connected."""
        self.connected.callback(None)

    def test_passed_on(self) -> None:
        """What one side says reaches the other, in both directions, and is recorded."""
        self.assertEqual(self.wire.producerState, "paused")
        self.join()
        self.assertEqual(self.wire.producerState, "producing")
        self.server.dataReceived(b"hi")
        self.client.dataReceived(b"question")
        self.server.dataReceived(b"answer")
        self.assertEqual((self.wire.value(), self.transport.sent), (b"hianswer", [b"question"]))
        self.assertEqual(self.recording.greeting, b"hi")
        [turn] = self.recording.turns
        self.assertEqual((turn.question, turn.answer), (b"question", b"answer"))

    def test_backpressure(self) -> None:
        """A side is not read from while the other does not take what it said."""
        self.join()
        self.transport.producer.pauseProducing()
        self.assertEqual(self.wire.producerState, "paused")
        producer: Any = self.wire.producer
        producer.pauseProducing()
        producer.stopProducing()
        self.assertEqual(self.transport.calls, ["pause"])

    def test_one_client(self) -> None:
        """A second client is not accepted."""
        self.assertFalse(self.port.is_open)
        self.assertIs(self.factory.buildProtocol(None), None)

    def test_client_ends(self) -> None:
        """The client's end goes to the server, whose answer still comes; that is no close."""
        self.join()
        client: Any = self.client
        client.readConnectionLost()
        self.assertEqual(self.transport.calls, ["end"])
        self.server.dataReceived(b"late")
        self.server.readConnectionLost()
        self.assertEqual((self.wire.value(), self.wire.disconnecting), (b"late", True))
        self.assertEqual(self.transport.calls, ["end", "close"])
        self.assertNoResult(self.done)
        self.server.connectionLost(CLEAN)
        self.client.connectionLost(CLEAN)
        self.assertIs(self.successResultOf(self.done), None)
        self.assertEqual(self.recording.ending, "")

    def test_server_ends(self) -> None:
        """The server's end goes to the client, and is recorded."""
        self.join()
        self.server.readConnectionLost()
        self.assertTrue(self.wire.has_ended)
        client: Any = self.client
        client.readConnectionLost()
        self.assertEqual((self.transport.calls, self.wire.disconnecting), (["close"], True))
        self.assertEqual(self.recording.ending, CLOSE)

    def test_server_closes(self) -> None:
        """So is a close that takes both directions, as that of TLS."""
        self.join()
        self.server.connectionLost(CLEAN)
        self.assertTrue(self.wire.disconnecting)
        self.client.connectionLost(CLEAN)
        self.assertIs(self.successResultOf(self.done), None)
        self.assertEqual(self.recording.ending, CLOSE)

    def test_server_resets(self) -> None:
        """A reset is passed on as one."""
        self.join()
        self.server.connectionLost(BROKEN)
        self.assertTrue(self.wire.disconnected)
        self.client.connectionLost(BROKEN)
        self.assertIs(self.successResultOf(self.done), None)
        self.assertEqual(self.recording.ending, RESET)

    def test_client_resets(self) -> None:
        """So is the client's, which says nothing of the server."""
        self.join()
        self.client.connectionLost(BROKEN)
        self.assertEqual(self.transport.calls, ["abort"])
        self.server.connectionLost(BROKEN)
        self.assertIs(self.successResultOf(self.done), None)
        self.assertEqual(self.recording.ending, "")

    def test_no_server(self) -> None:
        """Without a server the client is not kept."""
        self.connected.errback(CommandError("connection refused"))
        self.failureResultOf(self.done, CommandError)
        self.assertTrue(self.wire.disconnected)
        self.client.connectionLost(BROKEN)


class ListenTests(SynchronousTestCase):
    """Tests for where the command listens, and then the service."""

    def test_listener(self) -> None:
        """The service listens where the command did."""
        here = os.getcwd()
        for text, expected in (
            ("127.0.0.1:7007", "tcp 127.0.0.1:7007"),
            ("tcp:localhost:7007", "tcp localhost:7007"),
            ("[::1]:7007", "tcp6 [::1]:7007"),
            ("tcp6:[fe80::1%lo]:7007", "tcp6 [fe80::1%lo]:7007"),
            ("./a=b:c.sock", f"unix {here}/a=b:c.sock"),
            ("/run/a.sock", "unix /run/a.sock"),
        ):
            listener = parse_listener(listener_at(listen_address(text)), "/run")
            self.assertEqual(str(listener), expected)

    def test_refused(self) -> None:
        """What no stream can be accepted at is refused."""
        for text in ("udp:127.0.0.1:7", "tls:a:7", "unixgram:/a", "ssl:host=a:port=7"):
            self.assertIn("is no place to listen", refusal(listen_address, text), text)

    def test_no_folder(self) -> None:
        """A folder that is not there is said before anything is recorded."""
        status, _, errors = run_main("record", "a:1", "--listen", "127.0.0.1:7", "no/plc.ini")
        expected = "socketd record: no is no folder that can be written to\n"
        self.assertEqual((status, errors), (1, expected))
