"""Tests for L{socketd.access.networks}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.networks import Networks
from socketd.settings.networks import ANY, INTERNAL, parse_networks

#: Allowed, denied, admitted addresses, refused addresses.
NETWORKS = [
    ("any", "", "192.0.2.1 ::1 2001:db8::1 255.255.255.255", ""),
    ("", "", "", "192.0.2.1 ::1 127.0.0.1"),
    ("", "any", "", "192.0.2.1 ::1"),
    ("any", "any", "", "192.0.2.1 ::1"),
    ("0.0.0.0/0", "", "192.0.2.1 ::ffff:192.0.2.1", "::1"),
    ("::/0", "", "::1", "192.0.2.1 ::ffff:192.0.2.1"),
    ("loopback", "", "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1",
     "126.255.255.255 128.0.0.0 ::2"),
    ("private", "", "10.1.2.3 172.31.255.255 fe80::1%eth0 fd00::1 100.64.0.1 100.127.255.255",
     "172.32.0.0 11.0.0.0 fec0::1 100.63.255.255 100.128.0.0"),
    ("any", "192.0.2.0/24", "192.0.1.255 192.0.3.0 ::1", "192.0.2.0 192.0.2.255"),
    # The longer match wins, whichever list it is in.
    ("192.0.2.7", "192.0.2.0/24", "192.0.2.7", "192.0.2.6 192.0.2.8"),
    ("any, 192.0.2.64/26", "192.0.2.0/24, 192.0.2.65", "192.0.2.64 192.0.2.127",
     "192.0.2.63 192.0.2.65 192.0.2.128"),
    ("2001:db8:1::/48", "2001:db8::/32", "2001:db8:1::1", "2001:db8:2::1"),
    # A tie is a refusal.
    ("192.0.2.0/24", "192.0.2.0/24", "", "192.0.2.1"),
    ("any, 192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.7"),
    # Networks that are IPv4 in IPv6 are IPv4 networks.
    ("::ffff:192.0.2.0/120", "", "192.0.2.9 ::ffff:192.0.2.9", "192.0.3.1"),
    # The same bits in the other family are another network.
    ("2001:db8::/32", "", "2001:db8::1", "32.1.13.184"),
]  # fmt: skip


class NetworksTests(SynchronousTestCase):
    """Tests for L{Networks}."""

    def test_table(self) -> None:
        """The longer match wins, a tie is a refusal, what matches nothing is refused."""
        for allow, deny, admitted, refused in NETWORKS:
            networks = Networks(parse_networks(allow), parse_networks(deny))
            for host in admitted.split():
                self.assertTrue(networks.admits(packed(host)), (allow, deny, host))
            for host in refused.split():
                self.assertFalse(networks.admits(packed(host)), (allow, deny, host))

    @given(
        some.lists(some.tuples(some.booleans(), some.integers(0, 15), some.integers(0, 4))),
        some.integers(0, 15),
    )
    @settings(max_examples=100, deadline=None)
    def test_as_by_hand(self, lists: list[tuple[bool, int, int]], low: int) -> None:
        """The verdict is that of a search through all networks, one by one."""
        texts: dict[bool, list[str]] = {True: [], False: []}
        best, expected = -1, False
        for verdict, bits, length in lists:
            network = bits >> (4 - length) << (4 - length)
            texts[verdict].append(f"192.0.2.{network}/{28 + length}")
            if low >> (4 - length) == network >> (4 - length) and length >= best:
                expected = verdict and (expected or length > best)
                best = length
        networks = Networks(*(parse_networks(",".join(texts[key])) for key in (True, False)))
        self.assertEqual(networks.admits(packed(f"192.0.2.{low}")), expected)

    def test_internal(self) -> None:
        """The networks of the machine itself and its neighbours are not the public."""
        networks = Networks(ANY, INTERNAL)
        hosts = ["127.0.0.1", "10.0.0.1", "::1", "fe80::1%eth0", "192.0.2.1", "2001:db8::1"]
        found = [networks.admits(packed(host)) for host in hosts]
        self.assertEqual(found, [False] * 4 + [True] * 2)
