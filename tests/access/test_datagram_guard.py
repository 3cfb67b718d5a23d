"""Tests for L{socketd.access.datagram_guard}."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access import datagram_guard as module
from socketd.access.addresses import packed
from socketd.access.bans import BANNED, NO_BANS, Bans
from socketd.access.datagram_guard import (
    DESTINATION,
    LEAK,
    NETWORK,
    NETWORK_RATE,
    NETWORK_SHARE,
    REASONS,
    REFLECTOR_PORTS,
    REPLY_SIZE,
    SERVICE_RATE,
    SOURCE_ADDRESS,
    SOURCE_PORT,
    Guard,
    LocalAddresses,
)
from socketd.access.rates import MAX_SOURCES, SOURCE_RATE
from socketd.protocols.registry import installed
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY, Prefixes, parse_networks

#: A source port that is always allowed.
PORT = 40000

#: Where a socket can be bound to.
LOOPBACKS = ("127.0.0.1", "127.7.7.7", "::1", "::ffff:127.0.0.1")
WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")
SPECIFIC = ("192.0.2.2", "2001:db8::2", "fe80::2%eth0")

#: What is no source, wherever the socket is bound to.
NO_SOURCES = [
    "0.0.0.0", "0.0.0.1", "0.255.255.255",
    "224.0.0.0", "224.0.0.1", "239.255.255.255",
    "240.0.0.0", "250.1.2.3", "255.255.255.254", "255.255.255.255",
    "192.0.2.255", "198.51.100.127",
    "::ffff:0.0.0.0", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::ffff:192.0.2.255",
    "::", "ff02::1", "ff02::1%eth0", "ff0e::1", "ffff::",
    "::192.0.2.9", "::127.0.0.1", "::2",
]  # fmt: skip

#: What is one, wherever the socket is bound to.
SOURCES = [
    "1.0.0.0", "126.255.255.255", "128.0.0.0", "192.0.2.3", "192.0.2.0", "192.0.2.254",
    "198.51.100.128", "223.255.255.255", "::ffff:192.0.2.3",
    "2001:db8::3", "fe80::3%eth0", "fe00::1", "::1:0:0", "64:ff9b::1",
]  # fmt: skip

#: The machine's own addresses, which a monitor on it asks by.
OWN = ("192.0.2.2", "::ffff:192.0.2.2", "2001:db8::2", "fe80::2%eth0", "fe80::2%7")

LOOPBACK_PEERS = ("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1")


#: The addresses of a host that does not exist.
HOST = LocalAddresses(
    frozenset(map(packed, ("127.0.0.1", "::1", "192.0.2.2", "2001:db8::2", "fe80::2"))),
    frozenset(map(packed, ("127.255.255.255", "192.0.2.255", "198.51.100.127"))),
)


def check_static(guard: Guard, host: str, port: int = PORT) -> str | None:
    """Apply the rules without state to a source that is written as text."""
    return guard.check_static(packed(host), port)


def check_rate(guard: Guard, host: str) -> str | None:
    """Apply the rate limits to it."""
    return guard.check_rate(guard.rate_keys(packed(host)))


class GuardCase(SynchronousTestCase):
    """Makes guards with a clock and lots that are set by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(86400.0)
        self.own_ports: set[int] = set()
        #: The lot that is drawn next: by default nothing leaks.
        self.lot = 0.99

    def guard(
        self,
        bound: str = "0.0.0.0",
        lots: Any = None,
        bans: Bans = NO_BANS,
        declared: ProtocolSpec = ProtocolSpec(),
        **options: Any,
    ) -> Guard:
        """Make one."""
        return Guard(
            AccessOptions(**{"allow": ANY, **options}),
            declared,
            self.clock.seconds,
            lambda: self.own_ports,
            lambda: HOST,
            bound,
            lots or (lambda: self.lot),
            bans,
        )

    def admitted(self, guard: Guard, host: str, count: int) -> Counter[str | None]:
        """Send datagrams, and count the verdicts."""
        return Counter(check_rate(guard, host) for _ in range(count))


class ReasonTests(SynchronousTestCase):
    """Tests for L{REASONS}."""

    def test_order(self) -> None:
        """
        The reasons stand in the order of the rules, each with its own name, written
        small as logs and metrics have it.
        """
        expected = (BANNED, SOURCE_PORT, SOURCE_ADDRESS, DESTINATION, NETWORK, REPLY_SIZE,
                    SOURCE_RATE, NETWORK_RATE, SERVICE_RATE)  # fmt: skip
        self.assertEqual(REASONS, expected)
        self.assertEqual([reason for reason in REASONS if not reason.islower()], [])
        names = [reason.upper() for reason in REASONS]
        self.assertEqual([getattr(module, name) for name in names], list(REASONS))
        self.assertEqual(len(set(REASONS)), len(REASONS))


class BanTests(GuardCase):
    """Tests for the networks that an operator has banned."""

    def test_banned(self) -> None:
        """A banned source is not answered while it lasts, loopback no more than others."""
        bans = Bans(self.clock.seconds)
        guard = self.guard(bans=bans)
        for network in parse_networks("192.0.2.0/24, 127.0.0.1"):
            bans.add(network, 60.0)
        hosts = ["192.0.2.200", "127.0.0.1", "192.0.3.1"]
        self.assertEqual(
            [check_static(guard, host, 50000) for host in hosts], [BANNED, BANNED, None]
        )
        self.clock.advance(60.0)
        self.assertEqual([check_static(guard, host, 50000) for host in hosts], [None] * 3)


class PortTests(GuardCase):
    """Tests for the ports that a source may ask from."""

    def test_all_ports(self) -> None:
        """Of all ports exactly the reserved ones, the reflectors and our own are refused."""
        self.own_ports = {12345, 65535}
        guard = self.guard()
        refused = {port for port in range(65536) if check_static(guard, "192.0.2.3", port)}
        expected = {*range(1024), 1900, 2049, 3702, 5353, 11211, 12345, 65535}
        self.assertEqual(refused, expected)
        self.assertEqual(check_static(guard, "192.0.2.3", 53), SOURCE_PORT)

    def test_reflectors(self) -> None:
        """Every known reflector is refused."""
        guard = self.guard()
        found = {check_static(guard, "2001:db8::3", port) for port in REFLECTOR_PORTS}
        self.assertEqual((found, len(REFLECTOR_PORTS)), ({SOURCE_PORT}, 15))

    def test_own_ports_change(self) -> None:
        """Our own ports are those of the moment."""
        guard = self.guard()
        self.assertIsNone(check_static(guard, "192.0.2.3"))
        self.own_ports.add(PORT)
        self.assertEqual(check_static(guard, "192.0.2.3"), SOURCE_PORT)

    def test_allowed_ports(self) -> None:
        """A port that the service allows may ask, though it is reserved and our own."""
        self.own_ports = {123}
        guard = self.guard(declared=ProtocolSpec(source_ports=frozenset({123})))
        allowed = [port for port in range(1024) if not check_static(guard, "192.0.2.3", port)]
        self.assertEqual(allowed, [123])

    def test_port_zero(self) -> None:
        """Port 0 is refused to all sources: no reply can be sent there."""
        guard = self.guard(declared=ProtocolSpec(source_ports=frozenset({0, 123})))
        for host in ("192.0.2.3", "127.0.0.1", "::1"):
            self.assertEqual(check_static(guard, host, 0), SOURCE_PORT)

    def test_loopback(self) -> None:
        """Loopback may ask from any other port, where the socket can hear it."""
        self.own_ports = {12345}
        for bound in (*LOOPBACKS, *WILDCARDS):
            guard = self.guard(bound)
            for host in LOOPBACK_PEERS:
                found = {
                    check_static(guard, host, port) for port in (1, 7, 123, 11211, 12345, 65535)
                }
                self.assertEqual(found, {None}, (bound, host))

    def test_all_ports_of_loopback(self) -> None:
        """Of all ports loopback is refused only 0; guarded, as many as any source."""
        self.own_ports = {12345}
        free, guarded = self.guard(), self.guard(guard_loopback=True)
        refused = [port for port in range(65536) if check_static(free, "127.0.0.1", port)]
        self.assertEqual(refused, [0])
        refused = [port for port in range(65536) if check_static(guarded, "127.0.0.1", port)]
        self.assertEqual(refused, [*range(1024), 1900, 2049, 3702, 5353, 11211, 12345])


class AddressTests(GuardCase):
    """Tests for the addresses that a source may have."""

    def test_sources(self) -> None:
        """What is the address of one machine is a source, wherever the socket is bound to."""
        for bound in (*LOOPBACKS, *WILDCARDS, *SPECIFIC):
            guard = self.guard(bound)
            for host in (*SOURCES, *OWN):
                self.assertIsNone(check_static(guard, host), (bound, host))
            for host in NO_SOURCES:
                self.assertEqual(check_static(guard, host), SOURCE_ADDRESS, (bound, host))

    def test_first_bytes(self) -> None:
        """Of the first byte of an IPv4 address 0, 127 and all from 224 are refused."""
        guard = self.guard("192.0.2.2")
        refused = [first for first in range(256) if check_static(guard, f"{first}.1.2.3")]
        self.assertEqual(refused, [0, 127, *range(224, 256)])

    def test_own_ports(self) -> None:
        """
        This machine's own addresses may not ask from the ports of its services: that would
        be a loop on one machine.
        """
        self.own_ports = {7007}
        for guard in map(self.guard, WILDCARDS):
            self.assertEqual({check_static(guard, host, 7007) for host in OWN}, {SOURCE_PORT})

    def test_loopback(self) -> None:
        """
        Loopback is heard on loopback and wildcard sockets, guarded or not, and is
        forged everywhere else.
        """
        table = ((LOOPBACKS + WILDCARDS, None), (SPECIFIC, SOURCE_ADDRESS))
        for bounds, verdict in table:
            for bound in bounds:
                for guarded in (False, True):
                    guard = self.guard(bound, guard_loopback=guarded)
                    found = {check_static(guard, host) for host in LOOPBACK_PEERS}
                    self.assertEqual(found, {verdict}, bound)

    def test_loopback_broadcast(self) -> None:
        """The broadcast address of loopback cannot come from outside either."""
        found = check_static(self.guard("192.0.2.2"), "127.255.255.255")
        self.assertEqual(found, SOURCE_ADDRESS)

    def test_no_address(self) -> None:
        """What is no address is an error of the caller."""
        self.assertRaises(OSError, self.guard, "")


class NetworkTests(GuardCase):
    """Tests for the networks that are served."""

    def test_networks(self) -> None:
        """Only the networks that are allowed are served; loopback is no exception."""
        allow, deny = parse_networks("private"), parse_networks("10.0.0.0/24")
        for guarded in (False, True):
            guard = self.guard(allow=allow, deny=deny, guard_loopback=guarded)
            for host in ("10.0.1.1", "::ffff:10.0.1.1", "fe80::3%eth0", "192.168.0.1"):
                self.assertIsNone(check_static(guard, host), host)
            for host in ("10.0.0.1", "192.0.2.3", "127.0.0.1", "::1", "2001:db8::3"):
                self.assertEqual(check_static(guard, host), NETWORK, host)

    def test_own_networks(self) -> None:
        """
        Where nothing else is allowed, this machine's own addresses are served besides, but for
        those that are denied; others in their networks are not.
        """
        self.assertEqual(check_static(self.guard(allow=()), "192.0.2.2"), NETWORK)
        guard = self.guard(allow=None)
        self.assertEqual({check_static(guard, host) for host in OWN}, {None})
        self.assertEqual(check_static(guard, "192.0.2.3"), NETWORK)
        guard = self.guard(allow=None, deny=parse_networks("192.0.2.0/24"))
        found = [check_static(guard, host) for host in ("192.0.2.2", "2001:db8::2")]
        self.assertEqual(found, [NETWORK, None])

    def test_order(self) -> None:
        """The first rule that fails gives the reason: port, then address, then network."""
        guard = self.guard(allow=())
        peers = [("0.0.0.0", 7), ("0.0.0.0", PORT), ("8.8.8.8", PORT)]
        found = [check_static(guard, *peer) for peer in peers]
        self.assertEqual(found, [SOURCE_PORT, SOURCE_ADDRESS, NETWORK])


class ExemptTests(GuardCase):
    """Tests for the sources that are exempt."""

    def test_exempt(self) -> None:
        """Loopback is exempt where the socket can hear it, unless it is guarded."""
        for bound in (*LOOPBACKS, *WILDCARDS, *SPECIFIC):
            for guarded in (False, True):
                guard = self.guard(bound, guard_loopback=guarded)
                expected = bound not in SPECIFIC and not guarded
                found = {guard.is_exempt(packed(host)) for host in LOOPBACK_PEERS}
                self.assertEqual(found, {expected}, (bound, guarded))

    def test_nobody_else(self) -> None:
        """No other address is exempt, not even our own."""
        for bound in (*LOOPBACKS, *WILDCARDS, *SPECIFIC):
            guard = self.guard(bound)
            hosts = (*SOURCES, *OWN, *NO_SOURCES)
            self.assertEqual([host for host in hosts if guard.is_exempt(packed(host))], [])


class DestinationTests(GuardCase):
    """Tests for where a datagram may be sent to."""

    def test_many(self) -> None:
        """What was sent to many machines is refused."""
        guard = self.guard()
        hosts = ["224.0.0.0", "224.0.0.251", "239.255.255.255", "255.255.255.255", "192.0.2.255",
                 "127.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1"]  # fmt: skip
        found = [host for host in hosts if not guard.refuses_destination(packed(host))]
        self.assertEqual(found, [])
        mapped = bytes(10) + b"\xff\xff" + packed("192.0.2.255")
        self.assertTrue(guard.refuses_destination(mapped))

    def test_one(self) -> None:
        """What was sent to one machine is not."""
        guard = self.guard()
        hosts = ["192.0.2.2", "127.0.0.1", "223.255.255.255", "10.0.0.255", "::1", "2001:db8::2",
                 "fe80::2%eth0", "::ffff:192.0.2.2", "240.0.0.1"]  # fmt: skip
        found = [host for host in hosts if guard.refuses_destination(packed(host))]
        self.assertEqual(found, [])


class RateTests(GuardCase):
    """Tests for the rates."""

    def test_source(self) -> None:
        """A source has its burst, then one answer for each interval."""
        guard = self.guard()
        for host in ("192.0.2.3", "2001:db8::3"):
            self.assertEqual(self.admitted(guard, host, 20), {None: 8, SOURCE_RATE: 12})
            self.clock.advance(1.0)
            self.assertEqual(self.admitted(guard, host, 5), {None: 1, SOURCE_RATE: 4})

    def test_prefix(self) -> None:
        """The addresses of one prefix are one source; IPv4 in IPv6 is IPv4."""
        guard = self.guard(source_prefix=Prefixes(31, 64))
        for pair in (
            ("2001:db8::1", "2001:db8::ffff:ffff"),
            ("192.0.2.4", "192.0.2.5"),
            ("198.51.100.4", "::ffff:198.51.100.5"),
        ):
            found = [self.admitted(guard, host, 6)[None] for host in pair]
            self.assertEqual(found, [6, 2], pair)
        self.assertEqual(self.admitted(guard, "2001:db8:0:1::1", 6), {None: 6})

    def test_equal(self) -> None:
        """
        Equal datagrams of one address and port are answered as far as the rate of their
        source goes, and afterwards it has its answers again: equality bans no source.
        """
        guard = self.guard(udp_rate=1000.0, udp_burst=1000)
        self.assertEqual(self.admitted(guard, "192.0.2.3", 1001), {None: 1000, SOURCE_RATE: 1})
        self.clock.advance(0.1)
        self.assertEqual(self.admitted(guard, "192.0.2.3", 100), {None: 100})

    def test_network(self) -> None:
        """
        All addresses of an IPv4 /24 have 64 times the rate of one: each host of 256 is
        answered twice at once.
        """
        guard = self.guard()
        hosts = [f"203.0.113.{last}" for last in range(256)]
        self.assertEqual(Counter(check_rate(guard, host) for host in hosts * 2), {None: 512})
        self.assertEqual(Counter(check_rate(guard, host) for host in hosts), {NETWORK_RATE: 256})
        self.assertEqual(check_rate(guard, "203.0.114.1"), None)
        self.clock.advance(1.0)
        found = Counter(check_rate(guard, host) for host in hosts[:100])
        self.assertEqual(found, {None: NETWORK_SHARE, NETWORK_RATE: 100 - NETWORK_SHARE})

    def test_ipv6_network(self) -> None:
        """
        So have those of an IPv6 /64 where a source is less than that; other networks have
        their own rate.
        """
        guard = self.guard(source_prefix=Prefixes(32, 128))
        found = Counter(check_rate(guard, f"2001:db8:0:1::{number:x}") for number in range(600))
        self.assertEqual(found, {None: 512, NETWORK_RATE: 88})
        found = Counter(check_rate(guard, f"2001:db8:0:{number:x}::1") for number in range(2, 202))
        self.assertEqual(found, {None: 200})

    def test_network_rate(self) -> None:
        """
        The rate of a network can be set; its burst is in the same proportion to that of a
        source.
        """
        guard = self.guard(udp_network_rate=2.0)
        found = Counter(check_rate(guard, f"203.0.113.{last}") for last in range(20))
        self.assertEqual(found, {None: 16, NETWORK_RATE: 4})
        self.clock.advance(1.0)
        found = Counter(check_rate(guard, f"203.0.113.{last}") for last in range(20, 30))
        self.assertEqual(found, {None: 2, NETWORK_RATE: 8})

    def test_neighbours(self) -> None:
        """
        A flood in the name of one address takes nothing from its neighbours, not even by
        what leaks.
        """
        guard = self.guard(lots=random.Random(1).random)
        self.admitted(guard, "203.0.113.1", 5000)
        found = [check_rate(guard, f"203.0.113.{last}") for last in range(2, 250)]
        self.assertEqual(set(found), {None})

    def test_leak(self) -> None:
        """
        One above the rate is let through when the lot says so, of a source and of a
        network alike.
        """
        guard = self.guard(udp_network_rate=4.0)
        self.assertEqual(self.admitted(guard, "203.0.113.1", 8), {None: 8})
        for last in range(2, 26):
            self.assertEqual(check_rate(guard, f"203.0.113.{last}"), None)
        for host, reason in (("203.0.113.1", SOURCE_RATE), ("203.0.113.99", NETWORK_RATE)):
            self.lot = LEAK
            self.assertEqual(check_rate(guard, host), reason)
            self.lot = LEAK - 0.001
            self.assertIsNone(check_rate(guard, host))

    def test_victim(self) -> None:
        """A source that is spoofed in a flood is still answered, about one time of four."""
        guard = self.guard(lots=random.Random(2).random)
        answered = 0
        for second in range(200):
            self.admitted(guard, "203.0.113.1", 40)
            answered += check_rate(guard, "203.0.113.1") is None
            self.clock.advance(1.0)
        self.assertTrue(30 < answered < 75, answered)

    def test_service(self) -> None:
        """All sources together have the rate of the service, and nothing leaks there."""
        self.lot = 0.0
        guard = self.guard(udp_service_rate=100.0)
        found = Counter(check_rate(guard, f"198.18.{number}.1") for number in range(250))
        self.assertEqual(found, {None: 100, SERVICE_RATE: 150})
        self.clock.advance(0.1)
        found = Counter(check_rate(guard, f"198.19.{number}.1") for number in range(50))
        self.assertEqual(found, {None: 10, SERVICE_RATE: 40})

    def test_slow_service(self) -> None:
        """A service of less than one datagram a second answers one all the same."""
        guard = self.guard(udp_service_rate=0.1)
        self.assertEqual(self.admitted(guard, "192.0.2.3", 3), {None: 1, SERVICE_RATE: 2})
        self.clock.advance(10.0)
        self.assertIsNone(check_rate(guard, "192.0.2.3"))

    def test_forged_sources(self) -> None:
        """
        However many sources are forged, the tables keep their bounds, and a source
        that behaves is still answered.
        """
        guard = self.guard(lots=random.Random(3).random)
        tables = (guard._sources, guard._networks)
        answered = 0
        for second in range(20):
            for number in range(500):
                forged = second * 500 + number
                check_rate(guard, f"10.{forged >> 8}.{forged & 255}.1")
            answered += check_rate(guard, "192.0.2.3") is None
            self.clock.advance(1.0)
            self.assertTrue(all(len(table) <= MAX_SOURCES for table in tables))
        self.assertEqual([len(table) for table in tables], [MAX_SOURCES] * 2)
        self.assertEqual(answered, 20)

    def test_forged_sources_at_once(self) -> None:
        """
        Ten thousand sources in a second get no more answers than the service has, and
        an honest one is answered again when they stop.
        """
        guard = self.guard(lots=random.Random(4).random)
        found = Counter(
            check_rate(guard, f"10.{number >> 8}.{number & 255}.1") for number in range(10_000)
        )
        self.assertEqual(found, {None: 5000, SERVICE_RATE: 5000})
        self.assertEqual(check_rate(guard, "192.0.2.3"), SERVICE_RATE)
        self.clock.advance(0.001)
        self.assertIsNone(check_rate(guard, "192.0.2.3"))


class LoopTests(GuardCase):
    """
    Tests for the end of loops: two services that answer each other meet the rate of their
    source.
    """

    def bounces(self, *guards: Guard, interval: float = 0.0001) -> int:
        """
        Set guarded services on one another, and count the datagrams up to the first that is
        dropped.
        """
        count = 0
        while check_rate(guards[count % len(guards)], "192.0.2.3") is None:
            count += 1
            self.clock.advance(interval)
        return count

    def test_end(self) -> None:
        """A loop ends when the burst is used up, also where the other side answers all."""
        self.assertEqual(self.bounces(self.guard(), self.guard()), 16)
        self.assertEqual(self.bounces(self.guard()), 8)

    def test_leak(self) -> None:
        """What leaks prolongs it by a few datagrams only: each of them has to be lucky."""
        lots = random.Random(5).random
        guards = ((self.guard(lots=lots), self.guard(lots=lots)) for _ in range(2000))
        found = [self.bounces(*pair) for pair in guards]
        self.assertEqual(min(found), 16)
        self.assertLess(max(found), 16 + 10)
        self.assertLess(abs(sum(found) / len(found) - 16 - 1 / 3), 0.1)

    def test_raised_rates(self) -> None:
        """Where the rates are raised it ends as well, when it is faster than they are."""
        how: dict[str, Any] = {"udp_rate": 100.0, "udp_burst": 200}
        self.assertLess(self.bounces(self.guard(**how), self.guard(**how)), 2 * 200 + 10)

    def test_slow(self) -> None:
        """A loop that is slower than the rate is held to it."""
        guards = [self.guard(), self.guard()]
        for _ in range(1000):
            self.assertEqual([check_rate(guard, "192.0.2.3") for guard in guards], [None, None])
            self.clock.advance(1.0)

    def test_after_a_loop(self) -> None:
        """A source that was forged into a loop is answered again as soon as its rate allows."""
        guard = self.guard()
        self.bounces(guard)
        self.clock.advance(1.0)
        self.assertIsNone(check_rate(guard, "192.0.2.3"))


class HonestClientTests(GuardCase):
    """Tests for clients that once were turned away, with the rates that are the default."""

    def default(self, name: str) -> Guard:
        """Make a guard with the rates of a protocol."""
        found = installed()[name]
        rates: dict[str, Any] = {"udp_rate": found.udp_rate, "udp_burst": found.udp_burst}
        return self.guard(declared=ProtocolSpec(source_ports=found.source_ports), **rates)

    def test_repeated(self) -> None:
        """Seven requests of one client at once are answered, however equal they are."""
        for name in ("time", "echo", "ntp"):
            found = self.admitted(self.default(name), "192.168.1.2", 7)
            self.assertEqual(found, {None: 7}, name)

    def test_forged_repeats(self) -> None:
        """
        Five equal datagrams every ten seconds in the name of a client that asks as often
        take none of its answers.
        """
        guard, answered = self.default("echo"), 0
        for _ in range(75):
            self.admitted(guard, "192.168.1.2", 5)
            self.clock.advance(5.0)
            answered += check_rate(guard, "192.168.1.2") is None
            self.clock.advance(5.0)
        self.assertEqual(answered, 75)

    def test_devices_behind_one_address(self) -> None:
        """
        250 devices behind one translator ask for the time at once, and then once in 64
        seconds each; and a client there that asks four times is answered, too.
        """
        guard = self.default("ntp")
        self.assertEqual(self.admitted(guard, "192.168.1.1", 250), {None: 250})
        for _ in range(250):
            self.clock.advance(64.0 / 250)
            self.assertIsNone(check_rate(guard, "192.168.1.1"))
        self.assertEqual(self.admitted(guard, "192.168.1.1", 4), {None: 4})

    def test_ports_behind_one_address(self) -> None:
        """A translator maps port 123 to any other: the time is told to all of them but 0."""
        guard = self.default("ntp")
        refused = [port for port in range(65536) if check_static(guard, "192.168.1.1", port)]
        self.assertEqual(refused, [0])
