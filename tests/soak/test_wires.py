"""Tests for the clients' ends of connections."""

from __future__ import annotations

import socket
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.proxy.header import HeaderParser
from tests.soak.wires import Wire, first_hello, proxy_header

#: More than both sides of a UNIX socket hold.
MUCH = bytes(range(256)) * 8192


class WireTests(SynchronousTestCase):
    """Tests for L{tests.soak.wires.Wire}."""

    def setUp(self) -> None:
        """Connect one with a socket."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.wire = Wire(socket.create_connection(server.getsockname()))
            self.other = server.accept()[0]
        self.addCleanup(self.wire.sock.close)
        self.addCleanup(self.other.close)

    def echo(self) -> None:
        """Send back all that comes, on the other side."""
        while data := self.other.recv(65536):
            self.other.sendall(data)
        self.other.shutdown(socket.SHUT_WR)

    def test_swap(self) -> None:
        """More than all buffers hold comes back whole, and is counted in both directions."""
        thread = Thread(target=self.echo, daemon=True)
        thread.start()
        self.assertTrue(self.wire.swap(MUCH) == MUCH, "it came back changed")
        thread.join()
        self.assertEqual((self.wire.sent, self.wire.received), (len(MUCH), len(MUCH)))

    def test_read(self) -> None:
        """As much is read as is wanted, or up to the end."""
        self.other.sendall(b"hello world")
        self.other.shutdown(socket.SHUT_WR)
        self.assertEqual(self.wire.read(5), b"hello")
        self.assertEqual(self.wire.read(100), b" world")
        self.assertEqual(self.wire.received, 11)

    def test_reset(self) -> None:
        """A reset is one for the other side, and is seen without reading."""
        waits = Wire(self.other)
        self.wire.reset()
        self.assertTrue(waits.wait_for_reset())
        self.assertRaises(ConnectionResetError, self.other.recv, 1)


class WordTests(SynchronousTestCase):
    """Tests for what clients say first."""

    def test_headers(self) -> None:
        """The daemon reads the source out of both forms of a header."""
        for binary in (False, True):
            header = HeaderParser().feed(proxy_header(binary, ("198.18.0.1", 4711)))
            assert header is not None
            self.assertEqual(header.source, ("198.18.0.1", 4711))

    def test_hello(self) -> None:
        """TLS begins with a handshake record (RFC 8446, 5.1)."""
        self.assertEqual(first_hello()[:2], b"\x16\x03")
