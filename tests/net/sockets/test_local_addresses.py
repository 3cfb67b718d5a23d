"""Tests for L{socketd.net.sockets.local_addresses}."""

from __future__ import annotations

from typing import Any
from unittest import mock

from ifaddr import IP, Adapter
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.datagram_guard import LocalAddresses
from socketd.net.sockets.local_addresses import REFRESH, HostAddresses, collect, scan

#: Address, length of its prefix, and the broadcast address of that subnet.
SUBNETS: list[tuple[Any, int, str | None]] = [
    ("127.0.0.1", 8, "127.255.255.255"),
    ("192.0.2.7", 24, "192.0.2.255"),
    ("192.0.2.7", 25, "192.0.2.127"),
    ("192.0.2.200", 25, "192.0.2.255"),
    ("10.1.2.3", 20, "10.1.15.255"),
    ("192.0.2.5", 30, "192.0.2.7"),
    ("192.0.2.5", 31, None),
    ("192.0.2.5", 32, None),
    ("192.0.2.5", 1, "255.255.255.255"),
    ("192.0.2.5", 0, "255.255.255.255"),
    (("2001:db8::1", 0, 0), 24, None),
    (("fe80::1", 0, 4), 64, None),
    (("::1", 0, 0), 128, None),
]


#: What two scans may find.
ONE = LocalAddresses(frozenset([packed("192.0.2.1")]), frozenset([packed("192.0.2.255")]))
OTHER = LocalAddresses(frozenset([packed("192.0.2.2")]))


class FindTests(SynchronousTestCase):
    """Tests for L{collect} and L{scan}."""

    def test_subnets(self) -> None:
        """Each address is found, and the broadcast address of each IPv4 subnet that has one."""
        for ip, prefix, broadcast in SUBNETS:
            host = ip if isinstance(ip, str) else ip[0]
            expected = LocalAddresses(
                frozenset([packed(host)]),
                frozenset([packed(broadcast)] if broadcast else []),
            )
            result = collect([Adapter("eth0", "eth0", [IP(ip, prefix, "eth0")])])
            self.assertEqual(result, expected, (ip, prefix))

    def test_all(self) -> None:
        """The addresses of all interfaces come together; one without any adds nothing."""
        adapters = [
            Adapter("lo", "lo", [IP("127.0.0.1", 8, "lo"), IP(("::1", 0, 0), 128, "lo")]),
            Adapter("down", "down", []),
            Adapter("eth0", "eth0", [IP(("fe80::1", 0, 2), 64, "eth0"), IP("10.0.0.1", 8, "e")]),
        ]
        result = collect(adapters)
        hosts = ("127.0.0.1", "::1", "fe80::1", "10.0.0.1")
        self.assertEqual(result.addresses, frozenset(map(packed, hosts)))
        subnets = ("127.255.255.255", "10.255.255.255")
        self.assertEqual(result.broadcasts, frozenset(map(packed, subnets)))

    def test_none(self) -> None:
        """A machine without interfaces has no addresses."""
        self.assertEqual(collect([]), LocalAddresses())

    def test_this_machine(self) -> None:
        """This machine's own addresses are packed, and loopback is among them."""
        result = scan()
        self.assertIn(packed("127.0.0.1"), result.addresses)
        self.assertTrue({len(address) for address in result.addresses} <= {4, 16})
        self.assertTrue({len(address) for address in result.broadcasts} <= {4})


class HostAddressesTests(SynchronousTestCase):
    """Tests for L{HostAddresses}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)

    def scanned(self, *answers: Any) -> tuple[HostAddresses, mock.Mock]:
        """Make one that has these answers from its scans."""
        read = mock.Mock(side_effect=answers)
        return HostAddresses(self.clock.seconds, read), read

    def test_first(self) -> None:
        """Nothing is read before the first use, and then once."""
        addresses, read = self.scanned(ONE)
        self.assertEqual(read.call_count, 0)
        self.assertEqual([addresses.current() for _ in range(2)], [ONE, ONE])
        self.assertEqual(read.call_count, 1)

    def test_refresh(self) -> None:
        """They are read again when they are old enough, not before."""
        addresses, read = self.scanned(ONE, OTHER)
        self.assertEqual(addresses.current(), ONE)
        self.clock.advance(REFRESH - 0.001)
        self.assertEqual((addresses.current(), read.call_count), (ONE, 1))
        self.clock.advance(0.001)
        self.assertEqual((addresses.current(), read.call_count), (OTHER, 2))

    def test_failure(self) -> None:
        """When reading fails, what was known stays, and it is tried again later only."""
        for problem in (OSError(), ValueError(), AssertionError("no netmask")):
            addresses, read = self.scanned(ONE, problem, OTHER)
            self.assertEqual(addresses.current(), ONE)
            self.clock.advance(REFRESH)
            self.assertEqual([addresses.current() for _ in range(5)], [ONE] * 5)
            self.assertEqual(read.call_count, 2)
            self.clock.advance(REFRESH)
            self.assertEqual(addresses.current(), OTHER)

    def test_failure_at_first(self) -> None:
        """When even the first reading fails, nothing is known."""
        self.assertEqual(self.scanned(OSError())[0].current(), LocalAddresses())

    def test_machine(self) -> None:
        """Unless told otherwise, it reads those of this machine."""
        self.assertIn(packed("127.0.0.1"), HostAddresses(self.clock.seconds).current().addresses)
