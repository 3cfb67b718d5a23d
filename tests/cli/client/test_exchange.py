"""Tests for L{socketd.cli.client.send}."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from socketd.cli.client.send import MAX_DATAGRAM_PAYLOAD, QUIET_SECONDS, UNSENT, Exchange
from socketd.cli.client.stdio import IInput, TextInput
from socketd.cli.transport.stream import StreamTransport
from socketd.common.errors import CommandError
from tests.support.client_fakes import (
    HalfCloseTransport,
    MemoryInput,
    MemoryOutput,
    MemoryTransport,
)

TIMEOUT = 10


class ExchangeTests(SynchronousTestCase):
    """Tests for L{Exchange} over a string transport."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.source = MemoryInput()
        self.output = MemoryOutput()
        self.transport = HalfCloseTransport()
        self.exchange = self.begin(self.source)

    def begin(self, source: IInput, pause: float | None = None) -> Exchange:
        exchange = Exchange(self.clock, source, self.output, TIMEOUT, pause)
        self.stream = StreamTransport(exchange)
        self.stream.makeConnection(self.transport)
        self.stream.handshakeCompleted()
        made: Any = self.stream
        exchange.makeConnection(made)
        return exchange

    def peer_producer(self) -> IPushProducer:
        """Return what a peer that does not read pauses."""
        producer: IPushProducer | None = self.transport.producer
        assert producer is not None
        return producer

    def failure(self, error: Exception | None = None) -> str:
        """Lose the connection, and return the error that the exchange reports."""
        self.stream.connectionLost(Failure(error or ConnectionLost()))
        return str(self.failureResultOf(self.exchange.done, CommandError).value)

    def end(self) -> None:
        """Close the connection, and see that the exchange was a success."""
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(self.exchange.done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_text(self) -> None:
        """A text is sent at once with EOF, but the connection stays for the reply."""
        self.transport = HalfCloseTransport()
        self.exchange = self.begin(TextInput(b"hello"))
        self.assertEqual(self.transport.value(), b"hello")
        self.assertTrue(self.transport.has_ended)
        self.assertFalse(self.transport.disconnecting)

    def test_answer_until_end(self) -> None:
        """What comes back is written as it comes; the peer's EOF ends it without failure."""
        self.source.end()
        self.stream.dataReceived(b"one")
        self.assertEqual(self.output.take(), b"one")
        self.stream.dataReceived(b"\0\xff")
        self.assertEqual(self.output.take(), b"\0\xff")
        self.stream.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)
        self.end()

    def test_datagrams(self) -> None:
        """Over datagrams the first is the reply, an empty one too; there is no EOF."""
        transport = MemoryTransport(is_datagram=True)
        exchange = Exchange(self.clock, TextInput(b""), self.output, TIMEOUT)
        transport.connect(exchange)
        self.assertEqual((transport.sent, transport.calls), ([b""], []))
        exchange.dataReceived(b"")
        self.assertEqual((transport.calls, exchange.has_reply), (["close"], True))
        exchange.connectionLost()
        self.successResultOf(exchange.done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_datagram_in_pieces(self) -> None:
        """All of the input is one datagram, up to the most that one holds."""
        transport = MemoryTransport(is_datagram=True)
        transport.connect(Exchange(self.clock, self.source, self.output, TIMEOUT))
        self.source.feed(b"a" * (MAX_DATAGRAM_PAYLOAD - 1))
        self.source.feed(b"b")
        self.assertEqual(transport.sent, [])
        self.source.end()
        (sent,) = transport.sent
        self.assertEqual((len(sent), sent[-2:]), (MAX_DATAGRAM_PAYLOAD, b"ab"))

    def test_long_datagram(self) -> None:
        """A longer input is refused before it is read to its end, and not sent."""
        transport = MemoryTransport(is_datagram=True)
        exchange = Exchange(self.clock, self.source, self.output, TIMEOUT)
        transport.connect(exchange)
        self.source.feed(bytes(MAX_DATAGRAM_PAYLOAD + 1))
        self.assertEqual((self.source.is_paused, transport.calls), (True, ["abort"]))
        self.source.end()
        self.assertEqual(transport.sent, [])
        exchange.connectionLost()
        failure = self.failureResultOf(exchange.done, CommandError)
        self.assertIn("at most 65507 bytes", str(failure.value))

    def test_unreadable_datagram(self) -> None:
        """An input that cannot be read is a failure."""
        transport = MemoryTransport(is_datagram=True)
        exchange = Exchange(self.clock, self.source, self.output, TIMEOUT)
        transport.connect(exchange)
        exchange.input_failed(CommandError("standard input: Input/output error"))
        exchange.connectionLost()
        self.failureResultOf(exchange.done, CommandError)

    def test_no_datagram(self) -> None:
        """One that does not come is given up; without a timeout it is waited for."""
        transport = MemoryTransport(is_datagram=True)
        exchange = Exchange(self.clock, TextInput(b"x"), self.output, 2.5)
        transport.connect(exchange)
        self.clock.advance(2.5)
        exchange.connectionLost()
        failure = self.failureResultOf(exchange.done, CommandError)
        self.assertEqual(str(failure.value), "no answer within 2.5 s")
        transport.connect(Exchange(self.clock, TextInput(b"x"), self.output, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost_connection(self) -> None:
        """A connection that breaks is a failure."""
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.exchange.done, ConnectionLost)

    def test_no_answer(self) -> None:
        """A peer that says nothing at its turn is given up."""
        self.source.end()
        self.clock.advance(TIMEOUT)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.failure(), "no answer within 10 s")

    def test_silence_after_answer(self) -> None:
        """Each byte restarts the timeout; a peer that then sends neither data nor EOF fails it."""
        self.source.end()
        for _ in range(3):
            self.clock.advance(TIMEOUT - 1)
            self.stream.dataReceived(b"x")
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.failure(), "the peer was silent for 10 s")

    def test_our_turn_takes_its_time(self) -> None:
        """While the input is open and the peer reads it, there is no timeout."""
        self.source.feed(b"slow")
        self.clock.advance(10 * TIMEOUT)
        self.assertFalse(self.transport.disconnected)

    def test_full_peer(self) -> None:
        """A peer that takes no input pauses it, for no longer than the timeout."""
        self.peer_producer().pauseProducing()
        self.assertTrue(self.source.is_paused)
        self.clock.advance(TIMEOUT - 1)
        self.peer_producer().resumeProducing()
        self.assertFalse(self.source.is_paused)
        self.clock.advance(TIMEOUT)
        self.assertFalse(self.transport.disconnected)
        self.peer_producer().pauseProducing()
        self.clock.advance(TIMEOUT)
        self.assertTrue(self.transport.disconnected)

    def test_full_output(self) -> None:
        """The peer is not read while the output is full, and is not blamed for the silence."""
        self.source.end()
        self.output.producer.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.clock.advance(10 * TIMEOUT)
        self.assertFalse(self.transport.disconnected)
        self.output.producer.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.clock.advance(TIMEOUT)
        self.assertTrue(self.transport.disconnected)

    def test_closed_output(self) -> None:
        """When the output is closed, the connection is aborted."""
        self.output.producer.stopProducing()
        self.assertTrue(self.transport.disconnected)

    def test_peer_ends_first(self) -> None:
        """A peer that says nothing more still gets the rest of the input."""
        self.stream.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        self.source.feed(b"rest")
        self.assertEqual(self.transport.value(), b"rest")
        self.source.end()
        self.assertTrue(self.transport.disconnecting)

    def test_peer_closes_first(self) -> None:
        """A peer that takes no more is a failure while there is input, however it goes."""
        for reason in (ConnectionDone(), ConnectionLost()):
            self.setUp()
            self.stream.readConnectionLost()
            self.source.feed(b"rest")
            self.assertEqual(self.failure(reason), UNSENT)
        # TLS has no end of one direction.
        self.setUp()
        self.assertEqual(self.failure(ConnectionDone()), UNSENT)

    def test_peer_ends_before_terminal(self) -> None:
        """A user at a terminal is not kept when the peer has ended."""
        self.source.is_terminal = True
        self.stream.readConnectionLost()
        self.assertTrue(self.source.is_paused)
        self.assertTrue(self.transport.disconnecting)

    def test_tls(self) -> None:
        """Over TLS, close_notify is sent only after a reply and a pause."""
        directlyProvides(self.transport, ISSLTransport)
        self.source.end()
        self.clock.advance(TIMEOUT - 1)
        for _ in range(3):
            self.stream.dataReceived(b"x")
            self.clock.advance(QUIET_SECONDS / 2)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(QUIET_SECONDS / 2)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.has_ended)
        self.end()

    def test_tls_pause(self) -> None:
        """Over TLS the pause is as asked for; with 0 a peer that does not close fails."""
        for pause, ends in ((3.0, True), (0.0, False)):
            self.setUp()
            self.transport = HalfCloseTransport()
            directlyProvides(self.transport, ISSLTransport)
            self.exchange = self.begin(self.source, pause)
            self.source.end()
            self.stream.dataReceived(b"x")
            self.clock.advance(2.9)
            self.assertFalse(self.transport.disconnecting)
            self.clock.advance(0.1)
            self.assertEqual(self.transport.disconnecting, ends)
            self.clock.advance(TIMEOUT)
            self.assertEqual(self.failure(), "the peer was silent for 10 s")

    def test_tls_without_answer(self) -> None:
        """Over TLS a peer that says nothing is given up like any other."""
        directlyProvides(self.transport, ISSLTransport)
        self.source.end()
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.failure(), "no answer within 10 s")

    def test_unreadable_input(self) -> None:
        """An input that breaks off is a failure, and is not passed on as a whole one."""
        self.exchange.input_failed(CommandError("standard input: Input/output error"))
        self.assertFalse(self.transport.has_ended)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.failure(ConnectionAborted()), "standard input: Input/output error")
