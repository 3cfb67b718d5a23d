"""Tests for L{socketd.cli.clock.time}."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import DatagramProtocol, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.time_query import (
    AUTO,
    MAX_REPLY,
    TimeReply,
    Timestamp,
    query,
    read_reply,
)
from socketd.cli.common.address import parse
from socketd.common.errors import CommandError
from tests.support.client_fakes import CommandTestCase, HalfCloseTransport, Server

ERA = 2**32
NOW = 1_800_000_000
#: 2036-02-07 06:28:16 UTC, when the number of RFC 868 starts again at zero.
WRAP_1900 = 2_085_978_496
#: 2106-02-07 06:28:16 UTC, when the number of seconds since 1970 does.
WRAP_UNIX = ERA

YEAR = 365 * 86400

TIMES = [
    # number, epoch, our clock, the time that is meant
    (NOW, "unix", NOW, NOW),
    (NOW + 2_208_988_800, "1900", NOW, NOW),
    (0, "unix", 0, 0),
    (2_208_988_800, "1900", 0, 0),
    (0, "1900", NOW, WRAP_1900),
    (ERA - 1, "1900", WRAP_1900 + 100, WRAP_1900 - 1),
    (0, "1900", WRAP_1900 - 100, WRAP_1900),
    (5, "1900", WRAP_1900 + 1e9, WRAP_1900 + 5),
    (2**31 - 1, "unix", NOW, 2**31 - 1),
    (2**31, "unix", 2**31, 2**31),
    (ERA - 1, "unix", WRAP_UNIX + 100, WRAP_UNIX - 1),
    (0, "unix", WRAP_UNIX - 100, WRAP_UNIX),
    (7, "unix", WRAP_UNIX + 1e9, WRAP_UNIX + 7),
    (7, "unix", 3 * ERA, 3 * ERA + 7),
]


def unix_time(number: int, epoch: str, near: float) -> int:
    """Read the time of an answer that comes when our clock shows a time."""
    now = Timestamp(near, 0.0)
    return read_reply(TimeReply(number.to_bytes(4, "big"), now, now), epoch).unix


class EraTests(SynchronousTestCase):
    """Tests for L{read_reply}, whose numbers wrap."""

    def test_eras(self) -> None:
        """The era is the one that comes nearest to our clock, across both wraps."""
        for number, epoch, near, meant in TIMES:
            self.assertEqual(unix_time(number, epoch, near), meant)

    def test_every_clock(self) -> None:
        """What a server sends comes back, whatever the year, with clocks decades apart."""
        for true in range(-(2**33), 2**35, 2**29 + 12345):
            for apart in (-(2**30), 0, 2**30):
                self.assertEqual(unix_time(true % ERA, "unix", true + apart), true)
                number = (true + 2_208_988_800) % ERA
                self.assertEqual(unix_time(number, "1900", true + apart), true)


class ReadReplyTests(SynchronousTestCase):
    """Tests for L{read_reply}."""

    def test_reading(self) -> None:
        """The offset is from the middle of both wall times, the round trip is monotonic."""
        sent, received = Timestamp(NOW - 3.0, 50.0), Timestamp(NOW - 2.0, 50.25)
        reply = TimeReply(struct.pack("!I", NOW), sent, received)
        for epoch in ("unix", AUTO):
            found = read_reply(reply, epoch)
            self.assertEqual((found.unix, found.round_trip, found.offset), (NOW, 0.25, 2.5))
            self.assertEqual(found.facts, {"number": NOW, "epoch": "unix"})

    def test_epoch(self) -> None:
        """The epoch of the server is found by our own clock, which may be up to 32 years off."""
        for apart in (-32 * YEAR, -1, 0, 32 * YEAR):
            moment = Timestamp(NOW + apart, 0)
            for number, epoch in ((NOW, "unix"), (NOW + 2_208_988_800, "1900")):
                reading = read_reply(TimeReply(struct.pack("!I", number), moment, moment), AUTO)
                self.assertEqual((reading.facts["epoch"], reading.unix), (epoch, NOW))

    def test_length(self) -> None:
        """A reply of another length is an error that tells it."""
        moment = Timestamp(0, 0)
        for data, guess in (
            (b"", ": the server does not know the time, or is none (RFC 868)"),
            (b"x", ""),
            (b"abc", ""),
            (b"12345", ""),
            (bytes(47), ""),
            (bytes(48), ": the peer is no time server of RFC 868"),
            (b"Sun Nov 29 10:00:00 2026\r\n", ": it is text, as daytime servers send (RFC 867)"),
        ):
            reply = TimeReply(data, moment, moment)
            error = self.assertRaises(CommandError, read_reply, reply, AUTO)
            self.assertEqual(str(error), f"reply error {len(data)}{guess}")


class RenderTests(SynchronousTestCase):
    """Tests for L{Measurement.render}."""

    def setUp(self) -> None:
        sent, received = Timestamp(NOW, 0.0), Timestamp(NOW + 0.5, 0.0012345)
        self.measured = read_reply(TimeReply(struct.pack("!I", NOW), sent, received), "unix")
        self.local = time.strftime("%a %b %d %H:%M:%S %Y %Z", time.localtime(NOW))

    def test_table(self) -> None:
        """A person reads lines."""
        expected = (
            f"local time  {self.local}\n"
            "number      1800000000, seconds since 1970\n"
            "round trip  1.234 ms\n"
            "offset      -0.250 s, resolution 1 s\n"
        )
        self.assertEqual(self.measured.render(False), expected)

    def test_json(self) -> None:
        """A program reads one object, with units in the names."""
        expected = {
            "local_time": self.local,
            "unix": NOW,
            "number": NOW,
            "epoch": "unix",
            "round_trip_ms": 1.234,
            "offset_seconds": -0.25,
            "resolution_seconds": 1,
        }
        self.assertEqual(json.loads(self.measured.render(True)), expected)


class QueryStreamTests(SynchronousTestCase):
    """Tests for L{query} over a stream."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.queried = Deferred.fromCoroutine(
            query(self.reactor, parse("192.0.2.1:37"), 10, lambda: NOW + self.reactor.seconds())
        )
        self.reactor.advance(1)
        self.transport = HalfCloseTransport()
        factory: Any = self.reactor.tcpClients[0][2]
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def test_moments(self) -> None:
        """The time counts from the connection to the last byte of the number, not to the end."""
        self.reactor.advance(1)
        self.protocol.dataReceived(b"ab")
        self.reactor.advance(1)
        self.protocol.dataReceived(b"cd")
        self.reactor.advance(1)
        self.assertNoResult(self.queried)
        self.protocol.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)
        self.protocol.connectionLost(Failure(ConnectionDone()))
        reply = self.successResultOf(self.queried)
        self.assertEqual(reply, TimeReply(b"abcd", Timestamp(NOW + 1, 1), Timestamp(NOW + 3, 3)))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """A server that says nothing is given up."""
        self.reactor.advance(10)
        failure = self.failureResultOf(self.queried, CommandError)
        self.assertEqual(str(failure.value), "no answer within 10 s")

    def test_no_end(self) -> None:
        """A server that does not end is given up too, but what it said counts."""
        self.protocol.dataReceived(b"abcd")
        self.reactor.advance(10)
        self.assertEqual(self.successResultOf(self.queried).data, b"abcd")

    def test_flood(self) -> None:
        """A server that says something else without end is not listened to for long."""
        self.protocol.dataReceived(bytes(MAX_REPLY + 1))
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(len(self.successResultOf(self.queried).data), MAX_REPLY + 1)

    def test_empty(self) -> None:
        """A server that only ends has said nothing, which has a length."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(self.queried).data, b"")

    def test_lost(self) -> None:
        """A connection that breaks is a failure."""
        self.protocol.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.queried, ConnectionLost)


class Clock(DatagramProtocol):
    """Answers a datagram with bytes, or with nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append(datagram)
        if self.answer is not None:
            transport: Any = self.transport
            transport.write(self.answer, addr)


class StreamClock(Server):
    """Sends the time since 1900 and closes."""

    def connectionMade(self) -> None:
        self.transport.write(struct.pack("!I", (int(time.time()) + 2_208_988_800) % ERA))
        self.transport.loseConnection()


class CommandTests(CommandTestCase):
    """Tests for C{socketd time} as a process."""

    async def test_datagram(self) -> None:
        """An empty datagram is sent, and the answer shown."""
        clock = Clock(struct.pack("!I", NOW))
        port = self.listen_datagrams(clock)
        out, err, status = await self.command("time", f"udp:127.0.0.1:{port}")
        self.assertEqual((err, status), (b"", 0))
        self.assertEqual(clock.received, [b""])
        self.assertIn(b"local time  Fri Jan 15 08:00:00 2027 UTC\nnumber      1800000000, ", out)

    async def test_stream(self) -> None:
        """Over a stream the number is read to the end, by the fitting epoch or the given one."""
        address = f"127.0.0.1:{self.listen(StreamClock)}"
        for epoch in ((), ("--epoch", "1900")):
            out, err, status = await self.command("time", address, "--json", *epoch)
            self.assertEqual((err, status), (b"", 0))
            found = json.loads(out)
            self.assertLess(abs(found["offset_seconds"]), 30)
            self.assertEqual(found["epoch"], "1900")

    async def test_other_epoch(self) -> None:
        """C{--epoch} is obeyed, with a note that the other one fits."""
        address = f"127.0.0.1:{self.listen(StreamClock)}"
        out, err, status = await self.command("time", address, "--json", "--epoch", "unix")
        self.assertEqual(status, 0)
        self.assertGreater(abs(json.loads(out)["offset_seconds"]), 60 * 365 * 86400)
        expected = b"the server seems to count from 1900 (RFC 868): --epoch 1900\n"
        self.assertEqual(err, expected)

    async def test_daytime(self) -> None:
        """A line of RFC 867 is read; where it names no zone, it is said that UTC is assumed."""
        for line, known, added in (
            (b"2027-01-15T08:00:00Z\r\n", True, b""),
            (b"Fri Jan 15 08:00:00 2027\r\n", False, b", if its zone is UTC"),
        ):
            address = f"udp:127.0.0.1:{self.listen_datagrams(Clock(line))}"
            out, err, status = await self.command("time", address)
            self.assertEqual((err, status), (b"", 0))
            self.assertIn(b"local time  Fri Jan 15 08:00:00 2027 UTC\ntext        ", out)
            self.assertTrue(out.endswith(b"resolution 1 s" + added + b"\n"), out)
            out, _, _ = await self.command("time", address, "--json")
            found = json.loads(out)
            self.assertEqual((found["unix"], found["zone_known"]), (NOW, known))

    async def test_other_text(self) -> None:
        """A text that is no known form of a time is named as one."""
        port = self.listen_datagrams(Clock(b"a quarter past eight\r\n"))
        _, err, status = await self.command("time", f"udp:127.0.0.1:{port}")
        self.assertEqual(status, 1)
        self.assertIn(b"reply error 22: it is text, as daytime servers send", err)

    async def test_options_of_others(self) -> None:
        """An option that has no meaning for a server is refused, and not ignored."""
        ntp, nts = ("ntp:a",), ("ntp:a", "--nts")
        for arguments in (
            (*ntp, "--epoch", "unix"), (*ntp, "--tls"), (*ntp, "--ca", "f"), ("a:37", "-c", "3"),
            (*ntp, "--nts-port", "1"), ("a:37", "--nts"), (*nts, "--tls"), (*nts, "--alpn", "x"),
            (*nts, "--insecure", "--ca", "f"),
        ):  # fmt: skip
            out, err, status = await self.command("time", *arguments)
            self.assertEqual((out, err.count(b"\n"), status), (b"", 1, 2), err)

    async def test_by_stream(self) -> None:
        """A failure over a stream says how a server is asked by UDP."""
        port = self.refusing_port()
        outcome = await self.command("time", f"127.0.0.1:{port}")
        hint = f"a server that is asked by UDP is udp:127.0.0.1:{port}"
        complaint = f"socketd time: 127.0.0.1:{port}: connection refused; {hint}\n"
        self.assertEqual(outcome, (b"", complaint.encode(), 1))
        mute = self.listen(Protocol)
        _, err, _ = await self.command("time", f"tcp:127.0.0.1:{mute}", "--timeout", "0.1")
        self.assertIn(b"no answer within 0.1 s; a server that is asked by UDP is udp:127", err)

    async def test_wrong_length(self) -> None:
        """The error for a reply of the wrong length has the length."""
        port = self.listen_datagrams(Clock(b"12345"))
        outcome = await self.command("time", f"udp:127.0.0.1:{port}")
        complaint = f"socketd time: udp:127.0.0.1:{port}: reply error 5\n"
        self.assertEqual(outcome, (b"", complaint.encode(), 1))

    async def test_no_answer(self) -> None:
        """Without an answer there is one line after the time."""
        port = self.listen_datagrams(Clock(None))
        arguments = (f"udp:127.0.0.1:{port}", "--timeout", "0.1")
        outcome = await self.command("time", *arguments)
        complaint = f"socketd time: udp:127.0.0.1:{port}: no answer within 0.1 s\n"
        self.assertEqual(outcome, (b"", complaint.encode(), 1))
