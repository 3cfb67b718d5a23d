"""Tests for C{socketd ping --stamp} as a process."""

from __future__ import annotations

import json
import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.cli.transport.datagram import DatagramTransport
from socketd.common.errors import FAILED, GOOD, USAGE
from socketd.net.datagram.cmsg import IpHeader, ask_for_ip_header, ip_header
from tests.net.datagram.controls import ROOM, written
from tests.protocols.measure.stamp_fakes import Reflector
from tests.support.client_fakes import CommandTestCase, MemoryReceiver


class Reflecting(DatagramProtocol):
    """Answers as C{stamp} does, but for each third packet."""

    def __init__(self) -> None:
        self.reflector = Reflector()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.reflector.ask(datagram, addr)
        transport: Any = self.transport
        if answer is not None and datagram[3] % 3 != 1:
            transport.write(answer, addr)


class StampCommandTests(CommandTestCase):
    """What a user sees."""

    async def test_text(self) -> None:
        """Loss on each way, and a row for each."""
        port = self.listen_datagrams(Reflecting())
        words = ("--stamp", f"127.0.0.1:{port}", "-c", "3", "-i", "0.01", "--timeout", "0.5")
        out, err, status = await self.command("ping", *words)
        self.assertEqual((err, status), (b"", GOOD))
        lines = out.decode().splitlines()
        self.assertEqual(lines[0], "3 sent, 2 received, 0 doubled, 0 reordered")
        self.assertEqual(lines[1], "lost: 0 forward, 1 backward, 0 unknown")
        ways = [line.split()[0] for line in lines[2:6]]
        self.assertEqual(ways, ["way", "round", "forward", "backward"])
        self.assertIn("not exact: a clock is not synchronised", lines[6])

    async def test_json(self) -> None:
        """JSON, also over a base packet without TLVs, from which the way is not known."""
        port = self.listen_datagrams(Reflecting())
        words = ("-c", "3", "-i", "0.01", "--timeout", "0.5", "-s", "44", "--json")
        out, err, status = await self.command("ping", "--stamp", f"udp:127.0.0.1:{port}", *words)
        self.assertEqual((err, status), (b"", GOOD))
        found = json.loads(out)
        self.assertEqual(found["lost"], {"forward": 0, "backward": 0, "unknown": 1})

    async def test_silence(self) -> None:
        """Without an answer the status is 1, and all is lost somewhere."""
        port = self.listen_datagrams(DatagramProtocol())
        words = ("-c", "2", "-i", "0", "--timeout", "0.1")
        out, err, status = await self.command("ping", "--stamp", f"127.0.0.1:{port}", *words)
        self.assertEqual((err, status), (b"", FAILED))
        self.assertIn(b"lost: 0 forward, 0 backward, 2 unknown\n", out)

    async def test_usage(self) -> None:
        """What does not go together is refused with what would."""
        for words, expected in (
            (("--stamp", "tcp:127.0.0.1:9"), "udp:HOST:862 would be right"),
            (("--stamp", "127.0.0.1:9", "--flood"), "leave out --flood"),
            (("--stamp", "127.0.0.1:9", "--tls"), "leave out --tls"),
            (("--stamp", "udp:127.0.0.1:9", "--tls"), "--tls does not go with udp"),
            (("--stamp", "127.0.0.1:9", "--ca", "ca.pem"), "--ca needs --tls"),
            (("--stamp", "127.0.0.1:9", "-s", "61"), "44, 60, or 64 and more"),
            (("--stamp", "127.0.0.1:9", "--dscp", "64"), "no number from 0 to 63"),
            (("127.0.0.1:9", "--dscp", "1"), "--dscp is for --stamp"),
        ):
            out, err, status = await self.command("ping", *words)
            self.assertEqual((out, status), (b"", USAGE), words)
            self.assertIn(expected, err.decode())

    def test_mark(self) -> None:
        """The packets leave with the TTL and the TOS that are asked for, by IPv4 and IPv6."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            peer, ours = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
            self.addCleanup(peer.close)
            peer.bind((host, 0))
            peer.settimeout(self.timeout)
            ask_for_ip_header(peer)
            ours.connect(peer.getsockname())
            transport = DatagramTransport(self.reactor, ours, MemoryReceiver())
            transport.mark(255, 46 << 2)
            transport.write(b"?")
            _, ancillary, _, _ = peer.recvmsg(ROOM, ROOM)
            parts = (((level, kind), data) for level, kind, data in ancillary)
            self.assertEqual(ip_header(written(*parts)), IpHeader(255, 46 << 2))
            self.reactor.removeReader(transport)
            ours.close()
