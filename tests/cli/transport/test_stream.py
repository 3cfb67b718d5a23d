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
from zope.interface.verify import verifyObject

from socketd.cli.transport.interface import CallbackProducer
from socketd.cli.transport.stream import StreamLink
from tests.support.client_fakes import HalfCloseTransport, MemoryTalker


class StreamLinkTests(SynchronousTestCase):
    """Tests for L{StreamLink}."""

    def setUp(self) -> None:
        self.talker = MemoryTalker()
        self.link = StreamLink(self.talker)
        self.transport = HalfCloseTransport()

    def test_interfaces(self) -> None:
        """Twisted tells it of half closed connections and of handshakes."""
        verifyObject(IHalfCloseableProtocol, self.link)
        verifyObject(IHandshakeListener, self.link)
        verifyObject(IPushProducer, CallbackProducer(lambda: None, lambda: None, lambda: None))

    def test_ready(self) -> None:
        """A plain stream is ready when it is connected."""
        self.assertNoResult(self.link.ready)
        self.link.makeConnection(self.transport)
        self.successResultOf(self.link.ready)

    def test_tls_without_tls(self) -> None:
        """
        A peer that answers with an alert of TLS speaks that; it is left, which is told once.
        Bytes like these that are no first answer, or only a part of one, are none.
        """
        alert = b"\x15\x03\x01\x00\x02\x02\x46"
        self.link.makeConnection(self.transport)
        self.link.dataReceived(alert)
        self.assertTrue(self.transport.aborting)
        self.link.readConnectionLost()
        self.link.connectionLost(Failure(ConnectionLost()))
        (reason,) = self.talker.reasons
        self.assertEqual(str(reason.value), "the peer speaks TLS; use --tls")
        self.assertEqual((self.talker.heard, self.talker.has_ended), ([], False))
        for pieces in ([b"x", alert], [alert + b"x"], [alert[:3], alert[3:]]):
            self.setUp()
            self.link.makeConnection(self.transport)
            for piece in pieces:
                self.link.dataReceived(piece)
            self.assertEqual((self.talker.heard, self.talker.reasons), (pieces, []))

    def test_ready_with_tls(self) -> None:
        """TLS is ready after the handshake only."""
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.assertNoResult(self.link.ready)
        self.link.handshakeCompleted()
        self.successResultOf(self.link.ready)

    def test_handshake_fails(self) -> None:
        """What is lost before it was ready never was: the talker need not know."""
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.link.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.link.ready, ConnectionLost)
        self.assertEqual(self.talker.reasons, [])

    def test_given_up(self) -> None:
        """A handshake that comes after whoever waited gave up is told to nobody."""
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.link.ready.cancel()
        self.failureResultOf(self.link.ready, CancelledError)
        self.link.abandon()
        self.assertTrue(self.transport.aborting)
        self.link.handshakeCompleted()
        self.link.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.talker.reasons, [])

    def test_abort_after_loss(self) -> None:
        """What is lost is not broken off: Twisted's TLS would raise an error."""
        self.link.makeConnection(self.transport)
        self.link.connectionLost(Failure(ConnectionLost()))
        self.link.abort()
        self.assertFalse(self.transport.aborting)

    def test_hears(self) -> None:
        """The talker is told of bytes, of the peer's end and of the loss."""
        self.link.makeConnection(self.transport)
        self.link.dataReceived(b"x")
        self.link.readConnectionLost()
        self.link.writeConnectionLost()
        self.link.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.talker.heard, [b"x"])
        self.assertTrue(self.talker.has_ended)
        self.assertIsInstance(self.talker.reasons[0].value, ConnectionLost)

    def test_end(self) -> None:
        """The end shuts down one direction, with nobody left to pause."""
        self.link.makeConnection(self.transport)
        self.link.hold(CallbackProducer(lambda: None, lambda: None, lambda: None))
        self.link.end()
        self.assertTrue(self.transport.has_ended)
        self.assertFalse(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)

    def test_end_with_tls(self) -> None:
        """TLS is closed by its own notice: half a TCP connection below it would break it."""
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.assertFalse(self.link.can_end)
        self.link.end()
        self.assertFalse(self.transport.has_ended)
        self.assertTrue(self.transport.disconnecting)

    def test_refused_while_held(self) -> None:
        """
        Who was paused is resumed, unless TLS closes what carries it: that waits for nobody then.
        """
        for is_closing, resumed in ((False, ["resume"]), (True, [])):
            self.setUp()
            directlyProvides(self.transport, ISSLTransport)
            self.transport.transport = SimpleNamespace(disconnecting=is_closing)
            self.link.makeConnection(self.transport)
            asked: list[str] = []
            self.link.hold(
                CallbackProducer(lambda: None, partial(asked.append, "resume"), lambda: None)
            )
            producer: Any = self.transport.producer
            producer.resumeProducing()
            self.assertEqual(asked, resumed)
            self.assertEqual(self.transport.producer is None, is_closing)

    def test_no_notice_after_end(self) -> None:
        """
        Over TLS a peer that just goes after our end has ended well; before it, or by our own
        doing, it has not.
        """
        cases = [
            (True, ConnectionLost, ConnectionDone),
            (True, ConnectionAborted, ConnectionAborted),
            (False, ConnectionLost, ConnectionLost),
        ]
        for has_ended, error, told in cases:
            self.setUp()
            directlyProvides(self.transport, ISSLTransport)
            self.link.makeConnection(self.transport)
            self.link.handshakeCompleted()
            if has_ended:
                self.link.end()
            self.link.connectionLost(Failure(error()))
            self.assertIs(self.talker.reasons[0].type, told)
