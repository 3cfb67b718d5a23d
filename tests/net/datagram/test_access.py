"""
Tests of what C{socketd.net.datagram.port} and C{batch_port} ask of a datagram before they
serve it, and of an answer before they send it.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.access.addresses import packed
from socketd.access.datagram_guard import (
    DESTINATION,
    NETWORK,
    NETWORK_RATE,
    REPLY_SIZE,
    SERVICE_RATE,
    SOURCE_ADDRESS,
    SOURCE_PORT,
)
from socketd.access.rates import SOURCE_RATE
from socketd.net.datagram import recent
from socketd.net.datagram.port import DatagramTerms
from socketd.protocols.clock.daytime import daytime_line
from socketd.protocols.clock.time import TimeOfDayDatagrams
from socketd.protocols.messages.qotd import QotdDatagrams, QotdOptions
from socketd.settings.networks import parse_networks
from tests.net.datagram.guarded_case import LOOPBACK_BROADCAST, GuardedCase, broadcasts
from tests.support.fakes import DatagramRecorder

#: What the clock of the kernel and ours may differ by in a test (nanoseconds).
TOLERANCE = 10 * 10**9


class Stamper(DatagramProtocol):
    """Writes down when each datagram came, and answers with its bytes."""

    def __init__(self) -> None:
        self.stamps: list[int | None] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        self.stamps.append(transport.received_at)
        transport.write(datagram, addr)


class Telling(DatagramProtocol):
    """Answers each datagram with the address that it was sent to, after a first answer."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(b"", addr)
        found = transport.destination
        transport.write(f"{found.host} {found.port}".encode(), addr)


class Replier(DatagramProtocol):
    """Answers each datagram with the answers that it is made with."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        for answer in self.answers:
            transport.write(answer, addr)


class GuardedPortTests(GuardedCase):
    """The port that works everywhere keeps to the rules."""

    def test_served(self) -> None:
        """A source within the rules is served, and nothing is counted as dropped."""
        self.serve()
        self.assertEqual(self.answered(self.client(), b"a", b"", b"ccc"), [b"a", b"", b"ccc"])
        self.check_dropped()
        self.assertEqual(self.service_state.counters.datagrams_received, 3)
        self.serve(udp_rate=1000.0, udp_burst=1000)
        self.assertEqual(self.answered(self.client(), *[b"same"] * 90), [b"same"] * 90)
        self.check_dropped()

    def test_source_port(self) -> None:
        """What comes from one of our own ports is dropped, again and again, and counted."""
        self.serve()
        one, other = self.client(), self.client()
        self.own_ports.add(one.getsockname()[1])
        self.assertEqual(self.answered(one, b"a", b"b", b"c"), [])
        self.assertEqual(self.answered(one, b"d"), [])
        self.assertEqual(self.answered(other, b"e"), [b"e"])
        self.check_dropped(**{SOURCE_PORT: 4})
        self.assertEqual(self.service_state.counters.datagrams_received, 5)

    def test_source_address(self) -> None:
        """What cannot be a source is dropped and counted."""
        self.serve()
        self.local_addresses = broadcasts("127.0.0.2")
        client = self.client("127.0.0.2")
        # Loopback is local whatever the table of broadcasts says, so the guard is one
        # that is bound elsewhere.
        self.port._guard = self.guard("192.0.2.1")
        self.assertEqual(self.answered(client, b"a", b"b"), [])
        self.check_dropped(**{SOURCE_ADDRESS: 2})

    def test_network(self) -> None:
        """A denied source is dropped and counted, and its neighbour is served."""
        self.serve(deny=parse_networks("127.0.0.2"))
        self.assertEqual(self.answered(self.client("127.0.0.2"), b"a", b"b"), [])
        self.assertEqual(self.answered(self.client("127.0.0.3"), b"c"), [b"c"])
        self.check_dropped(**{NETWORK: 2})

    def test_mapped(self) -> None:
        """An IPv4 source of an IPv6 socket, which systemd may hand over, is an IPv4 one."""
        self.serve(host="::", deny=parse_networks("127.0.0.2"))
        self.assertEqual(self.answered(self.client("127.0.0.2"), b"a", b"b"), [])
        self.assertEqual(self.answered(self.client("127.0.0.3"), b"c"), [b"c"])
        self.check_dropped(**{NETWORK: 2})

    def test_source_rate(self) -> None:
        """A source has its rate whatever port it asks from; another one has its own."""
        self.serve(udp_burst=3)
        found = [self.answered(self.client(), b"%d" % number) for number in range(5)]
        self.assertEqual(found, [[b"0"], [b"1"], [b"2"], [], []])
        self.assertEqual(self.answered(self.client("127.0.1.2"), b"x"), [b"x"])
        self.check_dropped(**{SOURCE_RATE: 2})
        self.reactor.advance(1.0)
        self.assertEqual(self.answered(self.client(), b"y", b"z"), [b"y"])

    def test_rate_in_one_turn(self) -> None:
        """A whole batch of one source counts datagram by datagram."""
        self.serve(udp_burst=3)
        datagrams = [b"%d" % number for number in range(40)]
        self.assertEqual(self.answered(self.client(), *datagrams), datagrams[:3])
        self.check_dropped(**{SOURCE_RATE: 37})

    def test_leak(self) -> None:
        """What leaks is answered, and not counted as dropped."""
        self.serve(lot=0.0, udp_burst=1)
        self.assertEqual(self.answered(self.client(), b"1", b"2", b"3"), [b"1", b"2", b"3"])
        self.check_dropped()

    def test_service_rate(self) -> None:
        """All sources together have the rate of the service."""
        self.serve(udp_service_rate=2.0)
        found = [self.answered(self.client(f"127.0.{n}.1"), b"x") for n in range(4)]
        self.assertEqual(found, [[b"x"], [b"x"], [], []])
        self.check_dropped(**{SERVICE_RATE: 2})

    def test_protocols(self) -> None:
        """What daytime and qotd cannot answer because their answers are too long is counted."""
        quotes = QotdOptions(texts=(b"Less is more.\r\n",))
        for number, protocol in enumerate(
            (TimeOfDayDatagrams(daytime_line, "inetd", lambda: 1.8e9), QotdDatagrams(quotes)), 1
        ):
            self.serve(protocol, udp_burst=100)
            self.assertEqual(self.answered(self.client(), b"", b"?"), [])
            self.assertEqual(len(self.answered(self.client(), b"?" * 26)), 1)
            self.check_dropped(**{REPLY_SIZE: 2 * number})

    def test_network_rate(self) -> None:
        """
        All sources of one network have the rate of the network, which is counted under a
        reason of its own.
        """
        self.serve(udp_network_rate=2.0, udp_burst=1)
        found = [self.answered(self.client(f"127.0.0.{n}"), b"x") for n in range(2, 6)]
        self.assertEqual(found, [[b"x"], [b"x"], [], []])
        self.assertEqual(self.answered(self.client("127.0.1.2"), b"x"), [b"x"])
        self.check_dropped(**{NETWORK_RATE: 2})

    def test_several_reasons(self) -> None:
        """
        In one turn each datagram is counted under its own reason, and the answers of the
        others are not mixed up.
        """
        self.serve(udp_burst=2, deny=parse_networks("127.0.9.0/24"))
        good, denied, ours = self.client(), self.client("127.0.9.1"), self.client("127.0.0.7")
        self.own_ports.add(ours.getsockname()[1])
        for number in range(4):
            for client in (denied, good, ours):
                client.sendto(b"%d" % number, ("127.0.0.1", self.number))
        self.assertEqual(self.answered(good), [b"0", b"1"])
        self.assertEqual(self.answered(denied) + self.answered(ours), [])
        self.check_dropped(**{NETWORK: 4, SOURCE_PORT: 4, SOURCE_RATE: 2})

    def test_exempt(self) -> None:
        """
        Loopback that is not guarded is free of the rules for ports and rates, and of no
        other: networks hold for it, too.
        """
        denied = parse_networks("127.0.0.2")
        self.serve(guard_loopback=False, udp_burst=1, udp_service_rate=1.0, deny=denied)
        client = self.client()
        self.own_ports.add(client.getsockname()[1])
        self.assertEqual(self.answered(client, *[b"same"] * 70), [b"same"] * 70)
        self.assertEqual(self.answered(self.client("127.0.0.2"), b"x"), [])
        self.check_dropped(**{NETWORK: 1})

    def test_no_guard(self) -> None:
        """Without a guard every source is served, but no answer may be too long."""
        self.serve(Replier(b"four"), guarded=False, floor=0)
        self.own_ports.add(self.number)
        client = self.client()
        self.assertEqual(self.answered(client, *[b"same"] * 70), [b"four"] * 70)
        self.assertEqual(self.answered(client, b"one"), [])
        self.check_dropped(**{REPLY_SIZE: 1})

    def test_unix(self) -> None:
        """A UNIX socket has neither a guard nor a bound of its answers: no source is spoofed."""
        terms = DatagramTerms(self.guard("0.0.0.0", allow=()), 0, False)
        address = self.listen(Replier(b"x" * 999), self.path(), terms)
        client = self.bound(self.path())
        client.sendto(b"", address)
        self.reactor.turn()
        self.assertEqual(self.replies(client), [(b"x" * 999, address)])
        self.check_dropped()

    def test_many_sources(self) -> None:
        """More sources than are cached are all checked and served alike."""
        self.patch(recent, "GENERATION", 16)
        self.serve(udp_rate=1.0, udp_burst=1, udp_network_rate=1000.0)
        for number in range(64):
            with self.client(f"127.0.{number >> 8}.{number & 255}") as client:
                self.assertEqual(self.answered(client, b"x"), [b"x"])
        denied = self.client("127.9.0.1")
        self.own_ports.add(denied.getsockname()[1])
        self.assertEqual(self.answered(denied, b"x"), [])
        self.assertEqual(self.answered(self.client("127.10.0.1"), b"x"), [b"x"])
        self.check_dropped(**{SOURCE_PORT: 1})
        self.assertLessEqual(len(self.port._verdicts), 16)

    def test_forget(self) -> None:
        """A verdict is cached until the port is told to forget it."""
        self.serve(deny=parse_networks("127.0.0.2"))
        ours, denied = self.client(), self.client("127.0.0.2")
        self.assertEqual(self.answered(ours, b"a"), [b"a"])
        self.assertEqual(self.answered(denied, b"b"), [])
        self.own_ports.add(ours.getsockname()[1])
        self.port._guard = self.guard("127.0.0.1")
        self.assertEqual(self.answered(ours, b"c"), [b"c"])
        self.assertEqual(self.answered(denied, b"d"), [])
        self.port.forget()
        self.assertEqual(self.answered(ours, b"e"), [])
        self.assertEqual(self.answered(denied, b"f"), [b"f"])
        self.check_dropped(**{NETWORK: 2, SOURCE_PORT: 1})

    def test_forget_exempt(self) -> None:
        """The verdict on an exempt source is forgotten, too."""
        self.serve(guard_loopback=False, udp_burst=1)
        client = self.client()
        self.assertEqual(self.answered(client, b"1", b"2"), [b"1", b"2"])
        self.port._guard = self.guard("127.0.0.1", udp_burst=1)
        self.assertEqual(self.answered(client, b"3", b"4"), [b"3", b"4"])
        self.port.forget()
        self.assertEqual(self.answered(client, b"5", b"6"), [b"5"])
        self.check_dropped(**{SOURCE_RATE: 1})


class ReplySizeTests(GuardedCase):
    """Answers are not longer than what they answer."""

    def serve_answers(self, *answers: bytes, floor: float = 0) -> socket.socket:
        """Serve fixed answers; return a client that no rate holds up."""
        self.serve(Replier(*answers), floor=floor, udp_rate=1000.0, udp_burst=1000)
        return self.client()

    def test_too_long(self) -> None:
        """One that is longer by a byte is dropped and counted."""
        client = self.serve_answers(b"12345")
        self.assertEqual(self.answered(client, b"1234", b"", b"12345", b"123456"), [b"12345"] * 2)
        self.check_dropped(**{REPLY_SIZE: 2})
        self.assertEqual(self.service_state.counters.datagrams_sent, 2)

    def test_sum(self) -> None:
        """
        All answers to one datagram count together; one that no longer fits is left out,
        and a later one may still fit.
        """
        client = self.serve_answers(b"aaa", b"bbb", b"c")
        self.assertEqual(self.answered(client, b"1234567"), [b"aaa", b"bbb", b"c"])
        self.assertEqual(self.answered(client, b"123456"), [b"aaa", b"bbb"])
        self.assertEqual(self.answered(client, b"1234"), [b"aaa", b"c"])
        self.assertEqual(self.answered(client, b""), [])
        self.check_dropped(**{REPLY_SIZE: 1 + 1 + 3})

    def test_nothing_is_saved(self) -> None:
        """What one datagram leaves over is not spent on the next."""
        client = self.serve_answers(b"1234")
        self.assertEqual(self.answered(client, b"x" * 1000, b"x", b"x" * 1000), [b"1234"] * 2)
        self.check_dropped(**{REPLY_SIZE: 1})

    def test_floor(self) -> None:
        """
        So many bytes may answer the shortest datagram, all answers together; and a longer
        datagram has no more than its own length.
        """
        client = self.serve_answers(b"1234", b"5678", floor=4)
        self.assertEqual(self.answered(client, b""), [b"1234"])
        self.assertEqual(self.answered(client, b"x" * 7), [b"1234"])
        self.assertEqual(self.answered(client, b"x" * 8), [b"1234", b"5678"])
        self.check_dropped(**{REPLY_SIZE: 2})

    def test_empty_answers(self) -> None:
        """An empty answer to an empty datagram is not longer than that."""
        client = self.serve_answers(b"")
        self.assertEqual(self.answered(client, b"", b"x"), [b""] * 2)
        self.check_dropped()

    def test_sequence(self) -> None:
        """The pieces of one answer are measured together."""

        class Pieces(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                transport: Any = self.transport
                transport.writeSequence([datagram, b"more"], addr)

        self.serve(Pieces(), floor=6)
        self.assertEqual(self.answered(self.client(), b"12", b"123"), [b"12more"])
        self.check_dropped(**{REPLY_SIZE: 1})


class TimestampedReplySizeTests(ReplySizeTests):
    """And those that it sends at once, because they hold a time."""

    def serve(self, *positional: Any, **named: Any) -> None:
        """Begin to serve a protocol that wants to know when a datagram came."""
        super().serve(*positional, **(named | {"timestamped": True}))


class DestinationTests(GuardedCase):
    """Where a datagram was sent to decides whether it is answered, and from where."""

    #: Whether the protocol wants the time of arrival.
    timestamped = False

    def serve_at(self, host: str, **how: Any) -> None:
        """Serve at an address."""
        protocol = Stamper() if self.timestamped else DatagramRecorder()
        self.serve(protocol, host, timestamped=self.timestamped, **how)

    def test_broadcast(self) -> None:
        """
        What was sent to a broadcast address is dropped on a wildcard socket, and counted;
        what was sent to one address is served, in the same turn.
        """
        self.serve_at("0.0.0.0")
        client = self.client()
        for host in (LOOPBACK_BROADCAST, "127.0.0.1", LOOPBACK_BROADCAST, "127.0.0.2"):
            client.sendto(host.encode(), (host, self.number))
        found = self.ask(client)
        self.assertEqual(found, [(b"127.0.0.1", "127.0.0.1"), (b"127.0.0.2", "127.0.0.2")])
        self.check_dropped(**{DESTINATION: 2})

    def test_exempt(self) -> None:
        """An exempt source may not use a broadcast address either."""
        self.serve_at("0.0.0.0", guard_loopback=False)
        client = self.client()
        for host, expected in (("127.0.0.1", 40), (LOOPBACK_BROADCAST, 0), ("127.0.0.1", 1)):
            found = self.ask(client, *[b"x"] * max(expected, 1), host=host)
            self.assertEqual(found, [(b"x", host)] * expected)
        self.check_dropped(**{DESTINATION: 1})

    def test_forget(self) -> None:
        """A new broadcast address counts as soon as the port forgets its verdicts."""
        self.local_addresses = broadcasts()
        self.serve_at("0.0.0.0")
        client = self.client()
        self.ask(client, b"x", host=LOOPBACK_BROADCAST)
        self.check_dropped()
        self.local_addresses = broadcasts(LOOPBACK_BROADCAST)
        self.port.forget()
        self.assertEqual(self.ask(client, b"x", host=LOOPBACK_BROADCAST), [])
        self.check_dropped(**{DESTINATION: 1})

    def test_answer_comes_from_the_address_asked(self) -> None:
        """With a guard, too, the answer leaves from the address that was asked."""
        self.serve_at("0.0.0.0", udp_burst=100)
        for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
            found = self.ask(self.client(), b"a", b"b", host=host)
            self.assertEqual(found, [(b"a", host), (b"b", host)])

    def test_dropped_between(self) -> None:
        """An answer that moves to the place of a dropped one takes its own address along."""
        self.serve_at("0.0.0.0", deny=parse_networks("127.0.0.9"))
        good, denied = self.client(), self.client("127.0.0.9")
        for number in range(4):
            denied.sendto(b"no", ("127.0.0.5", self.number))
            good.sendto(b"yes", (f"127.0.0.{number + 10}", self.number))
        found = self.ask(good)
        self.assertEqual(found, [(b"yes", f"127.0.0.{number + 10}") for number in range(4)])
        self.check_dropped(**{NETWORK: 4})

    def test_ipv6(self) -> None:
        """
        IPv6 is served from the address asked; and the address that a datagram was sent to
        is the one that the guard is asked about.
        """
        self.serve_at("::")
        client = self.client("::1")
        self.assertEqual(self.ask(client, b"a", b"b", host="::1"), [(b"a", "::1"), (b"b", "::1")])
        asked: list[bytes] = []

        def refuses(address: bytes) -> bool:
            asked.append(address)
            return True

        self.patch(self.port._guard, "refuses_destination", refuses)
        self.port.forget()
        self.assertEqual(self.ask(client, b"c", b"d", host="::1"), [])
        self.assertEqual(asked, [packed("::1")])
        self.check_dropped(**{DESTINATION: 2})

    def test_told(self) -> None:
        """A protocol may ask where a datagram was sent to, each of a batch, on every socket."""
        for host, asked in (("0.0.0.0", ("127.0.0.1", "127.0.0.7", "127.1.2.3")),
                            ("127.0.0.5", ("127.0.0.5",)), ("::", ("::1",))):  # fmt: skip
            self.serve(
                Telling(), host, timestamped=self.timestamped, udp_burst=100, guard_loopback=False
            )
            client = self.client("::1" if ":" in host else "127.0.0.1")
            for one in asked:
                client.sendto(b"x" * 100, (one, self.number))
            expected = [(f"{one} {self.number}".encode(), one) for one in asked]
            self.assertEqual([found for found in self.ask(client) if found[0]], expected)
            self.assertEqual(self.port.destination, self.port.getHost())

    def test_specific(self) -> None:
        """A socket with one address hears nothing else, and answers from it."""
        self.serve_at("127.0.0.5")
        self.assertEqual(self.ask(self.client(), b"a", host="127.0.0.5"), [(b"a", "127.0.0.5")])
        self.check_dropped()


#: So many times is looked whether the kernel notes when a datagram comes.
FEW = 25


class TimestampedTests(DestinationTests):
    """All of that holds for a protocol that wants to know when a datagram came; and it is told."""

    timestamped = True

    def stamps(self) -> list[int | None]:
        """What the protocol was told."""
        assert isinstance(self.protocol, Stamper)
        return self.protocol.stamps

    def test_arrival(self) -> None:
        """
        The kernel's time of each datagram is given, on sockets of every kind, however
        late it is read.
        """
        for host, asked in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.3"),
                            ("::1", "::1"), ("::", "::1")):  # fmt: skip
            self.serve_at(host, udp_burst=100)
            client = self.client("::1" if ":" in host else "127.0.0.1")
            before = time.time_ns()
            for number in range(5):
                client.sendto(b"%d" % number, (asked, self.number))
            sent = time.time_ns()
            self.assertEqual(self.ask(client), [(b"%d" % n, asked) for n in range(5)])
            found = [stamp for stamp in self.stamps() if stamp is not None]
            self.assertEqual(len(found), 5, host)
            self.assertEqual(found, sorted(found))
            self.assertTrue(before - TOLERANCE < found[0] <= found[-1] < sent + TOLERANCE)

    def test_arrival_is_not_that_of_reading(self) -> None:
        """
        The time is that of arrival: two datagrams that are read together have the time
        between them that was between their sending.
        """
        self.serve_at("127.0.0.1", udp_burst=100)
        client = self.client()
        # On a busy machine the kernel begins to note the time of arrival only a while after
        # the first socket has asked for it; up to then it gives that of reading.
        for _ in range(FEW):
            client.sendto(b"a", ("127.0.0.1", self.number))
            between = time.time_ns() + 20_000_000
            while time.time_ns() < between:
                pass
            client.sendto(b"b", ("127.0.0.1", self.number))
            self.ask(client)
            first, second = (stamp or 0 for stamp in self.stamps()[-2:])
            if second - first > 10_000_000:
                break
        self.assertGreater(second - first, 10_000_000)

    def test_dropped_is_not_told(self) -> None:
        """Each datagram is told with its own time, also behind one that was dropped."""
        self.serve_at("0.0.0.0", deny=parse_networks("127.0.0.9"))
        good, denied = self.client(), self.client("127.0.0.9")
        for _ in range(3):
            denied.sendto(b"no", ("127.0.0.1", self.number))
            good.sendto(b"yes", ("127.0.0.1", self.number))
        self.assertEqual(len(self.ask(good)), 3)
        self.assertEqual(len(set(self.stamps())), 3)

    def test_refused(self) -> None:
        """What the kernel does not send is counted, never raised."""
        self.serve(Replier(b"x" * 65508), floor=10**6, timestamped=True)
        self.assertEqual(self.ask(self.client(), b"?"), [])
        self.assertEqual(self.service_state.counters.datagrams_unsent, 1)


class UnstampedTests(GuardedCase):
    """Tests for ports without timestamps."""

    def test_not_asked(self) -> None:
        """No time is told unless the terms ask for it: the protocol takes its own."""
        protocol = Stamper()
        self.serve(protocol)
        self.assertEqual(self.answered(self.client(), b"x"), [b"x"])
        self.assertEqual(protocol.stamps, [None])
