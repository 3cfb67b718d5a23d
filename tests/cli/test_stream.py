"""
Tests for L{socketd.cli.stream} and L{socketd.cli.link}.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
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

from socketd.cli.link import Valve
from socketd.cli.stream import StreamLink
from tests.cli.support import HalfCloseTransport, MemoryTalker


class StreamLinkTests(SynchronousTestCase):
    """
    Tests for L{StreamLink}.
    """

    def setUp(self) -> None:
        self.talker = MemoryTalker()
        self.link = StreamLink(self.talker)
        self.transport = HalfCloseTransport()

    def test_interfaces(self) -> None:
        """
        Twisted tells it of half closed connections and of handshakes.
        """
        verifyObject(IHalfCloseableProtocol, self.link)
        verifyObject(IHandshakeListener, self.link)
        verifyObject(IPushProducer, Valve(lambda: None, lambda: None, lambda: None))

    def test_ready(self) -> None:
        """
        A plain stream is ready when it is connected.
        """
        self.assertNoResult(self.link.ready)
        self.link.makeConnection(self.transport)
        self.successResultOf(self.link.ready)

    def test_ready_with_tls(self) -> None:
        """
        TLS is ready after the handshake only.
        """
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.assertNoResult(self.link.ready)
        self.link.handshakeCompleted()
        self.successResultOf(self.link.ready)

    def test_handshake_fails(self) -> None:
        """
        What is lost before it was ready never was: the talker need not know.
        """
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.link.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.link.ready, ConnectionLost)
        self.assertEqual(self.talker.reasons, [])

    def test_hears(self) -> None:
        """
        The talker is told of bytes, of the peer's end and of the loss.
        """
        self.link.makeConnection(self.transport)
        self.link.dataReceived(b"x")
        self.link.readConnectionLost()
        self.link.writeConnectionLost()
        self.link.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.talker.heard, [b"x"])
        self.assertTrue(self.talker.has_ended)
        self.assertIsInstance(self.talker.reasons[0].value, ConnectionLost)

    def test_end(self) -> None:
        """
        The end shuts down one direction, with nobody left to pause.
        """
        self.link.makeConnection(self.transport)
        self.link.hold(Valve(lambda: None, lambda: None, lambda: None))
        self.link.end()
        self.assertTrue(self.transport.has_ended)
        self.assertFalse(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)

    def test_end_with_tls(self) -> None:
        """
        TLS is closed by its own notice: half a TCP connection below it would break it.
        """
        directlyProvides(self.transport, ISSLTransport)
        self.link.makeConnection(self.transport)
        self.assertFalse(self.link.can_end)
        self.link.end()
        self.assertFalse(self.transport.has_ended)
        self.assertTrue(self.transport.disconnecting)
