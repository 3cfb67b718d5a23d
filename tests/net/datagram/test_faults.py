"""Tests of datagram ports with a fault profile, over real sockets."""

from __future__ import annotations

import itertools
import math
import socket
from typing import Any

from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyObject

from socketd.access.datagram_guard import REPLY_SIZE, Guard, LocalAddresses
from socketd.net.datagram.port import DatagramTerms
from socketd.net.faults.datagrams import MAX_REORDER_WAIT
from socketd.settings.faults.values import Latency, Loss, Reorder
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY
from tests.net.datagram.case import DatagramCase
from tests.net.faults.faulty_case import make_faults
from tests.support.fakes import DatagramRecorder

#: A delay, and its half: numbers that a clock adds without rounding.
DELAY, HALF = 0.0625, 0.03125
LATE = Latency(DELAY)
LETTERS = [b"a", b"b", b"c", b"d", b"e", b"f"]


class Asked(DatagramProtocol):
    """Keeps each question, and answers none before it is told to."""

    def __init__(self) -> None:
        self.questions: list[Any] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        self.questions.append(transport.question())


class Stamped(DatagramProtocol):
    """Answers with the time at which the datagram came, as the kernel says."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(b"%d" % (transport.received_at or 0), addr)


class Twice(DatagramProtocol):
    """Answers with the datagram and with its first half."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(datagram[: len(datagram) // 2], addr)
        transport.write(datagram, addr)


class FaultyPortTests(DatagramCase):
    """Faults at the port that works everywhere."""

    def serve(
        self,
        address: Any = ("127.0.0.1", 0),
        protocol: Any = None,
        terms: DatagramTerms = DatagramTerms(reply_floor=math.inf),
        **options: Any,
    ) -> Any:
        """Begin to serve with these faults; return the address."""
        self.service_state.faults = make_faults(**options)
        return self.listen(protocol, address, terms)

    def guarded(self, host: str, timestamped: bool = False) -> DatagramTerms:
        """Make the terms for sources that may be forged, of which all are served."""
        options = AccessOptions(
            allow=ANY, udp_rate=1e6, udp_burst=10**6, udp_service_rate=1e6, guard_loopback=True
        )
        clock = self.reactor.seconds
        guard = Guard(options, ProtocolSpec(), clock, lambda: (), LocalAddresses, host)
        return DatagramTerms(guard, 0, timestamped)

    def ask(self, client: socket.socket, address: Any, *datagrams: bytes) -> None:
        """Send datagrams, and let the port have its turn."""
        for datagram in datagrams:
            client.sendto(datagram, address)
        self.reactor.turn()

    def answers(self, client: socket.socket) -> list[bytes]:
        """Read what has come back."""
        return [datagram for datagram, _ in self.replies(client)]

    def test_unasked(self) -> None:
        """Without a rule for the length of replies a port also sends unasked, after a question."""
        client, protocol = self.bound(("127.0.0.1", 0)), DatagramRecorder()
        self.ask(client, self.serve(protocol=protocol, latency=LATE), b"question")
        transport: Any = protocol.transport
        transport.write(b"unasked", client.getsockname())
        self.assertEqual(self.answers(client), [b"unasked"])

    def test_families(self) -> None:
        """Over IPv4, IPv6 and UNIX sockets each client has its own answers, later, in order."""
        for place, clients in (
            (("127.0.0.1", 0), [("127.0.0.1", 0), ("127.0.0.2", 0)]),
            (("::1", 0), [("::1", 0), ("::1", 0)]),
            (self.path(), [self.path(), self.path()]),
        ):
            address = self.serve(place, latency=LATE)
            one, other = (self.bound(client) for client in clients)
            self.ask(one, address, b"one", b"", b"last")
            self.reactor.advance(HALF)
            self.ask(other, address, b"other")
            self.assertEqual(self.answers(one) + self.answers(other), [])
            self.reactor.advance(HALF)
            self.reactor.turn()
            self.assertEqual(self.answers(one), [b"one", b"", b"last"])
            self.assertEqual(self.answers(other), [])
            self.reactor.advance(HALF)
            self.reactor.turn()
            self.assertEqual(self.answers(other), [b"other"])

    def test_interface(self) -> None:
        """What a protocol has as its transport is one, and the port is behind it."""
        self.serve(loss=Loss(1.0))
        transport = self.protocol.transport
        self.assertTrue(verifyObject(IUDPTransport, transport))
        self.assertEqual(transport.getHost(), self.port.getHost())
        self.assertIs(transport.getHandle(), self.port.getHandle())

    def test_order(self) -> None:
        """Answers with and without faults keep the order that the profile says, in one turn."""
        address = self.serve(reorder=Reorder(1.0, 2), first=1)
        client = self.bound(("127.0.0.1", 0))
        self.ask(client, address, *LETTERS)
        self.assertEqual(b"".join(self.answers(client)), b"bcadef")
        self.service_state.faults = make_faults(duplicate=1.0, skip=2, first=2)
        self.port.update_faults()
        self.ask(client, address, *LETTERS)
        self.assertEqual(b"".join(self.answers(client)), b"abccddef")

    def test_switched(self) -> None:
        """
        A profile is switched on and off while the port serves; without one nothing is left
        between port and protocol, and what was held has been sent in order.
        """
        address = self.serve(latency=Latency(0.05, 0.04), reorder=Reorder(0.5, 2))
        client = self.bound(("127.0.0.1", 0))
        for _ in range(2):
            self.ask(client, address, *LETTERS)
            self.assertEqual(self.answers(client), [])
            self.service_state.faults = None
            self.port.update_faults()
            self.assertEqual(self.answers(client), LETTERS)
            self.assertIs(self.port._protocol, self.protocol)
            self.assertIs(self.protocol.transport, self.port)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.ask(client, address, b"now")
            self.assertEqual(self.answers(client), [b"now"])
            self.service_state.faults = make_faults(latency=LATE)
            self.port.update_faults()

    def test_stopped(self) -> None:
        """A port that is closed or handed over sends what it holds, and stops its protocol."""
        client = self.bound(("127.0.0.1", 0))
        stopped: list[str] = []
        for end in ("close", "release", "stopListening"):
            address = self.serve(latency=LATE)
            protocol: Any = self.protocol
            protocol.stopProtocol = lambda end=end: stopped.append(end)
            self.ask(client, address, *LETTERS)
            getattr(self.port, end)()
            self.reactor.turn()
            self.assertEqual(self.answers(client), LETTERS, end)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.port.socket.close()
        self.assertEqual(stopped, ["close", "release", "stopListening"])

    def test_finish(self) -> None:
        """Before a close, what has come is served, and sent at the close."""
        address = self.serve(latency=LATE)
        client = self.bound(("127.0.0.1", 0))
        client.sendto(b"waits", address)
        self.reactor.wait(10)
        self.port.finish()
        self.assertEqual(self.answers(client), [])
        self.port.close()
        self.assertEqual(self.answers(client), [b"waits"])

    def test_failing_protocol(self) -> None:
        """A protocol that raises is reported as ever, and the next datagram is served."""
        protocol: Any = Twice()
        address = self.serve(protocol=protocol, latency=LATE)
        client = self.bound(("127.0.0.1", 0))
        received = protocol.datagramReceived
        protocol.datagramReceived = lambda *arguments: 1 / 0
        self.ask(client, address, b"bad")
        protocol.datagramReceived = received
        self.ask(client, address, b"good")
        self.reactor.advance(DELAY)
        self.assertEqual(self.answers(client), [b"go", b"good"])
        self.assertEqual(len(self.events.named("protocol_failed")), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unanswerable(self) -> None:
        """A held answer that cannot be sent any more is counted, and nothing else happens."""
        address = self.serve(self.path(), latency=LATE)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            self.ask(unnamed, address, b"unnamed")
        client = self.bound(self.path())
        self.ask(client, address, b"gone")
        client.close()
        self.reactor.advance(DELAY)
        self.assertEqual(self.service_state.counters.datagrams_unsent, 2)

    def test_later(self) -> None:
        """
        With or without faults a question may be answered at any later time, within its own
        size, and no longer by C{write}.
        """
        for latency in (None, LATE):
            protocol = Asked()
            terms = self.guarded("127.0.0.1")
            address = self.serve(protocol=protocol, terms=terms, latency=latency)
            client = self.bound(("127.0.0.1", 0))
            self.ask(client, address, b"short", b"much longer")
            first, second = protocol.questions
            second.answer(b"0123456789+")
            first.answer(b"012345")
            first.answer(b"01234")
            first.answer(b"5")
            self.reactor.advance(DELAY)
            self.assertEqual(self.answers(client), [b"0123456789+", b"01234"])
        self.assertEqual(self.service_state.counters.datagrams_dropped, {REPLY_SIZE: 4})

    def test_no_longer_than_the_question(self) -> None:
        """
        Whatever the faults: the answers to a datagram whose source may be forged are not
        longer than it, duplicates included; and where one fits twice it is sent twice.
        """
        every = {
            "latency": Latency(0.05, 0.02), "reorder": Reorder(0.3, 2), "corrupt": 0.5,
            "truncate": 0.5, "loss": Loss(0.1, 0.2), "bandwidth": 10**6,
        }  # fmt: skip
        client = self.bound(("127.0.0.1", 0))
        for make, count in itertools.product((DatagramRecorder, Twice), range(len(every) + 1)):
            chosen = dict(list(every.items())[:count])
            terms = self.guarded("127.0.0.1")
            address = self.serve(protocol=make(), terms=terms, duplicate=1.0, **chosen)
            for size in (0, 1, 2, 3, 100, 1400):
                self.ask(client, address, b"x" * size)
                self.reactor.pump([0.1, MAX_REORDER_WAIT, 0.1])
                self.assertLessEqual(sum(map(len, self.answers(client))), size)
        counted = self.service_state.counters.faults
        self.assertGreater(counted["duplicate"], 0)

    def test_free_sources(self) -> None:
        """A client on loopback has its duplicates although they are longer together."""
        options, clock = AccessOptions(allow=ANY), self.reactor.seconds
        guard = Guard(options, ProtocolSpec(), clock, lambda: (), LocalAddresses, "127.0.0.1")
        address = self.serve(terms=DatagramTerms(guard), duplicate=1.0)
        client = self.bound(("127.0.0.1", 0))
        self.ask(client, address, b"a", b"b")
        self.assertEqual(b"".join(self.answers(client)), b"aabb")

    def test_addresses(self) -> None:
        """
        At a socket for all addresses a held answer leaves from the one that was asked, however
        many datagrams have come since.
        """
        for wildcard, hosts in (
            ("0.0.0.0", ("127.0.0.1", "127.0.0.2", "127.1.2.3")),
            ("::", ("::1",)),
        ):
            for timestamped in (False, True):
                terms = self.guarded(wildcard, timestamped)
                number = self.serve((wildcard, 0), terms=terms, latency=LATE)[1]
                client = self.bound(("::1" if ":" in wildcard else "127.0.0.1", 0))
                for host in hosts:
                    self.ask(client, (host, number), host.encode())
                for _ in range(40):
                    client.sendto(b"newer", (hosts[0], number))
                self.reactor.turn(2)
                self.reactor.advance(DELAY)
                self.reactor.turn()
                found = [(answer.decode(), source[0]) for answer, source in self.replies(client)]
                self.assertEqual(found[: len(hosts)], [(host, host) for host in hosts])
                self.assertEqual(found[len(hosts) :], [("newer", hosts[0])] * 40)

    def test_timestamped(self) -> None:
        """A protocol is told when a datagram came, as without faults."""
        terms = DatagramTerms(reply_floor=math.inf, timestamped=True)
        address = self.serve(protocol=Stamped(), terms=terms, latency=LATE)
        client = self.bound(("127.0.0.1", 0))
        self.ask(client, address, b"?")
        self.reactor.advance(DELAY)
        (answer,) = self.answers(client)
        self.assertGreater(int(answer), 10**18)
