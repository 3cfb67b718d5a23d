"""Tests for L{socketd.cli.client.chat}."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Protocol

from tests.support.client_fakes import CommandTestCase


class Upper(Protocol):
    """Answers in upper case, with a color, and closes at C{bye}."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(b"\x1b[31m" + data.upper())
        if data == b"bye":
            transport.loseConnection()


class UpperDatagrams(DatagramProtocol):
    """Answers each datagram in upper case."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(datagram.upper(), addr)


class CommandTests(CommandTestCase):
    """Tests for C{socketd chat} as a process, with piped input."""

    async def test_stream(self) -> None:
        """Each line has its answer, harmless for a terminal, until the input ends."""
        port = self.listen(Upper)
        outcome = await self.command("chat", f"127.0.0.1:{port}", stdin=b"one\n\n \n  two")
        self.assertEqual(outcome, (b"\\x1b[31mONE\n\\x1b[31mTWO\n", b"", 0))

    async def test_peer_ends(self) -> None:
        """When the peer closes, that is the end, and no failure."""
        port = self.listen(Upper)
        outcome = await self.command("chat", f"127.0.0.1:{port}", stdin=b"bye\nnever\n")
        self.assertEqual(outcome, (b"\\x1b[31mBYE\n", b"", 0))

    async def test_datagrams(self) -> None:
        """Each line is a datagram of its own."""
        port = self.listen_datagrams(UpperDatagrams())
        arguments = ("chat", "--newline", f"udp:127.0.0.1:{port}")
        outcome = await self.command(*arguments, stdin=b"one\ntwo\n")
        self.assertEqual(outcome, (b"ONE\nTWO\n", b"", 0))

    async def test_refused(self) -> None:
        """A refused connection is an error of one line."""
        port = self.refusing_port()
        outcome = await self.command("chat", f"127.0.0.1:{port}", stdin=b"one\n")
        complaint = f"socketd chat: 127.0.0.1:{port}: connection refused\n"
        self.assertEqual(outcome, (b"", complaint.encode(), 1))
