"""Tests for L{socketd.cli.client.flood_probe}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.echo_probe import Plan
from socketd.cli.client.flood_probe import MAX_IN_FLIGHT, PAUSE, FloodProbe
from socketd.protocols.measure.echo import EchoDatagrams
from tests.support.client_fakes import CommandTestCase, MemoryTransport


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


class CommandTests(CommandTestCase):
    """Tests for C{socketd ping --flood} as a process."""

    async def test_flood(self) -> None:
        """It takes 1000 round trips by itself."""
        address = f"udp:127.0.0.1:{self.listen_datagrams(EchoDatagrams())}"
        out, err, status = await self.command("ping", address, "--flood")
        self.assertEqual((err, status), (b"", 0))
        self.assertTrue(out.startswith(b"1000 sent, "), out)
