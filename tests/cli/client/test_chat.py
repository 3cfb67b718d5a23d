"""Tests for L{socketd.cli.client.chat}."""

from __future__ import annotations


from tests.support.client_fakes import CommandTestCase, Server, UpperDatagrams


class Upper(Server):
    """Answers in upper case, with a color, and closes at C{bye}."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"\x1b[31m" + data.upper())
        if data == b"bye":
            self.transport.loseConnection()


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
