"""Tests of C{socketd.net.datagram.port}, C{batch_port} and C{mmsg}."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import socket
from typing import Any
from unittest import mock

from twisted.internet.error import InvalidAddressError
from twisted.internet.interfaces import (
    IListeningPort,
    ILoggingContext,
    ISystemHandle,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyClass, verifyObject

from socketd.access.datagram_guard import Guard, LocalAddresses
from socketd.net.datagram import mmsg, recent
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.mmsg import BATCH
from socketd.net.datagram.port import RECEIVE_PAUSE, DatagramTerms
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY
from tests.net.datagram.case import DatagramCase
from tests.support.fakes import DatagramRecorder

LARGEST = os.urandom(65507)


class DatagramPortTests(DatagramCase):
    """Tests for L{BatchedDatagramPort}."""

    def serve(
        self, protocol: Any = None, address: Any = ("127.0.0.1", 0), guard: Guard | None = None
    ) -> Any:
        """Begin to serve; return the address."""
        return self.listen(protocol, address, DatagramTerms(guard, math.inf))

    def client(self, target: Any) -> socket.socket:
        """Make a client that is connected to its target."""
        any_address = "" if isinstance(target, str) else (target[0], 0)
        client = self.bound(any_address)
        client.connect(target)
        return client

    def answers(self, client: socket.socket) -> list[bytes]:
        """Read what has come back."""
        return [answer for answer, _ in self.replies(client)]

    def test_interfaces(self) -> None:
        """It is a port and a transport as Twisted knows them."""
        self.serve()
        for interface in (IListeningPort, IUDPTransport, ISystemHandle, ILoggingContext):
            self.assertTrue(verifyClass(interface, BatchedDatagramPort))
            self.assertTrue(verifyObject(interface, self.port))

    def test_sizes(self) -> None:
        """Datagrams of every size come back whole, the empty and the largest one too."""
        client = self.client(self.serve())
        sent = [b"", b"x", b"y" * 1500, LARGEST]
        for datagram in sent:
            client.send(datagram)
            self.reactor.turn()
        self.assertEqual(self.answers(client), sent)

    def test_batch(self) -> None:
        """Each of many senders gets its own answers, in order."""
        target = self.serve()
        clients = [self.client(target) for _ in range(5)]
        for number in range(4):
            for index, client in enumerate(clients):
                client.send(b"%d-%d" % (index, number) * (number + 1))
        self.reactor.turn()
        for index, client in enumerate(clients):
            expected = [b"%d-%d" % (index, number) * (number + 1) for number in range(4)]
            self.assertEqual(self.answers(client), expected)
        counters = self.service_state.counters
        self.assertEqual((counters.datagrams_received, counters.datagrams_sent), (20, 20))
        size = len("0-0") * (1 + 2 + 3 + 4) * 5
        counted = counters.datagram_bytes_received, counters.datagram_bytes_sent
        self.assertEqual(counted, (size, size))

    def test_flood_of_empty_datagrams(self) -> None:
        """One wake-up takes a batch and no more, though empty datagrams add no bytes."""
        client = self.client(self.serve())
        for _ in range(BATCH + 8):
            client.send(b"")
        self.reactor.turn()
        self.assertEqual(len(self.protocol.received), BATCH)
        self.reactor.turn()
        self.assertEqual(len(self.protocol.received), BATCH + 8)

    def test_no_answer_and_many(self) -> None:
        """A protocol may answer some datagrams not at all and others several times."""

        class Odd(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                for number in range(int(datagram)):
                    self.transport.write(b"%s/%d" % (datagram, number), addr)

        client = self.client(self.serve(Odd()))
        for datagram in (b"0", b"3", b"0", b"0", b"1", b"2"):
            client.send(datagram)
        self.reactor.turn()
        expected = [b"3/0", b"3/1", b"3/2", b"1/0", b"2/0", b"2/1"]
        self.assertEqual(sorted(self.answers(client)), sorted(expected))

    def test_answer_later(self) -> None:
        """An answer may be sent long after its datagram."""
        addresses = []

        class Late(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                addresses.append(addr)

        client = self.client(self.serve(Late()))
        client.send(b"?")
        self.reactor.turn()
        self.port.write(b"at last", addresses[0])
        self.assertEqual(self.answers(client), [b"at last"])

    def test_unanswerable(self) -> None:
        """What the kernel refuses to send is counted, never raised."""
        self.serve()
        for host, port in (("127.0.0.1", 0), ("255.255.255.255", 7), ("240.0.0.1", 7)):
            self.port.write(b"x", (host, port))
        self.port.writeSequence([b"x" * 40000, b"y" * 40000], ("127.0.0.1", 7))
        self.assertEqual(self.service_state.counters.datagrams_unsent, 4)

    def test_failing_protocol(self) -> None:
        """A protocol that raises loses that datagram, and the next one is served."""

        class Failing(DatagramRecorder):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                if datagram == b"bad":
                    raise ValueError("a fault of the protocol")
                super().datagramReceived(datagram, addr)

        client = self.client(self.serve(Failing()))
        for datagram in (b"a", b"bad", b"b"):
            client.send(datagram)
        self.reactor.turn()
        self.assertEqual(self.answers(client), [b"a", b"b"])
        self.assertIn("protocol_failed", dict(self.events))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_unix(self) -> None:
        """A socket with a path or an abstract name is answered, an unnamed one cannot be."""
        address = self.serve(address=self.path())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"unnamed", address)
        self.reactor.turn()
        for name in (self.path(), b"\0socketd-%d" % id(self)):
            client = self.bound(name)
            client.sendto(b"named", address)
            self.reactor.turn()
            self.assertEqual(self.answers(client), [b"named"])
        self.assertEqual(self.protocol.received, [b"unnamed", b"named", b"named"])
        self.assertEqual(self.service_state.counters.datagrams_unsent, 1)

    def test_ipv6(self) -> None:
        """
        IPv6 senders are answered, and their address is a host and a port, as ordinary
        protocols unpack it.
        """
        addresses = []

        class Noting(DatagramRecorder):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                addresses.append(addr)
                super().datagramReceived(datagram, addr)

        target = self.serve(Noting(), ("::1", 0))
        client = self.client(target)
        client.send(b"six")
        self.reactor.turn()
        self.assertEqual(self.answers(client), [b"six"])
        self.assertEqual(addresses, [client.getsockname()[:2]])

    def test_address_written_again(self) -> None:
        """
        An address that a protocol has put together itself is as good as that which it
        was given.
        """

        class Unpacking(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                host, port = addr
                self.transport.write(datagram, (host, port))

        for host in ("127.0.0.1", "::1"):
            client = self.client(self.serve(Unpacking(), (host, 0)))
            client.send(b"hello")
            self.reactor.turn()
            self.assertEqual(self.answers(client), [b"hello"])

    def test_no_address(self) -> None:
        """
        A host name would have to be looked up, and another family cannot be written to:
        both are refused as Twisted does, and nothing is sent or counted.
        """
        for host, others in (
            ("127.0.0.1", ("example.invalid", "::1", "")),
            ("::1", ("example.invalid", "127.0.0.1", "<broadcast>")),
        ):
            self.serve(None, (host, 0))
            for other in others:
                for send, what in ((self.port.write, b"x"), (self.port.writeSequence, [b"x"])):
                    self.assertRaises(InvalidAddressError, send, what, (other, 7))
                self.assertRaises(InvalidAddressError, self.port.connect, other, 7)
        self.assertEqual(self.service_state.counters.datagrams_sent, 0)
        self.assertEqual(self.service_state.counters.datagrams_unsent, 0)

    def test_connect(self) -> None:
        """
        A protocol that has one peer hears no other, needs no address, and is told when
        the peer is not there.
        """

        class One(DatagramRecorder):
            refused = 0

            def connectionRefused(self) -> None:
                self.refused += 1

        for host in ("127.0.0.1", "::1"):
            protocol = One()
            target = self.serve(protocol, (host, 0))
            peer, other = self.bound((host, 0)), self.bound((host, 0))
            peer.setblocking(True)
            self.port.connect(*peer.getsockname()[:2])
            self.assertRaises(RuntimeError, self.port.connect, host, 7)
            self.port.write(b"to the peer")
            self.assertEqual(peer.recv(20), b"to the peer")
            other.sendto(b"not wanted", target)
            peer.sendto(b"hello", target)
            self.reactor.turn()
            self.assertEqual((protocol.received, peer.recv(9)), ([b"hello"], b"hello"))
            peer.close()
            self.port.write(b"nobody")
            self.reactor.turn()
            self.assertEqual(protocol.refused, 1)
            # The kernel may say so at the next send, too.
            self.port.write(b"nobody")
            self.port.write(b"nobody")
            self.assertEqual(protocol.refused, 2)

    def test_refused_without_a_peer(self) -> None:
        """That an answer was refused is nothing to a protocol that serves many."""
        calls: list[None] = []
        protocol: Any = DatagramRecorder()
        protocol.connectionRefused = lambda: calls.append(None)
        target = self.serve(protocol)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", target)
        self.reactor.turn(3)
        self.assertEqual(calls, [])

    def test_refused_raises(self) -> None:
        """A protocol that raises when it is told is reported."""
        protocol: Any = DatagramRecorder()
        protocol.connectionRefused = lambda: 1 / 0
        self.serve(protocol)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            self.port.connect(*peer.getsockname())
        self.port.write(b"nobody")
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(self.port, self.reactor.readers)

    def test_broadcast(self) -> None:
        """Broadcasts are off until a protocol asks for them."""
        self.serve()
        for wanted in (False, True, False):
            self.port.setBroadcastAllowed(wanted)
            self.assertIs(self.port.getBroadcastAllowed(), wanted)

    def test_stop_while_receiving(self) -> None:
        """
        A protocol that stops its port still has all that came with what it stopped at,
        and its answers are sent.
        """
        calls: list[str] = []

        class Stopping(DatagramRecorder):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)
                self.transport.stopListening().addCallback(lambda _: calls.append("fired"))

            def stopProtocol(self) -> None:
                calls.append("stopped")

        client = self.client(self.serve(Stopping()))
        for number in range(3):
            client.send(b"%d" % number)
        self.reactor.turn(2)
        self.assertEqual(self.answers(client), [b"0", b"1", b"2"])
        self.assertEqual(calls, ["stopped"] + ["fired"] * 3)
        self.assertEqual((self.port.fileno(), self.reactor.readers), (-1, []))

    def test_stop_at_the_start(self) -> None:
        """A protocol may stop its port as soon as it is there."""
        calls: list[str] = []

        class Stopping(DatagramRecorder):
            def startProtocol(self) -> None:
                self.transport.stopListening()
                calls.append("started")

            def stopProtocol(self) -> None:
                calls.append("stopped")

        self.serve(Stopping())
        self.reactor.turn()
        self.assertEqual(calls, ["started", "stopped"])
        self.assertEqual((self.port.fileno(), self.reactor.readers), (-1, []))

    def test_no_memory(self) -> None:
        """
        Where memory does not suffice to hand a datagram on, it is lost, and the port
        pauses and serves the next ones.
        """
        own_ports = mock.Mock(side_effect=[MemoryError, ()])
        options = AccessOptions(allow=ANY, udp_service_rate=1.0, guard_loopback=True)
        clock = self.reactor.seconds
        guard = Guard(options, ProtocolSpec(), clock, own_ports, LocalAddresses, "127.0.0.1")
        client = self.client(self.serve(guard=guard))
        client.send(b"x")
        self.reactor.turn()
        self.assertNotIn(self.port, self.reactor.readers)
        client.send(b"y")
        self.reactor.advance(RECEIVE_PAUSE)
        self.reactor.turn()
        self.assertEqual(self.answers(client), [b"y"])

    def test_exhausted(self) -> None:
        """
        Without memory it pauses instead of asking again and again, and serves what
        waited afterwards; a port that is stopped meanwhile stays so.
        """
        client = self.client(self.serve())
        for number in (errno.ENOBUFS, errno.ENOMEM):
            client.send(b"x")
            self.refuse(number)
            self.reactor.turn()
            self.assertNotIn(self.port, self.reactor.readers)
            self.assertEqual(self.answers(client), [])
            self.reactor.advance(RECEIVE_PAUSE)
            self.reactor.turn()
            self.assertEqual(self.answers(client), [b"x"])
        client.send(b"x")
        self.refuse(errno.ENOMEM)
        self.reactor.turn()
        self.port.stopListening()
        self.reactor.advance(RECEIVE_PAUSE)
        self.assertEqual(self.reactor.readers, [])

    def refuse(self, number: int) -> None:
        """Have the system refuse to receive, once."""
        real = mmsg._recvmmsg

        def fail(*arguments: Any) -> int:
            self.patch(mmsg, "_recvmmsg", real)
            ctypes.set_errno(number)
            return -1

        self.patch(mmsg, "_recvmmsg", fail)

    def test_answer_comes_from_the_address_asked(self) -> None:
        """A socket bound to all addresses answers from the one that was asked."""
        for wildcard, hosts in (
            ("0.0.0.0", ("127.0.0.1", "127.0.0.2", "127.1.2.3")),
            ("::", ("::1",)),
        ):
            port = self.serve(address=(wildcard, 0))[1]
            for host in hosts:
                client = self.client((host, port))
                for _ in range(3):
                    client.send(host.encode())
                self.reactor.turn()
                self.assertEqual(self.answers(client), [host.encode()] * 3)

    def test_refused_in_the_middle(self) -> None:
        """One answer that the kernel refuses does not keep the others back."""
        client = self.client(self.serve())
        for number in range(5):
            client.send(b"%d" % number)
        real = mmsg._sendmmsg
        refused: list[int] = []

        def partial(fd: int, address: int, count: int, flags: int) -> int:
            if count == 3 and not refused:
                refused.append(count)
                return -1
            return int(real(fd, address, min(count, 2) if count != 3 else count, flags))

        self.patch(mmsg, "_sendmmsg", partial)
        self.reactor.turn()
        self.assertEqual(self.answers(client), [b"0", b"1", b"3", b"4"])
        counters = self.service_state.counters
        self.assertEqual((counters.datagrams_sent, counters.datagrams_unsent), (4, 1))
        self.assertEqual((counters.datagram_bytes_received, counters.datagram_bytes_sent), (5, 4))

    def test_too_long(self) -> None:
        """A datagram that does not fit is dropped and counted, not cut."""
        client = self.client(self.serve(address=self.path()))
        client.send(b"x" * (mmsg.MAX_SIZE + 1))
        client.send(b"fits")
        self.reactor.turn()
        self.assertEqual(self.protocol.received, [b"fits"])
        self.assertEqual(self.service_state.counters.datagrams_dropped, {"too_long": 1})

    def test_known_addresses_are_bounded(self) -> None:
        """
        However many senders there are, two generations of addresses are remembered; one that
        is asked for is young again.
        """
        self.patch(recent, "GENERATION", 16)
        self.serve()
        assert isinstance(self.port, BatchedDatagramPort)
        names = [
            b"\2\0" + number.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
            for number in range(43)
        ]
        for number, name in enumerate(names):
            self.assertEqual(self.port._classify(name), ("127.0.0.1", number))
            self.assertEqual(self.port._classify(names[0]), ("127.0.0.1", 0))
        table = self.port._trusted
        self.assertEqual((len(table), len(table._older)), (13, 15))
        self.assertIn(names[0], table)
        self.assertNotIn(names[1], table._older)

    def test_error_report(self) -> None:
        """An error that the socket reports ends neither the port nor its turn."""
        self.serve()
        self.patch(mmsg, "_recvmmsg", lambda *arguments: -1)
        self.port.doRead()
        self.assertEqual(self.service_state.counters.datagrams_received, 0)
        self.assertNotEqual(self.port.fileno(), -1)
