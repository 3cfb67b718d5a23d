"""Tests for L{socketd.access.policy}: what it makes of the options of a service."""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.capacity import Capacity
from socketd.access.datagram_guard import (
    NETWORK,
    SERVICE_RATE,
    SOURCE_ADDRESS,
    SOURCE_PORT,
    LocalAddresses,
)
from socketd.access.policy import (
    ACCEPT_RATE,
    CHECKS_PER_DEADLINE,
    MAX_PER_SOURCE,
    AccessPolicy,
    Deadlines,
    make_guard,
    make_policy,
)
from socketd.access.rates import SOURCE_LIMIT, SOURCE_RATE
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import AccessOptions
from socketd.settings.networks import Prefixes, parse_networks

#: Sources of every kind, as the kernel names them.
LOOPBACK = ("127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1")
PRIVATE = ("10.0.0.1", "192.168.1.1", "fe80::1%eth0", "::ffff:172.16.0.1")
PUBLIC = ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1")

#: This machine's own addresses.
OWN = ("192.0.2.9", "2001:db8::9")

#: A port that any source may ask from, and one of a well-known service.
PORT = 40000
RESERVED_PORT = 123


def entered(policy: AccessPolicy, host: str, times: int = 1) -> list[str | None]:
    """Ask a number of times whether a source may come in."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return [policy.admit_connection(family, (host, PORT))[0] for _ in range(times)]


class GuardedCase(SynchronousTestCase):
    """A test with a clock, and with doors made from options."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.daemon = Capacity(100)

    def policy(self, **options: Any) -> AccessPolicy:
        """Make one."""
        return make_policy(AccessOptions(**options), self.daemon, self.clock)


class NetworkTests(GuardedCase):
    """Tests for the networks of stream listeners."""

    def test_default(self) -> None:
        """By default streams serve all networks."""
        found = [entered(self.policy(), host) for host in LOOPBACK + PRIVATE + PUBLIC]
        self.assertEqual(found, [[None]] * len(LOOPBACK + PRIVATE + PUBLIC))

    def test_allow(self) -> None:
        """Only allowed networks are served, loopback included; IPv4 in IPv6 is IPv4."""
        policy = self.policy(allow=parse_networks("192.0.2.0/24"))
        for host in (*LOOPBACK, *PRIVATE, "2001:db8::1"):
            self.assertEqual(entered(policy, host), [NETWORK], host)
        for host in ("192.0.2.1", "::ffff:192.0.2.1"):
            self.assertEqual(entered(policy, host), [None], host)

    def test_empty(self) -> None:
        """An empty C{allow} serves no network; it does not open the service to all."""
        policy = self.policy(allow=())
        found = [entered(policy, host) for host in LOOPBACK + PUBLIC]
        self.assertEqual(found, [[NETWORK]] * len(LOOPBACK + PUBLIC))

    def test_deny(self) -> None:
        """A denied network is not served, others are."""
        policy = self.policy(deny=parse_networks("private"))
        self.assertEqual([entered(policy, host) for host in PRIVATE], [[NETWORK]] * len(PRIVATE))
        self.assertEqual([entered(policy, host) for host in PUBLIC], [[None]] * len(PUBLIC))

    def test_unix(self) -> None:
        """Networks and limits say nothing of UNIX sockets: their files have modes."""
        policy = self.policy(deny=parse_networks("any"), max_per_source=1, accept_rate=0.001)
        found = [policy.admit_connection(socket.AF_UNIX, peer) for peer in ("", b"\0x", "/a") * 9]
        self.assertEqual(found, [(None, None)] * 27)


class SourceTests(GuardedCase):
    """Tests for how many of one source may come in, and how often."""

    def test_default(self) -> None:
        """
        Where nothing is said, a source has the default limit; another one does not
        notice it.
        """
        policy = self.policy()
        expected = [None] * MAX_PER_SOURCE + [SOURCE_LIMIT]
        self.assertEqual(entered(policy, "192.0.2.1", MAX_PER_SOURCE + 1), expected)
        self.assertEqual(entered(policy, "192.0.2.2"), [None])

    def test_default_rate(self) -> None:
        """With another limit the default rate holds."""
        policy = self.policy(max_per_source=1000)
        expected = [None] * 20 + [SOURCE_RATE]
        self.assertEqual(entered(policy, "192.0.2.1", 21), expected)
        self.clock.advance(1.0)
        found = entered(policy, "192.0.2.1", 20)
        self.assertEqual(found, [None] * int(ACCEPT_RATE) + [SOURCE_RATE] * 10)

    def test_loopback(self) -> None:
        """
        Loopback has no limit where nothing is said, and what is said where something
        is; of the two only that one which was given.
        """
        many = 20 * MAX_PER_SOURCE
        for host in LOOPBACK:
            self.assertEqual(set(entered(self.policy(), host, many)), {None}, host)
            policy = self.policy(max_per_source=many - 1)
            self.assertEqual(entered(policy, host, many)[-2:], [None, SOURCE_LIMIT], host)
            policy = self.policy(accept_rate=1.0, accept_burst=3)
            self.assertEqual(entered(policy, host, 4), [None] * 3 + [SOURCE_RATE], host)

    def test_prefix(self) -> None:
        """The addresses of one prefix have the limit together."""
        policy = self.policy(max_per_source=2, source_prefix=Prefixes(24, 48))
        for hosts in (("192.0.2.1", "192.0.2.254", "::ffff:192.0.2.7"),
                      ("2001:db8::1", "2001:db8:0:7::1", "2001:db8:0:ffff::1")):  # fmt: skip
            found = [verdict for host in hosts for verdict in entered(policy, host)]
            self.assertEqual(found, [None, None, SOURCE_LIMIT])
        self.assertEqual(
            entered(policy, "192.0.3.1") + entered(policy, "2001:db8:1::1"), [None] * 2
        )

    def test_leave(self) -> None:
        """A place that is given back can be taken again; a refusal takes none."""
        policy = self.policy(max_per_source=1, accept_rate=1000.0)
        reason, slot = policy.admit_connection(socket.AF_INET, ("192.0.2.1", PORT))
        assert reason is None and slot is not None
        refused = policy.admit_connection(socket.AF_INET, ("192.0.2.1", PORT))
        self.assertEqual(refused, (SOURCE_LIMIT, None))
        slot.leave()
        self.assertEqual(entered(policy, "192.0.2.1", 2), [None, SOURCE_LIMIT])


class CapacityTests(GuardedCase):
    """Tests for how many may be in."""

    def test_limits(self) -> None:
        """A service has its own limit within that of the daemon."""
        policy, other = self.policy(max_connections=2), self.policy()
        self.assertEqual([policy.capacity.limit, other.capacity.limit], [2, None])
        for _ in range(2):
            policy.capacity.enter()
        self.assertEqual([policy.capacity.is_full, other.capacity.is_full], [True, False])
        for _ in range(98):
            other.capacity.enter()
        self.assertEqual((self.daemon.occupancy, other.capacity.is_full), (100, True))


class DeadlineTests(GuardedCase):
    """Tests for how long a connection may take."""

    def test_taken_over(self) -> None:
        """Each deadline is that of its option."""
        options = AccessOptions(
            first_byte_timeout=1.0, idle_timeout=2.0, stall_timeout=3.0, lifetime=4.0
        )
        found = make_policy(options, self.daemon, self.clock, 5.0).deadlines
        self.assertEqual(found, Deadlines(1.0, 2.0, 3.0, 4.0, 5.0))

    def test_first_look(self) -> None:
        """
        The first look is when the first deadline can be over, and early enough to see
        whether anything has moved; without deadlines there is none.
        """
        table = [
            (Deadlines(), 0.0),
            (Deadlines(first_byte=1.0, idle=300.0), 1.0),
            (Deadlines(first_byte=60.0, idle=80.0), 80.0 / CHECKS_PER_DEADLINE),
            (Deadlines(first_byte=60.0, stall=8.0), 8.0 / CHECKS_PER_DEADLINE),
            (Deadlines(lifetime=5.0), 5.0),
            (Deadlines(handshake=5.0), 0.0),
        ]
        self.assertEqual([(given, given.first_check) for given, _ in table], table)


class GuardTests(GuardedCase):
    """Tests for L{make_guard}."""

    def guard(
        self,
        options: str = "",
        host: str = "192.0.2.9",
        family: int = socket.AF_INET,
        protocol: str = "echo",
        own_ports: tuple[int, ...] = (),
    ) -> Any:
        """Make one from the text of options; its socket is bound to C{host} by its word."""
        text = f"[{protocol}]\nlisten = udp:7\n{options}\n"
        service = parse(text, "FILE", installed(), "/run/test").services[0]
        sock: Any = mock.Mock(spec=socket.socket, family=family)
        sock.getsockname.return_value = host, 7
        addresses = LocalAddresses(frozenset(map(packed, OWN)))
        return make_guard(service, sock, self.clock, lambda: own_ports, lambda: addresses)

    def judged(self, hosts: tuple[str, ...], options: str = "", **how: Any) -> set[str | None]:
        """Collect the verdicts on hosts."""
        guard = self.guard(options, **how)
        return {guard.check_static(packed(host), PORT) for host in hosts}

    def test_unix(self) -> None:
        """A UNIX socket has none."""
        self.assertIsNone(self.guard(family=socket.AF_UNIX))

    def test_default_networks(self) -> None:
        """
        Where nothing is said, datagrams are served to loopback, private networks and the
        addresses of this machine; not to those that C{deny} has.
        """
        self.assertEqual(self.judged(PRIVATE + OWN), {None})
        self.assertEqual(self.judged(PUBLIC), {NETWORK})
        self.assertEqual(self.judged(OWN, f"deny = {', '.join(OWN)}"), {NETWORK})
        self.assertEqual(self.judged(LOOPBACK, host="127.0.0.1"), {None})
        self.assertEqual(self.judged(LOOPBACK), {SOURCE_ADDRESS})

    def test_networks(self) -> None:
        """Else to the networks of the options; an empty C{allow} is none."""
        self.assertEqual(self.judged(PUBLIC + PRIVATE, "allow = any"), {None})
        self.assertEqual(self.judged(PUBLIC, "allow = any\ndeny = 192.0.2.0/24, 2001:db8::/32"),
                         {NETWORK})  # fmt: skip
        self.assertEqual(self.judged(PRIVATE, "allow = 192.0.2.0/24"), {NETWORK})
        self.assertEqual(self.judged(OWN, "allow = private"), {NETWORK})
        self.assertEqual(self.judged(PRIVATE + PUBLIC, "allow ="), {NETWORK})

    def test_ports(self) -> None:
        """
        Reserved ports and our own may not ask, but for those that a protocol names; for ntp
        all may, because a translator gives a client any port.
        """
        for protocol, verdict in (("echo", SOURCE_PORT), ("ntp", None)):
            guard = self.guard(protocol=protocol, own_ports=(PORT,))
            ports = (RESERVED_PORT, PORT, PORT + 1)
            found = [guard.check_static(packed("10.0.0.1"), port) for port in ports]
            self.assertEqual(found, [verdict, verdict, None], protocol)

    def test_guard_loopback(self) -> None:
        """Loopback is exempt unless C{guard_loopback} is on."""
        for option, exempt in (("no", True), ("yes", False)):
            guard = self.guard(f"guard_loopback = {option}", host="127.0.0.1")
            self.assertEqual(guard.is_exempt(packed("127.0.0.1")), exempt)

    def test_rates(self) -> None:
        """The rates are those of the options, each for what it is named after."""
        guard = self.guard("udp_rate = 2/s\nudp_burst = 3\nudp_service_rate = 5/s")
        found = [guard._sources.spend(b"source", self.clock.seconds()) for _ in range(4)]
        self.assertEqual(found, [True] * 3 + [False])
        self.clock.advance(0.5)
        self.assertTrue(guard._sources.spend(b"source", self.clock.seconds()))
        keys = [guard.rate_keys(packed(f"10.0.{number}.1")) for number in range(6)]
        found = [guard.check_rate(one) is None for one in keys]
        self.assertEqual(found, [True] * 5 + [False])
        self.assertEqual(guard.check_rate(guard.rate_keys(packed("10.0.9.1"))), SERVICE_RATE)

    def test_prefix(self) -> None:
        """A source is as wide as C{source_prefix} says."""
        guard = self.guard("udp_rate = 1/m\nudp_burst = 1\nsource_prefix = 16:32")
        guard._random = lambda: 0.99
        hosts = ("10.1.0.1", "10.1.255.1", "2001:db8::1", "2001:db8:ffff::1", "10.2.0.1")
        found = [guard.check_rate(guard.rate_keys(packed(host))) is None for host in hosts]
        self.assertEqual(found, [True, False, True, False, True])
