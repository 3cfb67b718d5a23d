"""Tests for L{socketd.net.datagram.batch}: datagrams that are answered together."""

from __future__ import annotations

import math
import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer
from zope.interface.verify import verifyClass

from socketd.access.datagram_guard import DESTINATION, NETWORK, REPLY_SIZE
from socketd.access.rates import SOURCE_RATE
from socketd.net.datagram.batch import DatagramBatch
from socketd.net.datagram.port import DatagramTerms
from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.protocols.clock.time import TimeOfDayDatagrams, time_reply
from socketd.protocols.measure.echo import EchoDatagrams
from socketd.settings.faults.values import Latency
from socketd.settings.networks import parse_networks
from tests.net.datagram.guarded_case import LOOPBACK_BROADCAST, GuardedCase
from tests.net.faults.faulty_case import make_faults

#: What the clock of C{time} says, and its answer.
NOW = 1.8e9
TIME = time_reply(NOW, "unix")


@implementer(IBatchProtocol)
class Sorting(DatagramProtocol):
    """
    Answers batches as it is told, and writes down what came one by one.

    @ivar steps: for each batch what to do with it.
    """

    transport: Any

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.alone: list[bytes] = []
        self.lengths: list[list[int]] = []
        self.batches: list[Any] = []

    def batch_received(self, batch: IDatagramBatch) -> None:
        self.batches.append(batch)
        self.lengths.append(list(batch.lengths))
        self.steps.pop(0)(batch)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.alone.append(datagram)
        if datagram == b"bad":
            raise ValueError(datagram)
        self.transport.write(datagram, addr)


class BatchCase(GuardedCase):
    """A port whose protocol takes batches, as long as its messages are not watched."""

    def setUp(self) -> None:
        super().setUp()
        self.service_state.observed = False

    def time(self) -> TimeOfDayDatagrams:
        """Make a protocol with one answer for all."""
        return TimeOfDayDatagrams(time_reply, "unix", lambda: NOW)


class BatchTests(BatchCase):
    """Tests for L{DatagramBatch}."""

    def test_interfaces(self) -> None:
        """A batch is what protocols know, and so are those that take it."""
        self.assertTrue(verifyClass(IDatagramBatch, DatagramBatch))
        for protocol in (TimeOfDayDatagrams, EchoDatagrams, Sorting):
            self.assertTrue(verifyClass(IBatchProtocol, protocol))

    def test_one_answer(self) -> None:
        """All get the same, from the address that they asked; the counts are exact."""
        for host, asked, source in (
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.9", "127.0.0.1"),
            ("::1", "::1", "::1"),
            ("::", "::1", "::1"),
        ):
            before = self.service_state.counters.datagrams_sent
            self.serve(self.time(), host, floor=4, udp_burst=100)
            client, other = self.client(source), self.client(source)
            other.sendto(b"long enough", (asked, self.number))
            found = self.ask(client, *[b""] * 20, host=asked)
            self.assertEqual(found, [(TIME, asked)] * 20)
            self.assertEqual([answer for answer, _ in self.replies(other)], [TIME])
            counters = self.service_state.counters
            self.assertEqual(counters.datagrams_sent - before, 21)
        self.assertEqual(counters.datagrams_received, 84)
        self.assertEqual(counters.datagram_bytes_received, 4 * len(b"long enough"))
        self.assertEqual(counters.datagram_bytes_sent, 84 * len(TIME))

    def test_echo(self) -> None:
        """Each comes back as it came, of any size."""
        self.serve(EchoDatagrams(), udp_burst=100)
        sent = [b"", b"x" * 1400, b"abc", b"y" * 9000]
        self.assertEqual(self.answered(self.client(), *sent), sent)
        self.assertEqual(self.service_state.counters.datagram_bytes_sent, 10403)

    def test_guarded(self) -> None:
        """
        The guard is asked for each that is not trusted; those that it lets in are answered
        together with the others, each from the address that it asked.
        """
        deny = parse_networks("127.0.0.9")
        self.serve(EchoDatagrams(), "0.0.0.0", udp_burst=3, deny=deny)
        one, denied, other = self.client(), self.client("127.0.0.9"), self.client("127.0.1.2")
        for number in range(5):
            one.sendto(b"one %d" % number, ("127.0.0.5", self.number))
            denied.sendto(b"no", ("127.0.0.6", self.number))
            other.sendto(b"other", (LOOPBACK_BROADCAST, self.number))
        other.sendto(b"hello", ("127.0.0.7", self.number))
        found = self.ask(one)
        self.assertEqual(found, [(b"one %d" % number, "127.0.0.5") for number in range(3)])
        self.assertEqual(self.ask(other), [(b"hello", "127.0.0.7")])
        self.assertEqual(self.ask(denied), [])
        self.check_dropped(**{NETWORK: 5, DESTINATION: 5, SOURCE_RATE: 2})

    def test_reply_size(self) -> None:
        """An answer that is longer than what it answers is dropped, and the others are sent."""
        self.serve(self.time(), floor=0, udp_burst=100)
        found = self.answered(self.client(), b"", b"1234", b"123", b"12345")
        self.assertEqual(found, [TIME] * 2)
        self.check_dropped(**{REPLY_SIZE: 2})
        self.serve(self.time(), floor=0, udp_burst=100)
        self.assertEqual(self.answered(self.client(), b"", b"1"), [])
        self.check_dropped(**{REPLY_SIZE: 4})

    def test_each(self) -> None:
        """
        Each may have its own answer, or none; they are answered in order, and what is left is
        delivered.
        """

        def step(batch: Any) -> None:
            batch.answer([b"1", None, b"too long"])
            batch.deliver(1)
            batch.answer([])
            batch.answer([b"5", b"", b"seven"])

        protocol = Sorting(step)
        self.serve(protocol, udp_burst=100)
        sent = [b"a", b"b", b"c", b"deliver", b"e", b"f", b"xxxxx", b"left"]
        expected = [b"1", b"deliver", b"5", b"", b"seven", b"left"]
        self.assertEqual(self.answered(self.client(), *sent), expected)
        self.assertEqual(protocol.lengths, [[1, 1, 1, 7, 1, 1, 5, 4]])
        self.assertEqual(protocol.alone, [b"deliver", b"left"])
        self.check_dropped(**{REPLY_SIZE: 1})

    def test_more_than_there_are(self) -> None:
        """More answers than datagrams are none; and a batch that is over answers nothing."""
        protocol = Sorting(
            lambda batch: batch.answer([b"1", b"2", b"3"]),
            lambda batch: (batch.echo(), batch.answer_all(b""), batch.deliver(9)),
        )
        self.serve(protocol, udp_burst=100)
        self.assertEqual(self.answered(self.client(), b"a", b"b"), [b"1", b"2"])
        protocol.batches[0].answer_all(b"")
        protocol.batches[0].echo()
        protocol.batches[0].deliver(1)
        self.assertEqual(self.answered(self.client(), b"c", b"d"), [b"c", b"d"])
        self.assertEqual(protocol.alone, [])

    def test_single(self) -> None:
        """A single datagram is no batch."""
        protocol = Sorting()
        self.serve(protocol)
        self.assertEqual(self.answered(self.client(), b"a"), [b"a"])
        self.assertEqual((protocol.alone, protocol.batches), ([b"a"], []))

    def test_failing(self) -> None:
        """
        A protocol that fails with a batch is reported, and has what is left one by one; so all
        but the datagram at which it fails again are answered.
        """

        def step(batch: Any) -> None:
            batch.answer([b"1"])
            raise ValueError("the batch")

        self.serve(Sorting(step), udp_burst=100)
        self.assertEqual(self.answered(self.client(), b"a", b"bad", b"c"), [b"1", b"c"])
        self.assertEqual(len(self.events.named("protocol_failed")), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_refused(self) -> None:
        """An answer that the kernel refuses is counted, and keeps no other one back."""
        self.serve(Sorting(lambda batch: batch.answer([b"1", b"x" * 65536, b"3"])), floor=1 << 17)
        self.assertEqual(self.answered(self.client(), b"a", b"b", b"c"), [b"1", b"3"])
        counters = self.service_state.counters
        self.assertEqual((counters.datagrams_sent, counters.datagrams_unsent), (2, 1))
        self.assertEqual(counters.datagram_bytes_sent, 2)

    def test_unix(self) -> None:
        """UNIX sockets have paths of any length; one that was cut is dropped."""
        address = self.listen(EchoDatagrams(), self.path(), DatagramTerms(None, 0))
        short, long = self.bound(self.path()), self.bound(self.path() + "x" * 20)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"unnamed", address)
            long.sendto(b"long", address)
            long.sendto(b"x" * 70000, address)
            short.sendto(b"short", address)
            self.reactor.turn()
        self.assertEqual(self.replies(long), [(b"long", address)])
        self.assertEqual(self.replies(short), [(b"short", address)])
        self.check_dropped(too_long=1)
        self.assertEqual(self.service_state.counters.datagrams_unsent, 1)

    def test_large(self) -> None:
        """An answer that only a UNIX socket can send is left to be sent alone."""
        protocol = Sorting(lambda batch: batch.answer_all(b"x" * 65537))
        address = self.listen(protocol, self.path(), DatagramTerms(None, math.inf))
        client = self.bound(self.path())
        for datagram in (b"a", b"b"):
            client.sendto(datagram, address)
        self.reactor.turn()
        self.assertEqual(self.replies(client), [(b"a", address), (b"b", address)])
        self.assertEqual((len(protocol.batches), protocol.alone), (1, [b"a", b"b"]))


class OneByOneTests(BatchCase):
    """Tests for when a protocol is not asked for a batch."""

    def check(self, *alone: bytes) -> Sorting:
        """Ask, and see what came one by one."""
        protocol = self.protocol
        assert isinstance(protocol, Sorting)
        self.answered(self.client(), b"a", b"b")
        self.assertEqual(protocol.alone, list(alone))
        return protocol

    def serve_sorting(self) -> None:
        """Serve what would echo batches."""
        self.serve(Sorting(*[lambda batch: batch.echo()] * 9), udp_burst=100)

    def test_observed(self) -> None:
        """Messages that are watched are shown, each in its event."""
        self.serve_sorting()
        self.check()
        self.service_state.observed = True
        self.check(b"a", b"b")
        texts = [facts["text"] for facts in self.events.named("message_received")]
        self.assertEqual(texts, ["a", "b"])
        self.service_state.observed = False
        self.check(b"a", b"b")

    def test_faults(self) -> None:
        """With a fault profile each answer has its faults; it is switched at any time."""
        self.serve_sorting()
        self.service_state.faults = make_faults(latency=Latency(1.0))
        self.port.update_faults()
        self.check(b"a", b"b")
        self.assertEqual(self.service_state.counters.faults["latency"], 2)
        self.service_state.faults = None
        self.port.update_faults()
        self.check(b"a", b"b")

    def test_unexpected_controls(self) -> None:
        """
        Where a socket has more control messages than were asked for, each answer is sent by
        itself, from the address that was asked.
        """
        self.serve(EchoDatagrams(), "0.0.0.0", udp_burst=100)
        self.port.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        found = self.ask(self.client(), b"a", b"b", host="127.0.0.8")
        self.assertEqual(found, [(b"a", "127.0.0.8"), (b"b", "127.0.0.8")])
