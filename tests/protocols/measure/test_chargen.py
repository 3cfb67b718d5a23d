"""Tests for L{socketd.protocols.measure.chargen}."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.protocols.measure.chargen import (
    BLOCK,
    LINE_LENGTH,
    MAX_ANSWER,
    MAX_BLOCK,
    PATTERN,
    Chargen,
)
from tests.protocols.fakes import answers, make_stream
from tests.protocols.fakes import complaints
from tests.support.fakes import HandReactor, connect, make_service_state, read_all

#: The first lines of RFC 864's pattern: number N begins with character N.
FIRST_LINES = [
    b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg",
    b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh",
    b"\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghi",
]


def endless(length: int) -> bytes:
    """Write the beginning of the endless pattern, a character at a time as RFC 864 has it."""
    lines: list[bytes] = []
    while len(lines) * (LINE_LENGTH + 2) < length:
        numbers = range(len(lines), len(lines) + LINE_LENGTH)
        lines.append(bytes(32 + number % 95 for number in numbers) + b"\r\n")
    return b"".join(lines)[:length]


class CountingChargen(Chargen):
    """Counts how often it is asked for more."""

    asked = 0

    def resumeProducing(self) -> None:
        self.asked += 1
        super().resumeProducing()


class PatternTests(SynchronousTestCase):
    """Tests for the pattern of characters."""

    def test_first_lines(self) -> None:
        """Lines of 72 characters rotate by one, and end with CR LF."""
        self.assertEqual(PATTERN.split(b"\r\n")[:3], FIRST_LINES)

    def test_last_lines(self) -> None:
        """The last line begins with the last character, and goes on with the first."""
        *_, last, rest = PATTERN.split(b"\r\n")
        self.assertEqual((last[:3], len(last), rest), (b"~ !", 72, b""))

    def test_endless(self) -> None:
        """Pattern after pattern is the endless one."""
        self.assertEqual(PATTERN * 3, endless(3 * len(PATTERN)))

    def test_block(self) -> None:
        """A block is whole patterns, as many as fit."""
        self.assertEqual(BLOCK, PATTERN * (len(BLOCK) // len(PATTERN)))
        self.assertTrue(MAX_BLOCK - len(PATTERN) < len(BLOCK) <= MAX_BLOCK)


class ChargenTests(SynchronousTestCase):
    """Tests for C{chargen} on a string transport."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.protocol = make_stream("chargen")
        self.protocol.makeConnection(self.transport)

    def test_interfaces(self) -> None:
        """It is the producer of its own output, and asked when the input ends."""
        for interface in (IPullProducer, IHalfCloseableProtocol):
            self.assertTrue(verifyObject(interface, self.protocol))
        self.assertIs(self.transport.producer, self.protocol)
        self.assertFalse(self.transport.streaming)

    def test_one_block(self) -> None:
        """Each time that it is asked it sends one block, and the blocks join."""
        for count in (1, 2, 3):
            self.protocol.resumeProducing()
            self.assertEqual(self.transport.value(), endless(count * len(BLOCK)))

    def test_input(self) -> None:
        """What a peer says is of no interest, nor is that it says no more."""
        self.protocol.dataReceived(b"stop")
        self.protocol.readConnectionLost()
        self.assertEqual(self.transport.value(), b"")
        self.assertFalse(self.transport.disconnecting)
        self.assertIs(self.transport.producer, self.protocol)

    def test_close(self) -> None:
        """When the transport closes it sends no more, and lets the transport go."""
        self.transport.loseConnection()
        self.protocol.resumeProducing()
        self.assertEqual(self.transport.value(), b"")
        self.assertIsNone(self.transport.producer)


class BoundedTests(SynchronousTestCase):
    """Tests for C{chargen} with C{bytes}."""

    def test_sizes(self) -> None:
        """Exactly so many bytes are sent, then the connection is closed."""
        for size in (1, 100, len(BLOCK) - 1, len(BLOCK), len(BLOCK) + 1, 3 * len(BLOCK) + 7):
            transport = StringTransport()
            protocol = make_stream("chargen", bytes=size)
            protocol.makeConnection(transport)
            while not transport.disconnecting:
                protocol.resumeProducing()
            self.assertEqual(transport.value(), endless(size))
            self.assertIsNone(transport.producer)

    def test_connection(self) -> None:
        """A peer reads the end behind the last byte."""
        reactor = HandReactor()
        protocol = make_stream("chargen", bytes=10 * len(BLOCK))
        _, peer = connect(reactor, protocol, make_service_state(reactor)[0], small=True)
        self.addCleanup(peer.close)
        found, ended = b"", False
        for _ in range(5000):
            reactor.turn()
            part, ended = read_all(peer)
            found += part
            if ended:
                break
        self.assertTrue(ended)
        self.assertEqual(found, endless(10 * len(BLOCK)))

    def test_drain(self) -> None:
        """A close of the daemon comes first."""
        transport = StringTransport()
        protocol = make_stream("chargen", bytes=100)
        protocol.makeConnection(transport)
        transport.loseConnection()
        protocol.resumeProducing()
        self.assertEqual((transport.value(), transport.producer), (b"", None))

    def test_datagrams_only(self) -> None:
        """Datagrams have no such number."""
        ini = "[chargen]\nlisten = udp:19\nbytes = 10MiB\n"
        self.assertIn("is for connections, and no listener here has any", complaints(ini))


class ChargenDatagramTests(SynchronousTestCase):
    """Tests for C{chargen} with datagrams."""

    def test_lengths(self) -> None:
        """A datagram is answered with as many characters as it has bytes, up to 512."""
        for length in (1, 2, 72, 73, 74, 75, 511, 512):
            self.assertEqual(answers("chargen", b"x" * length), [endless(length)])
        for length in (513, 65507):
            self.assertEqual(answers("chargen", b"x" * length), [endless(MAX_ANSWER)])
        self.assertEqual(MAX_ANSWER, 512)

    def test_empty(self) -> None:
        """An empty datagram has no answer."""
        self.assertEqual(answers("chargen", b"", b"x", b""), [b" "])


class ChargenConnectionTests(SynchronousTestCase):
    """Tests for C{chargen} on a connection of the daemon's own."""

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.protocol = CountingChargen()
        service_state, self.events = make_service_state(self.reactor)
        self.connection, self.peer = connect(
            self.reactor, self.protocol, service_state, small=True
        )
        self.addCleanup(self.peer.close)
        self.addCleanup(self.connection.getHandle().close)

    def read(self, turns: int) -> tuple[bytes, bool]:
        """
        Read all that comes while the reactor turns; not beyond the end.

        @return: the bytes, and whether the end has come.
        """
        parts: list[bytes] = []
        ended = False
        for _ in range(turns):
            self.reactor.turn()
            part, ended = read_all(self.peer)
            parts.append(part)
            if ended:
                break
        return b"".join(parts), ended

    def assert_serves(self, so_far: bytes = b"") -> bytes:
        """Read more than a few blocks, which go on where the last ones ended."""
        received = so_far
        while len(received) < len(so_far) + 3 * len(BLOCK):
            part, ended = self.read(1)
            self.assertTrue(part)
            self.assertFalse(ended)
            received += part
        self.assertEqual(received, endless(len(received)))
        return received

    def test_input(self) -> None:
        """What it says is thrown away, however much."""
        received = b""
        for _ in range(20):
            self.peer.send(b"x" * 1000)
            received = self.assert_serves(received)
        self.assertEqual(self.connection.bytes_received, 20 * 1000)

    def test_flat(self) -> None:
        """For a peer that never reads one block is kept, not more."""
        self.reactor.turn(10)
        asked = self.protocol.asked
        self.reactor.turn(1000)
        self.assertEqual(self.protocol.asked, asked)
        held = asked * len(BLOCK) - self.connection.bytes_sent
        self.assertTrue(0 < held <= MAX_BLOCK, held)
        self.assert_serves()

    def test_bounded(self) -> None:
        """A turn of the reactor asks for no more than one block."""
        for _ in range(50):
            asked = self.protocol.asked
            self.read(1)
            self.assertTrue(self.protocol.asked - asked <= 1)

    def test_half_close(self) -> None:
        """A peer that shuts down its writing side is served until it is gone."""
        received = self.assert_serves()
        self.peer.shutdown(socket.SHUT_WR)
        self.assert_serves(received)
        self.peer.close()
        self.reactor.turn(3)
        self.assert_over()

    def test_gone(self) -> None:
        """A peer that reads is sent the pattern, block after block, until it is gone."""
        self.assert_serves()
        self.peer.close()
        self.reactor.turn(3)
        self.assert_over()

    def test_drain(self) -> None:
        """When the daemon closes, the peer gets what is on its way, and the end."""
        received = self.assert_serves()
        self.connection.loseConnection()
        rest, ended = self.read(50)
        self.assertTrue(ended)
        self.assertLessEqual(len(rest), len(BLOCK) + 65536)
        self.assertEqual(received + rest, endless(len(received + rest)))
        self.peer.close()
        self.reactor.turn(2)
        self.assert_over()

    def test_drain_half_closed(self) -> None:
        """So does a peer that has shut down its writing side."""
        received = self.assert_serves()
        self.peer.shutdown(socket.SHUT_WR)
        received = self.assert_serves(received)
        self.connection.loseConnection()
        rest, ended = self.read(50)
        self.assertTrue(ended)
        self.assertEqual(received + rest, endless(len(received + rest)))
        self.assert_over()

    def test_end_while_draining(self) -> None:
        """So does one that shuts it down while the daemon closes."""
        self.assert_serves()
        self.connection.loseConnection()
        self.peer.shutdown(socket.SHUT_WR)
        self.assertTrue(self.read(50)[1])
        self.reactor.turn(2)
        self.assert_over()

    def test_drain_never_read(self) -> None:
        """A peer that never reads does not keep the daemon from closing."""
        self.reactor.turn(10)
        self.connection.loseConnection()
        for _ in range(60):
            self.reactor.turn()
            self.reactor.advance(1.0)
        self.assert_over()

    def test_reset(self) -> None:
        """A reset ends it at once, with a block unsent."""
        self.reactor.turn(10)
        self.connection.abortConnection()
        self.reactor.turn()
        self.assert_over()

    def assert_over(self) -> None:
        """
        Check that the connection is over, that nothing waits for it, and that the
        producer has not been asked for more.
        """
        self.assertFalse(self.connection.connected)
        self.assertEqual((self.reactor.readers, self.reactor.writers), ([], []))
        self.assertEqual([name for name, _ in self.events if name == "protocol_failed"], [])
        asked = self.protocol.asked
        self.reactor.turn(3)
        self.assertEqual(self.protocol.asked, asked)
