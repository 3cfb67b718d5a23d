"""Tests for L{socketd.protocols.measure.discard}."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.fakes import answers, make_stream
from tests.protocols.feeding import Outcome, outcomes
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
