"""Tests for what a protocol is told of IP headers, and for those of its answers."""

from __future__ import annotations

import math
import socket
import time
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.cmsg import IpHeader, ask_for_ip_header, ip_header
from socketd.net.datagram.port import DatagramTerms
from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.settings.faults.values import Latency
from tests.net.datagram.case import DatagramCase
from tests.net.datagram.controls import ROOM, written
from tests.net.faults.faulty_case import make_faults

#: What the kernel is asked to do for a measurement.
TERMS = DatagramTerms(reply_floor=math.inf, timestamped=True, ip_header=True)

#: An answer's TOS: DSCP 46.
TOS = 46 << 2


class Measuring(DatagramProtocol):
    """Answers what begins with C{m} with a mark, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[IpHeader] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        self.told.append(transport.ip_header)
        if datagram.startswith(b"m"):
            transport.mark(TOS)
        transport.write(datagram, addr)


@implementer(IBatchProtocol)
class BatchMeasuring(Measuring):
    """The same in batches; the last datagram of each is answered without a mark."""

    def batch_received(self, batch: IDatagramBatch) -> None:
        self.told += [IpHeader(*both) for both in zip(batch.ttl, batch.tos)]
        self.times = batch.received_at
        self.sources = batch.sources
        read = batch.read("3sB", len(batch.lengths))
        self.read, self.rest = read, batch.rest(3, len(read))
        answers = [start + bytes([letter]) for start, letter in read]
        marks = [TOS + (letter & 3) for _, letter in read]
        batch.answer(answers[:1], marks[:1])
        batch.answer(answers[1:-1], marks[1:-1])
        batch.answer_all(answers[-1])


class IpHeaderTests(DatagramCase):
    """TTL and TOS over real sockets."""

    def sender(self, host: str, ttl: int, tos: int) -> socket.socket:
        """Bind a client whose datagrams have these."""
        client = self.bound((host, 0))
        if ":" in host:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        else:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        ask_for_ip_header(client)
        return client

    def answer(self, client: socket.socket) -> tuple[bytes, IpHeader, str]:
        """Read an answer, with its header and the address that it came from."""
        datagram, ancillary, _, source = client.recvmsg(ROOM, ROOM)
        parts = (((level, kind), data) for level, kind, data in ancillary)
        return datagram, ip_header(written(*parts)), source[0]

    def test_told_and_set(self) -> None:
        """
        Each datagram of a batch tells its own; a marked answer has TTL 255 and its TOS, and comes
        from the address that was asked; one behind it is as usual.
        """
        for place, client, asked in (
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1", "127.0.0.7"),
            ("::1", "::1", "::1"),
            ("::", "::1", "::1"),
        ):
            protocol = Measuring()
            number = self.listen(protocol, (place, 0), TERMS)[1]
            one, other = self.sender(client, 77, 8), self.sender(client, 5, 0xB9)
            one.sendto(b"marked", (asked, number))
            other.sendto(b"plain", (asked, number))
            self.reactor.turn()
            self.assertEqual(protocol.told, [IpHeader(77, 8), IpHeader(5, 0xB9)])
            self.assertEqual(self.answer(one), (b"marked", IpHeader(255, TOS), asked))
            self.assertEqual(self.answer(other), (b"plain", IpHeader(64, 0), asked))

    def test_batch(self) -> None:
        """
        A batch tells time, TTL and TOS of each datagram; its answers have TTL 255 and the TOS
        that each is given, and come from the address that was asked; others are as usual.
        """
        self.service_state.observed = False
        for place, client, asked in (
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1", "127.0.0.7"),
            ("::1", "::1", "::1"),
            ("::", "::1", "::1"),
        ):
            protocol = BatchMeasuring()
            number = self.listen(protocol, (place, 0), TERMS)[1]
            before = time.time_ns()
            senders = [self.sender(client, 70 + at, 8 * at) for at in range(5)]
            for at, sender in enumerate(senders):
                sender.sendto(b"abc%d..." % at, (asked, number))
            self.reactor.turn()
            self.assertEqual(protocol.told, [IpHeader(70 + at, 8 * at) for at in range(5)])
            self.assertEqual(protocol.sources, [one.getsockname()[:2] for one in senders])
            self.assertEqual(protocol.read, [(b"abc", ord("0") + at) for at in range(5)])
            self.assertEqual(protocol.rest, [b"%d..." % at for at in range(5)])
            self.assertTrue(before - 10**9 < protocol.times[0] < time.time_ns() + 10**9)
            self.assertEqual(sorted(protocol.times), protocol.times)
            for at, sender in enumerate(senders):
                header = IpHeader(64, 0) if at == 4 else IpHeader(255, TOS + at)
                self.assertEqual(self.answer(sender), (b"abc%d" % at, header, asked))

    def test_too_short(self) -> None:
        """More than a datagram has cannot be read: what follows in memory is of others."""
        self.service_state.observed = False
        protocol = BatchMeasuring()
        number = self.listen(protocol, ("127.0.0.1", 0), TERMS)[1]
        client = self.sender("127.0.0.1", 64, 0)
        for datagram in (b"long enough", b"abc"):
            client.sendto(datagram, ("127.0.0.1", number))
        self.reactor.turn()
        self.assertEqual([self.answer(client)[0] for _ in range(2)], [b"long enough", b"abc"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_later(self) -> None:
        """An answer that a fault holds has its mark, too."""
        self.service_state.faults = make_faults(latency=Latency(0.5))
        number = self.listen(Measuring(), ("0.0.0.0", 0), TERMS)[1]
        client = self.sender("127.0.0.1", 77, 8)
        for datagram in (b"marked", b"plain"):
            client.sendto(datagram, ("127.0.0.7", number))
        self.reactor.turn()
        self.reactor.advance(0.5)
        self.reactor.turn()
        found = [self.answer(client) for _ in range(2)]
        expected = [(b"marked", IpHeader(255, TOS)), (b"plain", IpHeader(64, 0))]
        self.assertEqual(found, [(*one, "127.0.0.7") for one in expected])

    def test_unix(self) -> None:
        """A UNIX socket tells nothing, and a mark does nothing."""
        protocol = Measuring()
        address = self.listen(protocol, self.path(), TERMS)
        client = self.bound(self.path())
        client.sendto(b"marked", address)
        self.reactor.turn()
        self.assertEqual(protocol.told, [IpHeader(None, None)])
        self.assertEqual(client.recv(ROOM), b"marked")

    def test_next_service(self) -> None:
        """A socket that another service takes over is asked for nothing any more."""
        self.listen(Measuring(), ("127.0.0.1", 0), TERMS)
        sock = self.port.getHandle()
        BatchedDatagramPort(self.reactor, sock, Measuring(), self.service_state, DatagramTerms())
        self.assertEqual(sock.getsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS), 0)
