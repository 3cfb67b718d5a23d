"""Tests for L{socketd.protocols.measure.discard}."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import answers, make_stream
from tests.protocols.feeding import Outcome, outcomes
from tests.protocols.fakes import complaints
from tests.support.fakes import HandReactor, connect, make_service_state, read_all

EVERY_BYTE = bytes(range(256))


class DiscardTests(SynchronousTestCase):
    """Tests for C{discard}."""

    def test_stream(self) -> None:
        """Nothing comes back, and the connection stays."""
        for data in (b"", b"a", b"two\nlines", EVERY_BYTE):
            found = outcomes(lambda: make_stream("discard"), data)
            self.assertEqual(found, {Outcome(b"", False)})

    def test_end(self) -> None:
        """It ends when the peer does."""
        found = outcomes(lambda: make_stream("discard"), EVERY_BYTE, then_end=True)
        self.assertEqual(found, {Outcome(b"", True)})

    def test_datagrams(self) -> None:
        """No datagram has an answer."""
        self.assertEqual(answers("discard", b"a", b"", EVERY_BYTE, b"x" * 65507), [])

    def test_connection(self) -> None:
        """A connection takes all that the peer sends, and ends when its writing side does."""
        reactor = HandReactor()
        connection, peer = connect(reactor, make_stream("discard"), make_service_state(reactor)[0])
        self.addCleanup(peer.close)
        for _ in range(100):
            self.assertEqual(peer.send(EVERY_BYTE), len(EVERY_BYTE))
            reactor.turn()
        self.assertEqual(connection.bytes_received, 100 * len(EVERY_BYTE))
        self.assertTrue(connection.connected)
        peer.shutdown(socket.SHUT_WR)
        reactor.turn(2)
        self.assertFalse(connection.connected)
        self.assertEqual(read_all(peer), (b"", True))


class ReportTests(SynchronousTestCase):
    """Tests for C{discard} with C{report}."""

    def begin(self) -> None:
        """Connect to the service."""
        self.clock = Clock()
        self.transport = StringTransport()
        around = ProtocolContext(lambda: 0.0, OperatorQueue(self.clock))
        self.protocol = make_stream("discard", around, report=True)
        verifyObject(IHalfCloseableProtocol, self.protocol)
        self.protocol.makeConnection(self.transport)

    def test_report(self) -> None:
        """The end is answered with bytes, seconds from the first byte on, and the rate."""
        self.begin()
        self.clock.advance(5.0)
        for _ in range(2):
            self.protocol.dataReceived(b"x" * 500_000)
            self.clock.advance(0.25)
        self.assertEqual(self.transport.value(), b"")
        self.protocol.readConnectionLost()
        self.assertEqual(self.transport.value(), b"1000000 bytes, 0.500 s, 16.000 Mbit/s\n")
        self.assertTrue(self.transport.disconnecting)

    def test_nothing(self) -> None:
        """Nothing was sent in no time at no rate; nor does a rate take a time that is none."""
        self.begin()
        self.protocol.readConnectionLost()
        self.assertEqual(self.transport.value(), b"0 bytes, 0.000 s, 0.000 Mbit/s\n")
        self.begin()
        self.protocol.dataReceived(b"x")
        self.protocol.readConnectionLost()
        self.assertEqual(self.transport.value(), b"1 bytes, 0.000 s, 0.000 Mbit/s\n")

    def test_connection(self) -> None:
        """A client that shuts down its writing side gets the line, then the end."""
        reactor = HandReactor()
        around = ProtocolContext(lambda: 0.0, OperatorQueue(reactor))
        protocol = make_stream("discard", around, report=True)
        _, peer = connect(reactor, protocol, make_service_state(reactor)[0])
        self.addCleanup(peer.close)
        peer.send(EVERY_BYTE)
        peer.shutdown(socket.SHUT_WR)
        reactor.turn(3)
        line, ended = read_all(peer)
        self.assertTrue(line.startswith(b"256 bytes, "), line)
        self.assertTrue(ended)

    def test_datagrams_only(self) -> None:
        """Datagrams have no end."""
        ini = "[discard]\nlisten = udp:9\nreport = yes\n"
        self.assertIn("is for connections, and no listener here has any", complaints(ini))
