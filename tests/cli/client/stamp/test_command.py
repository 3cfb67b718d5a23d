"""Tests for C{socketd ping --stamp} as a process."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.ping import parse_address
from socketd.cli.common.address import Address
from socketd.cli.transport.datagram import DatagramTransport
from socketd.common.errors import FAILED, GOOD, USAGE
from socketd.net.datagram.cmsg import IpHeader, ask_for_ip_header, ip_header
from socketd.protocols.measure.keys import Keys
from tests.net.datagram.controls import ROOM, written
from tests.protocols.measure.stamp_fakes import Reflector
from tests.support.client_fakes import CommandTestCase, MemoryReceiver


class Reflecting(DatagramProtocol):
    """Answers as C{stamp} does, but for each third packet."""

    def __init__(self, **options: Any) -> None:
        self.reflector = Reflector(**options)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.reflector.ask(datagram, addr)
        transport: Any = self.transport
        if answer is not None and datagram[3] % 3 != 1:
            transport.write(answer, addr)


class AddressTests(SynchronousTestCase):
    """Tests for L{parse_address}."""

    def test_port(self) -> None:
        """A host alone has the port of reflectors; what has one keeps it."""
        for text, scheme, host, port in (
            ("router.example", "udp", "router.example", 862),
            ("192.0.2.1", "udp", "192.0.2.1", 862),
            ("2001:db8::1", "udp", "2001:db8::1", 862),
            ("[2001:db8::1]", "udp", "2001:db8::1", 862),
            ("udp6:router.example", "udp6", "router.example", 862),
            ("udp:192.0.2.1", "udp", "192.0.2.1", 862),
            ("udp:192.0.2.1:8620", "udp", "192.0.2.1", 8620),
            ("192.0.2.1:8620", "tcp", "192.0.2.1", 8620),
        ):
            self.assertEqual(parse_address(text), Address(text, scheme, host, port))
        for text in ("", "tcp:host", "host:", "host:x", "a b", "http://host/"):
            self.assertRaises(ValueError, parse_address, text)


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

    async def test_authenticated(self) -> None:
        """With the reflector's file of keys packets are authenticated, and answers checked."""
        path = self.write_keys("7 correct-horse\n8 other\n")
        reflecting = Reflecting(keys=Keys("keys", {7: b"correct-horse"}))
        words = ["--stamp", f"127.0.0.1:{self.listen_datagrams(reflecting)}", "--keys", path]
        words += ["-c", "3", "-i", "0.01", "--timeout", "0.5", "--json", "--ssid"]
        for ssid, received, status in (("7", 2, GOOD), ("8", 0, FAILED)):
            out, err, found = await self.command("ping", *words, ssid)
            self.assertEqual((err, found), (b"", status))
            told = json.loads(out)
            self.assertEqual((told["received"], told["bad_hmac"]), (received, 0))

    async def test_bad_keys(self) -> None:
        """What is wrong with the file of keys is said with its lines, and without a key."""
        words = ("--stamp", "127.0.0.1:9", "--keys")
        bad = self.write_keys("7 good\nx bad\n1\n")
        good = self.write_keys("7 good\n")
        for options, expected in (
            ((bad,), f"{bad}:2: has no number in front"),
            ((bad,), f"{bad}:3: is not a number and a key"),
            ((good,), f"{good} has no key for SSID 0; name one with --ssid"),
            ((good, "--ssid", "8"), f"{good} has no key for SSID 8; name another one with --ssid"),
            (("/nonexistent",), "--keys /nonexistent cannot be read"),
            ((good, "--ssid", "7", "-s", "60"), "112, 148, or 152 and more"),
        ):
            out, err, status = await self.command("ping", *words, *options)
            self.assertEqual((out, status), (b"", USAGE), options)
            self.assertIn(expected, err.decode())

    def write_keys(self, text: str) -> str:
        """Write a file of keys, and return its path."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(0o600)
        return str(path.absolute())

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
            (("127.0.0.1:9", "--ssid", "1"), "--ssid is for --stamp"),
            (("127.0.0.1:9", "--keys", "keys"), "--keys is for --stamp"),
            (("--stamp", "127.0.0.1:9", "--ssid", "0"), "no number from 1 to 65535"),
            (("127.0.0.1",), "'127.0.0.1' has no port; HOST:PORT"),
            (("udp:127.0.0.1",), "'udp:127.0.0.1' has no port; udp:HOST:PORT"),
            (("--stamp", "tcp:127.0.0.1"), "'tcp:127.0.0.1' has no port"),
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
