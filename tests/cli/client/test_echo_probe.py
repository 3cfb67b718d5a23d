"""Tests for L{socketd.cli.client.echo_probe} and L{socketd.cli.client.ping}."""

from __future__ import annotations

import json
import os
import socket
from argparse import ArgumentTypeError

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client import ping
from socketd.cli.client.echo_probe import (
    MAX_IN_FLIGHT,
    MAX_OVERDUE,
    PAUSE,
    EchoProbe,
    FloodProbe,
    Plan,
)
from socketd.protocols.measure.echo import EchoDatagrams
from tests.support.client_fakes import CommandTestCase, MemoryTransport, Server


class FloodTests(SynchronousTestCase):
    """Requests to a peer in memory."""

    def begin(self, count: int, is_datagram: bool = True) -> FloodProbe:
        """Begin with so many requests, lost after 2 s."""
        self.clock = Clock()
        self.transport = MemoryTransport(is_datagram)
        probe = FloodProbe(self.clock, Plan(count, 0.2, 2.0, 20))
        self.transport.connect(probe)
        return probe

    def test_at_each_answer(self) -> None:
        """The next request is sent by the answer itself."""
        probe = self.begin(3)
        for number in range(3):
            self.assertEqual(len(self.transport.sent), number + 1)
            self.clock.advance(0.001)
            probe.dataReceived(self.transport.sent[-1])
        self.successResultOf(probe.done)
        self.assertEqual((probe.stats.sent, len(probe.stats.times)), (3, 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_answers(self) -> None:
        """Without one it is sent after the pause; what is not answered in time is lost."""
        probe = self.begin(5)
        self.clock.pump([PAUSE] * 4)
        self.assertEqual(len(self.transport.sent), 5)
        probe.dataReceived(self.transport.sent[1])
        self.clock.pump([0.1] * 30)
        self.successResultOf(probe.done)
        self.assertEqual((probe.stats.sent, len(probe.stats.times), probe.stats.wrong), (5, 1, 0))

    def test_bounded(self) -> None:
        """No more than so many are unanswered; when these are lost, more are sent."""
        for is_datagram in (True, False):
            probe = self.begin(1000, is_datagram)
            self.clock.pump([PAUSE] * (MAX_IN_FLIGHT + 20))
            self.assertEqual(len(self.transport.sent), MAX_IN_FLIGHT)
            self.clock.pump([PAUSE] * 100)
            if is_datagram:
                self.assertGreater(len(self.transport.sent), MAX_IN_FLIGHT)
            else:
                self.assertEqual(
                    str(self.failureResultOf(probe.done).value), "no answer within 2 s"
                )

    def test_late(self) -> None:
        """An answer that is late, or comes twice, is neither right nor wrong; others are wrong."""
        probe = self.begin(1000)
        probe.dataReceived(self.transport.sent[0])
        probe.dataReceived(self.transport.sent[0])
        self.clock.pump([PAUSE] * 250)
        probe.dataReceived(self.transport.sent[2])
        self.assertEqual((len(probe.stats.times), probe.stats.wrong), (1, 0))
        probe.dataReceived(b"0000000000000001 else")
        probe.dataReceived(b"something else")
        self.assertEqual(probe.stats.wrong, 2)

    def test_stream(self) -> None:
        """Several answers may come at once in a stream."""
        probe = self.begin(4, is_datagram=False)
        self.clock.pump([PAUSE] * 3)
        probe.dataReceived(b"".join(self.transport.sent))
        self.successResultOf(probe.done)
        self.assertEqual(len(probe.stats.times), 4)


class ProbeTestCase(SynchronousTestCase):
    """Requests to a peer in memory."""

    is_datagram = False

    def begin(self, count: int = 3, interval: float = 1.0, size: int = 20) -> EchoProbe:
        self.clock = Clock()
        self.transport = MemoryTransport(self.is_datagram)
        self.progress: list[tuple[int, int]] = []
        plan = Plan(count, interval, 2.0, size)
        probe = EchoProbe(self.clock, plan, lambda *counts: self.progress.append(counts))
        self.transport.connect(probe)
        return probe

    def echo(self, probe: EchoProbe, after: float) -> None:
        """Answer the last request after so many seconds."""
        self.clock.advance(after)
        probe.dataReceived(self.transport.sent[-1])

    def failure(self, probe: EchoProbe) -> str:
        return str(self.failureResultOf(probe.done).value)


class PlanTests(SynchronousTestCase):
    """Tests for L{Plan}."""

    def test_requests(self) -> None:
        """All questions have the wanted length, and differ as far as they can."""
        for size in (1, 5, 16, 17, 56, 1000):
            plan = Plan(10, 0, 1, size)
            found = {plan.request(number) for number in range(10)}
            self.assertEqual({len(one) for one in found}, {size})
            self.assertEqual(len(found), 10)


class StreamTests(ProbeTestCase):
    """Tests for L{EchoProbe} over a stream."""

    def test_all(self) -> None:
        """Each request is sent at its time, and its round trip is measured."""
        probe = self.begin()
        for trip in (0.25, 0.5, 0.125):
            self.echo(probe, trip)
            self.clock.advance(1 - trip)
        self.assertEqual(probe.stats.times, (0.25, 0.5, 0.125))
        self.successResultOf(probe.done)
        self.assertEqual((len(self.transport.sent), self.transport.calls), (3, ["close"]))
        self.assertEqual(self.progress, [(1, 1), (2, 2), (3, 3)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """Without an interval the next request follows the reply."""
        probe = self.begin(interval=0)
        for _ in range(3):
            self.echo(probe, 0.1)
            self.clock.advance(0)
        self.successResultOf(probe.done)

    def test_pieces(self) -> None:
        """An answer may come in pieces; the last one counts."""
        probe = self.begin(count=1)
        probe.dataReceived(self.transport.sent[0][:7])
        self.clock.advance(0.5)
        probe.dataReceived(self.transport.sent[0][7:])
        self.assertEqual(probe.stats.times, (0.5,))

    def test_lost(self) -> None:
        """A request without a reply is lost; a late reply does not count for another one."""
        probe = self.begin(count=2)
        self.clock.advance(2.0)
        self.clock.advance(0)
        self.assertEqual(len(self.transport.sent), 2)
        probe.dataReceived(self.transport.sent[0])
        self.assertEqual(probe.stats.times, ())
        self.echo(probe, 0.5)
        self.assertEqual((probe.stats.times, probe.stats.loss), ((0.5,), 0.5))
        self.successResultOf(probe.done)

    def test_wrong(self) -> None:
        """A peer that answers something else is no echo service."""
        probe = self.begin()
        probe.dataReceived(self.transport.sent[0].upper())
        self.assertEqual(self.failure(probe), "the peer answers something else than it was sent")
        self.assertEqual((probe.stats.wrong, self.transport.calls), (1, ["abort"]))

    def test_too_much(self) -> None:
        """Nor is one that answers more."""
        probe = self.begin()
        probe.dataReceived(self.transport.sent[0] + b"x")
        self.assertEqual(self.failure(probe), "the peer answers more than it was sent")

    def test_silent(self) -> None:
        """A stream without any reply fails after a while; its requests do not pile up."""
        probe = self.begin(count=1000, interval=0)
        for _ in range(MAX_OVERDUE + 2):
            self.clock.advance(2.0)
            self.clock.advance(0)
        self.assertIn("questions in a row without an answer", self.failure(probe))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone(self) -> None:
        """A peer that goes ends it, however it goes."""
        probe = self.begin()
        probe.readConnectionLost()
        probe.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.failure(probe), "the peer has closed the connection")
        probe = self.begin()
        probe.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(probe.done, ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DatagramTests(ProbeTestCase):
    """Tests for L{EchoProbe} over datagrams."""

    is_datagram = True

    def test_out_of_order(self) -> None:
        """A late answer is known by what it says."""
        probe = self.begin(count=2)
        self.clock.advance(2.0)
        self.clock.advance(0)
        self.echo(probe, 0.5)
        probe.dataReceived(self.transport.sent[0])
        self.assertEqual((probe.stats.times, probe.stats.wrong), ((0.5,), 0))

    def test_wrong(self) -> None:
        """What is no answer is counted, and the right one still waited for."""
        probe = self.begin(count=1)
        probe.dataReceived(b"x")
        probe.dataReceived(self.transport.sent[0] + b"x")
        self.echo(probe, 0.5)
        self.assertEqual((probe.stats.times, probe.stats.wrong), ((0.5,), 2))
        self.successResultOf(probe.done)

    def test_silent(self) -> None:
        """Where nothing comes, all are lost, and only the last are remembered."""
        probe = self.begin(count=200, interval=0)
        while not probe.done.called:
            self.clock.advance(2.0)
            self.clock.advance(0)
        self.assertEqual((probe.stats.sent, probe.stats.times), (200, ()))
        for late in self.transport.sent:
            probe.dataReceived(late)
        self.assertGreaterEqual(probe.stats.wrong, 200 - MAX_OVERDUE)


class ArgumentTests(SynchronousTestCase):
    """Tests for the arguments of C{socketd ping}."""

    def test_timeout(self) -> None:
        """The timeout of a request is more than zero."""
        self.assertRaises(ArgumentTypeError, ping._positive_seconds, "0")

    def test_progress(self) -> None:
        """A long run says how far it is, a short one does not."""
        notes: list[str] = []
        self.patch(ping, "note", notes.append)
        clock = Clock()
        progress = ping.Progress(clock, 100)
        for sent in range(1, 13):
            clock.advance(1.0)
            progress.report(sent, sent - 1)
        self.assertEqual(notes, ["5 of 100 sent, 4 received", "10 of 100 sent, 9 received"])


class Echo(Server):
    """Says back what comes."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Upper(Server):
    """Says it back otherwise."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data.upper())


class CommandTests(CommandTestCase):
    """Tests for C{socketd ping} as a process."""

    async def test_stream(self) -> None:
        """Round trips over TCP are counted, and nothing is written to standard error."""
        address = f"127.0.0.1:{self.listen(Echo)}"
        out, err, status = await self.command("ping", address, "-c", "3", "-i", "0.01")
        self.assertEqual((err, status), (b"", 0))
        self.assertTrue(out.startswith(b"3 sent, 3 received, 0.0% loss\nmin ms"), out)

    async def test_datagrams(self) -> None:
        """So it is over UDP, as JSON."""
        address = f"udp:127.0.0.1:{self.listen_datagrams(EchoDatagrams())}"
        arguments = ("ping", address, "--json", "-c", "30", "-i", "0", "-s", "1200")
        out, err, status = await self.command(*arguments)
        self.assertEqual((err, status), (b"", 0))
        found = json.loads(out)
        self.assertEqual((found["received"], found["wrong"], len(found["times_ms"])), (30, 0, 30))

    async def test_no_echo(self) -> None:
        """What is no echo service fails, and the results so far are printed."""
        address = f"127.0.0.1:{self.listen(Upper)}"
        out, err, status = await self.command("ping", address)
        self.assertEqual((status, err.count(b"\n")), (1, 1))
        self.assertIn(b"something else", err)
        self.assertEqual(out, b"1 sent, 0 received, 1 wrong, 100.0% loss\n")

    async def test_refused_datagram(self) -> None:
        """A port that refuses datagrams ends it, and the results so far are printed."""
        address = f"udp:127.0.0.1:{self.refusing_port(socket.SOCK_DGRAM)}"
        out, err, status = await self.command("ping", address, "-c", "3")
        self.assertEqual(out, b"1 sent, 0 received, 100.0% loss\n")
        expected = f"socketd ping: {address}: connection refused\n".encode()
        self.assertEqual((err, status), (expected, 1))

    async def test_gone_path(self) -> None:
        """So does a UNIX socket that is closed between two requests."""
        path = f"./{self.id()[-20:]}"
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.settimeout(self.timeout)
        server.bind(path)
        self.addCleanup(os.unlink, path)

        def answer_once() -> None:
            with server:
                server.sendto(*server.recvfrom(100))

        serving = deferToThread(answer_once)
        out, err, status = await self.command("ping", f"unixgram:{path}", "-c", "3", "-i", "1")
        await serving
        self.assertIn(b" 1 received", out)
        self.assertIn(b"connection refused", err)
        self.assertEqual(status, 1)

    async def test_silence(self) -> None:
        """Where nothing comes back the status says so."""
        silent = socket.socket(type=socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", 0))
        address = f"udp:127.0.0.1:{silent.getsockname()[1]}"
        out, err, status = await self.command("ping", address, "-c", "2", "--timeout", "0.05")
        expected = b"2 sent, 0 received, 100.0% loss\n"
        self.assertEqual((out, err, status), (expected, b"", 1))

    async def test_flood(self) -> None:
        """It takes 1000 round trips by itself."""
        address = f"udp:127.0.0.1:{self.listen_datagrams(EchoDatagrams())}"
        out, err, status = await self.command("ping", address, "--flood")
        self.assertEqual((err, status), (b"", 0))
        self.assertTrue(out.startswith(b"1000 sent, "), out)
