"""Tests for L{socketd.cli.clock.ntp_query} and L{socketd.cli.clock.ntp_query}."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.ntp_query import (
    PAUSE,
    NtpQuery,
    NtsProof,
    Sample,
    best_of,
    encode_request,
    jitter_of,
    read_sample,
    render_json,
    render_table,
)
from socketd.cli.clock.time import parse_address
from socketd.common.errors import CommandError
from tests.cli.clock.ntp_server import packet
from tests.support.client_fakes import CommandTestCase, MemoryTransport

#: 2036-02-07 06:28:16 UTC, when the time of NTP begins again at 0.
WRAP = 2_085_978_496
COOKIE = b"12345678"


class SampleTests(SynchronousTestCase):
    """Tests for L{read_sample}."""

    def test_figures(self) -> None:
        """The server is a second ahead; half of what is not its own time is on each way."""
        for sent in (1_800_000_000.0, WRAP - 0.0625, WRAP + 1.0):
            reply = packet(COOKIE, sent + 1.125, sent + 1.25)
            found = read_sample(reply, COOKIE, sent, 0.375)
            assert found is not None
            self.assertAlmostEqual(found.offset, 1.0, places=6)
            self.assertAlmostEqual(found.delay, 0.25, places=6)
            self.assertEqual((found.stratum, found.leap, found.reference), (2, 0, "192.0.2.1"))
            self.assertAlmostEqual(found.root_distance, (0.5 + 0.25) / 2 + 0.25, places=6)

    def test_reference_clock(self) -> None:
        """The reference of stratum 1 is a name, made printable."""
        for refid, name in ((b"GPS\0", "GPS"), (b"\x1b[2J", r"\x1b[2J")):
            found = read_sample(packet(COOKIE, 1, 1, 0, 1, refid), COOKIE, 1, 0)
            assert found is not None
            self.assertEqual(found.reference, name)

    def test_others(self) -> None:
        """What answers another request, or is no answer of a server, is ignored."""
        self.assertIsNone(read_sample(packet(b"87654321", 1, 1), COOKIE, 1, 0))
        self.assertIsNone(read_sample(packet(COOKIE, 1, 1, mode=3), COOKIE, 1, 0))

    def test_refused(self) -> None:
        """A kiss, a clock that is not synchronised and what is no NTP are errors."""
        for reply, text in (
            (packet(COOKIE, 1, 1, 3, 0, b"RATE"), "kiss code RATE"),
            (packet(COOKIE, 1, 1, 3, 0, bytes(4)), "not synchronised"),
            (packet(COOKIE, 1, 1, 0, 16), "not synchronised"),
            (b"x" * 47, "reply error 47: the peer is no NTP server"),
        ):
            problem = self.assertRaises(CommandError, read_sample, reply, COOKIE, 1, 0)
            self.assertIn(text, str(problem))


class RenderTests(SynchronousTestCase):
    """Tests for what is printed."""

    samples = [
        Sample(0.5, 0.2, 1, 1, "GPS", 0.0, 0.001),
        Sample(0.25, 0.1, 1, 1, "GPS", 0.0, 0.001),
    ]

    def test_best(self) -> None:
        """The shortest round trip counts; the others show the jitter."""
        self.assertEqual(best_of(self.samples).offset, 0.25)
        self.assertEqual((jitter_of(self.samples), jitter_of(self.samples[:1])), (0.25, 0.0))

    def test_table(self) -> None:
        """A person reads lines."""
        lines = render_table(self.samples, 4, 1_800_000_000).splitlines()
        self.assertTrue(lines[0].startswith("local time"))
        self.assertEqual([" ".join(line.split()) for line in lines[1:]], [
            "offset +0.250000 s, at most 0.050000 s off by the path",
            "delay 100.000 ms",
            "jitter 250.000 ms",
            "stratum 1",
            "leap a second is added today",
            "root distance 51.000 ms",
            "reference GPS",
            "samples 2 of 4",
        ])  # fmt: skip

    def test_json(self) -> None:
        """A program reads one object, with units in the names."""
        found = json.loads(render_json(self.samples, 4, 1_800_000_000))
        self.assertEqual(
            (found["offset_seconds"], found["delay_ms"], found["unix"]),
            (0.25, 100.0, 1_800_000_000.25),
        )
        self.assertEqual((found["requests"], len(found["samples"])), (4, 2))
        self.assertEqual((found["authenticated"], found["nts"]), (False, None))

    def test_proof(self) -> None:
        """NTS is told, and is no proof where the certificate was not verified."""
        for is_verified, row in (
            (True, "yes, with keys of a.example:4460"),
            (False, "no: the certificate of a.example:4460 was not verified"),
        ):
            proof = NtsProof("a.example:4460", "192.0.2.1:123", is_verified)
            lines = render_table(self.samples, 4, 1_800_000_000, proof).splitlines()
            self.assertEqual(lines[-1], f"authenticated  {row}")
            found = json.loads(render_json(self.samples, 4, 1_800_000_000, proof))
            self.assertIs(found["authenticated"], is_verified)
            expected = {"key_server": "a.example:4460", "server": "192.0.2.1:123"}
            self.assertEqual(found["nts"], expected)


class QueryTests(SynchronousTestCase):
    """Tests for L{NtpQuery} in memory."""

    def begin(self, count: int = 2, timeout: float = 5.0) -> NtpQuery:
        """Begin to ask a server whose clock is that of the test."""
        self.clock = Clock()
        self.transport = MemoryTransport(True)
        query = NtpQuery(self.clock, count, timeout, lambda: 1_800_000_000 + self.clock.seconds())
        self.transport.connect(query)
        return query

    def answer(self, query: NtpQuery, after: float = 0.25) -> None:
        """Answer the last request, which takes so many seconds."""
        now = 1_800_000_000 + self.clock.seconds() + after / 2
        self.clock.advance(after)
        query.dataReceived(packet(self.transport.sent[-1][40:], now, now))

    def test_samples(self) -> None:
        """Each request is sent a while after the last answer, with a cookie of its own."""
        query = self.begin()
        self.answer(query)
        self.assertEqual(len(self.transport.sent), 1)
        self.clock.advance(PAUSE)
        self.answer(query, 0.125)
        self.successResultOf(query.done)
        first, second = self.transport.sent
        self.assertNotEqual(first, second)
        self.assertEqual(first, encode_request(first[40:]))
        self.assertEqual((len(first), first[0]), (48, 0x23))
        self.assertEqual([round(one.delay, 6) for one in query.samples], [0.25, 0.125])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_twice(self) -> None:
        """An answer counts once."""
        query = self.begin()
        self.answer(query)
        query.dataReceived(packet(self.transport.sent[0][40:], 1, 1))
        self.assertEqual(len(query.samples), 1)

    def test_timeout(self) -> None:
        """A request without an answer is the last one; without any answer it is an error."""
        query = self.begin()
        self.clock.advance(5.0)
        self.assertIn("no answer", str(self.failureResultOf(query.done, CommandError).value))
        query = self.begin()
        self.answer(query)
        self.clock.advance(PAUSE)
        self.clock.advance(5.0)
        self.successResultOf(query.done)
        self.assertEqual((len(query.samples), query.sent), (1, 2))

    def test_refused(self) -> None:
        """A server that refuses, or a port that does, ends it."""
        query = self.begin()
        query.dataReceived(packet(self.transport.sent[0][40:], 1, 1, 3, 0, b"DENY"))
        self.assertIn("DENY", str(self.failureResultOf(query.done, CommandError).value))
        query = self.begin()
        query.connectionLost(Failure(ConnectionRefusedError()))
        self.failureResultOf(query.done, ConnectionRefusedError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AddressTests(SynchronousTestCase):
    """Tests for the addresses of C{socketd time}."""

    def test_ntp(self) -> None:
        """An NTP server needs no port; a host may be an address of IPv6."""
        for text, host, port in (
            ("ntp:a.example", "a.example", 123),
            ("ntp:a.example:1123", "a.example", 1123),
            ("ntp:192.0.2.1", "192.0.2.1", 123),
            ("ntp:::1", "::1", 123),
            ("ntp:[::1]", "::1", 123),
            ("ntp:[::1]:1123", "::1", 1123),
        ):
            found = parse_address(text)
            expected = text, "udp", host, port
            self.assertEqual((found.text, found.scheme, found.host, found.port), expected)

    def test_no_guess(self) -> None:
        """A host alone may be asked in several ways, so it is refused with all of them."""
        problem = self.assertRaises(ValueError, parse_address, "a.example")
        self.assertIn("has no port", str(problem))
        self.assertIn("; an NTP server is ntp:a.example", str(problem))
        for text in ("ntp:", "ntp:a b", "ntp:a:0", "a.example:x"):
            problem = self.assertRaises(ValueError, parse_address, text)
            self.assertTrue(str(problem).startswith(repr(text)), problem)
        self.assertEqual(parse_address("a.example:37").scheme, "tcp")


class Server(DatagramProtocol):
    """An NTP server that is half a minute ahead."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        now = time.time() + 30
        transport: Any = self.transport
        transport.write(packet(datagram[40:48], now, now), addr)


class CommandTests(CommandTestCase):
    """Tests for C{socketd time ntp:HOST} as a process."""

    async def test_json(self) -> None:
        """Several samples are taken, and the offset is the server's."""
        address = f"ntp:127.0.0.1:{self.listen_datagrams(Server())}"
        out, err, status = await self.command("time", address, "--json", "-c", "2")
        self.assertEqual((err, status), (b"", 0))
        found = json.loads(out)
        self.assertEqual((found["requests"], len(found["samples"]), found["stratum"]), (2, 2, 2))
        self.assertLess(abs(found["offset_seconds"] - 30), 10)
