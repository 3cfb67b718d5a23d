"""Tests for L{socketd.cli.transport.stream} and L{socketd.cli.transport.interface}."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyClass, verifyObject

from socketd.cli.transport.datagram import DatagramTransport
from socketd.cli.transport.interface import CallbackProducer, IClientTransport
from socketd.cli.transport.stream import StreamTransport
from tests.support.client_fakes import HalfCloseTransport, MemoryReceiver, MemoryTransport


class StreamTransportTests(SynchronousTestCase):
    """Tests for L{StreamTransport}."""

    def setUp(self) -> None:
        self.receiver = MemoryReceiver()
        self.stream = StreamTransport(self.receiver)
        self.transport = HalfCloseTransport()

    def test_interfaces(self) -> None:
        """It has what Twisted calls for half-close and handshakes, and what receivers call."""
        verifyObject(IHalfCloseableProtocol, self.stream)
        verifyObject(IHandshakeListener, self.stream)
        verifyObject(IPushProducer, CallbackProducer(lambda: None, lambda: None))
        for implementation in (StreamTransport, DatagramTransport, MemoryTransport):
            verifyClass(IClientTransport, implementation)

    def test_ready(self) -> None:
        """A plain stream is ready when it is connected."""
        self.assertNoResult(self.stream.ready)
        self.stream.makeConnection(self.transport)
        self.successResultOf(self.stream.ready)

    def test_tls_without_tls(self) -> None:
        """
        A peer that answers with an alert of TLS speaks that; it is left, which is told once.
        Bytes like these that are no first answer, or only a part of one, are none.
        """
        alert = b"\x15\x03\x01\x00\x02\x02\x46"
        self.stream.makeConnection(self.transport)
        self.stream.dataReceived(alert)
        self.assertTrue(self.transport.disconnected)
        self.stream.readConnectionLost()
        self.stream.connectionLost(Failure(ConnectionLost()))
        (reason,) = self.receiver.reasons
        self.assertEqual(str(reason.value), "the peer speaks TLS; use --tls")
        self.assertEqual((self.receiver.received, self.receiver.has_eof), ([], False))
        for pieces in ([b"x", alert], [alert + b"x"], [alert[:3], alert[3:]]):
            self.setUp()
            self.stream.makeConnection(self.transport)
            for piece in pieces:
                self.stream.dataReceived(piece)
            self.assertEqual((self.receiver.received, self.receiver.reasons), (pieces, []))

    def test_ready_with_tls(self) -> None:
        """TLS is ready after the handshake only."""
        directlyProvides(self.transport, ISSLTransport)
        self.stream.makeConnection(self.transport)
        self.assertNoResult(self.stream.ready)
        self.stream.handshakeCompleted()
        self.successResultOf(self.stream.ready)

    def test_handshake_fails(self) -> None:
        """A connection that is lost before it was ready is not reported to the receiver."""
        directlyProvides(self.transport, ISSLTransport)
        self.stream.makeConnection(self.transport)
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.stream.ready, ConnectionLost)
        self.assertEqual(self.receiver.reasons, [])

    def test_given_up(self) -> None:
        """A handshake that completes after the timeout is ignored."""
        directlyProvides(self.transport, ISSLTransport)
        self.stream.makeConnection(self.transport)
        self.stream.ready.cancel()
        self.failureResultOf(self.stream.ready, CancelledError)
        self.stream.abortConnection()
        self.assertTrue(self.transport.disconnected)
        self.stream.handshakeCompleted()
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.receiver.reasons, [])

    def test_abort_after_loss(self) -> None:
        """What is lost is not broken off: Twisted's TLS would raise an error."""
        self.stream.makeConnection(self.transport)
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.stream.abortConnection()
        self.assertFalse(self.transport.disconnected)

    def test_delivers(self) -> None:
        """The receiver gets bytes, of the peer's end and of the loss."""
        self.stream.makeConnection(self.transport)
        self.stream.dataReceived(b"x")
        self.stream.readConnectionLost()
        self.stream.writeConnectionLost()
        self.stream.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.receiver.received, [b"x"])
        self.assertTrue(self.receiver.has_eof)
        self.assertIsInstance(self.receiver.reasons[0].value, ConnectionLost)

    def test_end(self) -> None:
        """EOF shuts down one direction, and unregisters the producer."""
        self.stream.makeConnection(self.transport)
        self.stream.registerProducer(CallbackProducer(lambda: None, lambda: None), True)
        self.stream.loseWriteConnection()
        self.assertTrue(self.transport.has_ended)
        self.assertFalse(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)

    def test_end_with_tls(self) -> None:
        """TLS is closed by its own notice: half a TCP connection below it would break it."""
        directlyProvides(self.transport, ISSLTransport)
        self.stream.makeConnection(self.transport)
        self.assertFalse(self.stream.can_half_close)
        self.stream.loseWriteConnection()
        self.assertFalse(self.transport.has_ended)
        self.assertTrue(self.transport.disconnecting)

    def test_refused_while_held(self) -> None:
        """A paused producer is resumed, or unregistered if TLS closes its carrier."""
        for is_closing, resumed in ((False, ["resume"]), (True, [])):
            self.setUp()
            directlyProvides(self.transport, ISSLTransport)
            self.transport.transport = SimpleNamespace(disconnecting=is_closing)
            self.stream.makeConnection(self.transport)
            asked: list[str] = []
            ours = CallbackProducer(lambda: None, partial(asked.append, "resume"))
            self.stream.registerProducer(ours, True)
            producer: Any = self.transport.producer
            producer.resumeProducing()
            self.assertEqual(asked, resumed)
            self.assertEqual(self.transport.producer is None, is_closing)

    def test_no_notice_after_end(self) -> None:
        """Over TLS a loss after our EOF is a clean end; before it, or by our abort, it is not."""
        cases = [
            (True, ConnectionLost, ConnectionDone),
            (True, ConnectionAborted, ConnectionAborted),
            (False, ConnectionLost, ConnectionLost),
        ]
        for has_ended, error, told in cases:
            self.setUp()
            directlyProvides(self.transport, ISSLTransport)
            self.stream.makeConnection(self.transport)
            self.stream.handshakeCompleted()
            if has_ended:
                self.stream.loseWriteConnection()
            self.stream.connectionLost(Failure(error()))
            self.assertIs(self.receiver.reasons[0].type, told)
