"""Tests for L{socketd.access.addresses}."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import canonical, make_source_key, packed
from socketd.settings.networks import Prefixes

#: How the kernel names an address, and its bytes.
HOSTS = [
    ("0.0.0.0", "00000000"),
    ("192.0.2.1", "c0000201"),
    ("255.255.255.255", "ffffffff"),
    ("::ffff:192.0.2.1", "c0000201"),
    ("::ffff:0.0.0.0", "00000000"),
    ("::", "00" * 16),
    ("::1", "00" * 15 + "01"),
    ("::192.0.2.1", "00" * 12 + "c0000201"),
    ("::fffe:192.0.2.1", "00" * 10 + "fffec0000201"),
    ("1::ffff:192.0.2.1", "0001" + "00" * 8 + "ffffc0000201"),
    ("fe80::1%eth0", "fe80" + "00" * 13 + "01"),
    ("fe80::1%4", "fe80" + "00" * 13 + "01"),
    ("fe80::1%a%b", "fe80" + "00" * 13 + "01"),
    ("::ffff:192.0.2.1%eth0", "c0000201"),
    ("2001:db8::1", "20010db8" + "00" * 11 + "01"),
]

#: What no kernel names.
NO_HOSTS = [
    "", "unix", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", ":", "%eth0", "1:2", "::1 "
]  # fmt: skip

#: Prefixes, address, and the address that names its source.
KEYS = [
    (Prefixes(), "192.0.2.1", "192.0.2.1"),
    (Prefixes(), "::ffff:192.0.2.1", "192.0.2.1"),
    (Prefixes(), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
    # All hosts of a link have the same prefix.
    (Prefixes(), "fe80::1%eth0", "fe80::1"),
    (Prefixes(24, 48), "febf::1", "febf::1"),
    (Prefixes(), "fec0::1", "fec0::"),
    (Prefixes(24, 48), "192.0.2.255", "192.0.2.0"),
    (Prefixes(24, 48), "2001:db8:1:2::1", "2001:db8:1::"),
    (Prefixes(25, 50), "192.0.2.255", "192.0.2.128"),
    (Prefixes(25, 50), "192.0.2.127", "192.0.2.0"),
    (Prefixes(25, 50), "2001:db8:1:ffff::1", "2001:db8:1:c000::"),
    (Prefixes(1, 1), "192.0.2.255", "128.0.0.0"),
    (Prefixes(1, 1), "ffff::1", "8000::"),
    (Prefixes(31, 127), "192.0.2.255", "192.0.2.254"),
    (Prefixes(31, 127), "::ff", "::fe"),
    (Prefixes(32, 128), "::ff", "::ff"),
    # IPv4 and IPv6 prefixes of as many bits.
    (Prefixes(32, 32), "32.1.13.184", "32.1.13.184"),
    (Prefixes(32, 32), "2001:db8::1", "2001:db8::"),
]


class PackedTests(SynchronousTestCase):
    """Tests for L{packed} and L{canonical}."""

    def test_hosts(self) -> None:
        """Addresses are packed, without scope, and IPv4 in IPv6 as IPv4."""
        found = [(host, packed(host).hex()) for host, _ in HOSTS]
        self.assertEqual(found, HOSTS)

    def test_no_hosts(self) -> None:
        """What is no address is refused."""
        for host in NO_HOSTS:
            self.assertRaises(OSError, packed, host)

    @given(some.ip_addresses())
    @settings(max_examples=50, deadline=None)
    def test_any(self, address: Any) -> None:
        """Every address is packed as the standard library packs it."""
        mapped = getattr(address, "ipv4_mapped", None)
        self.assertEqual(packed(str(address)), (mapped or address).packed)

    def test_canonical(self) -> None:
        """Only an IPv4-mapped address is changed."""
        mapped = ip_address("::ffff:192.0.2.1").packed
        self.assertEqual(canonical(mapped), packed("192.0.2.1"))
        for host in ("192.0.2.1", "::1", "::192.0.2.1"):
            self.assertEqual(canonical(ip_address(host).packed), ip_address(host).packed)


class SourceKeyTests(SynchronousTestCase):
    """Tests for L{make_source_key}."""

    def test_table(self) -> None:
        """The bits behind the prefix are 0."""
        for prefixes, host, key in KEYS:
            found = make_source_key(prefixes)(packed(host))
            self.assertEqual(found, packed(key), (prefixes, host))

    def test_every_length(self) -> None:
        """Every length keeps as many bits as it says."""
        for bits in range(1, 33):
            key = make_source_key(Prefixes(bits, 64))(b"\xff" * 4)
            self.assertEqual(int.from_bytes(key, "big"), 2**32 - 2 ** (32 - bits))
        for bits in range(1, 129):
            key = make_source_key(Prefixes(32, bits))(b"\xff" * 16)
            self.assertEqual(int.from_bytes(key, "big"), 2**128 - 2 ** (128 - bits))
