"""Tests for L{socketd.settings.networks}."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.networks import (
    ANY,
    INTERNAL,
    NETWORKS,
    PREFIXES,
    WORDS,
    Prefixes,
    is_public,
    network_words,
    parse_networks,
)
from tests.settings.refusals import refusal

#: Text, networks.
GOOD = [
    ("", []),
    ("192.0.2.7", ["192.0.2.7/32"]),
    ("192.0.2.0/24", ["192.0.2.0/24"]),
    ("192.0.2.0/255.255.255.0", ["192.0.2.0/24"]),
    ("0.0.0.0/0", ["0.0.0.0/0"]),
    ("2001:db8::1", ["2001:db8::1/128"]),
    ("2001:DB8::/32", ["2001:db8::/32"]),
    ("192.0.2.7, 2001:db8::/32\n198.51.100.0/24",
     ["192.0.2.7/32", "2001:db8::/32", "198.51.100.0/24"]),
    ("192.0.2.7 198.51.100.0/24\t2001:db8::/32",
     ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"]),
    ("any", ["0.0.0.0/0", "::/0"]),
    ("loopback", ["127.0.0.0/8", "::1/128"]),
    ("loopback, 192.0.2.7", ["127.0.0.0/8", "::1/128", "192.0.2.7/32"]),
    ("private", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                 "100.64.0.0/10", "fc00::/7", "fe80::/10"]),
    # IPv4-mapped networks are IPv4 networks.
    ("::ffff:192.0.2.7", ["192.0.2.7/32"]),
    ("::ffff:192.0.2.0/120", ["192.0.2.0/24"]),
    ("::ffff:c000:207", ["192.0.2.7/32"]),
    ("::ffff:0:0/96", ["0.0.0.0/0"]),
    # These reach beyond the mapped ones, or lie beside them.
    ("::/0", ["::/0"]),
    ("::fffe:0:0/95", ["::fffe:0:0/95"]),
    ("::192.0.2.7", ["::c000:207/128"]),
]  # fmt: skip

_EXAMPLE = "write 192.0.2.0/24 or 2001:db8::/32"

#: Text, complaint.
BAD = [
    ("192.0.2.7/24", "has 192.0.2.7/24, with bits set after its prefix; write 192.0.2.0/24"),
    ("2001:db8::1/32", "has 2001:db8::1/32, with bits set after its prefix; write 2001:db8::/32"),
    ("192.0.2.0/33", f"has 192.0.2.0/33, which is not a network; {_EXAMPLE}"),
    ("2001:db8::/129", f"has 2001:db8::/129, which is not a network; {_EXAMPLE}"),
    ("192.0.2", f"has 192.0.2, which is not a network; {_EXAMPLE}"),
    ("10", f"has 10, which is not a network; {_EXAMPLE}"),
    ("010.0.0.0/8", f"has 010.0.0.0/8, which is not a network; {_EXAMPLE}"),
    ("192.0.2.0/24/7", f"has 192.0.2.0/24/7, which is not a network; {_EXAMPLE}"),
    ("example.com", f"has example.com, which is not a network; {_EXAMPLE}"),
    ("any, 192.0.2.256, 1.2.3", f"has 192.0.2.256, which is not a network; {_EXAMPLE}"),
    ("lopback", "has lopback, which is not a network; did you mean loopback?"),
    ("Any", "has Any, which is not a network; did you mean any?"),
    ("everybody", "has everybody, which is not a network; known are any, loopback, private"),
]

#: Text, lengths.
GOOD_PREFIXES = [
    ("32:64", Prefixes()),
    ("24:48", Prefixes(24, 48)),
    ("1:1", Prefixes(1, 1)),
    ("32:128", Prefixes(32, 128)),
]

_NO_PAIR = "is not a pair of prefix lengths; write 32:64"
_NO_RANGE = "is out of range; write 1 to 32, a colon, and 1 to 128"

#: Text, complaint.
BAD_PREFIXES = [
    ("", _NO_PAIR),
    ("32", _NO_PAIR),
    (":", _NO_PAIR),
    ("32:", _NO_PAIR),
    (":64", _NO_PAIR),
    ("32:64:1", _NO_PAIR),
    ("32/64", _NO_PAIR),
    ("-1:64", _NO_PAIR),
    ("32: 64", _NO_PAIR),
    ("32:6\u0664", _NO_PAIR),
    ("0:64", _NO_RANGE),
    ("33:64", _NO_RANGE),
    ("32:0", _NO_RANGE),
    ("32:129", _NO_RANGE),
]


class NetworksTests(SynchronousTestCase):
    """Tests for L{parse_networks}."""

    def test_good(self) -> None:
        """Networks, addresses and words are read; IPv4 in IPv6 becomes IPv4."""
        found = [(text, [str(network) for network in parse_networks(text)]) for text, _ in GOOD]
        self.assertEqual(found, GOOD)

    def test_bad(self) -> None:
        """What is no network is refused, with what would be one."""
        found = [(text, refusal(NETWORKS.parse, text)) for text, _ in BAD]
        self.assertEqual(found, BAD)

    def test_families(self) -> None:
        """A network has the class of its family."""
        kinds = [type(network) for network in parse_networks("any, ::ffff:192.0.2.0/120")]
        self.assertEqual(kinds, [IPv4Network, IPv6Network, IPv4Network])

    def test_words(self) -> None:
        """Each word can be written, and the constants stand for the words they say."""
        for word in WORDS:
            self.assertEqual(parse_networks(word), network_words(word))
        self.assertEqual(ANY, parse_networks("any"))
        self.assertEqual(set(INTERNAL), set(parse_networks("loopback, private")))


class PublicTests(SynchronousTestCase):
    """Tests for L{is_public}."""

    def test_table(self) -> None:
        """A network is public unless it lies within loopback or a private network."""
        inner = ["127.0.0.1/32", "10.0.0.0/8", "10.1.0.0/16", "fe80::/64", "::1/128", "fd00::/8"]
        outer = ["0.0.0.0/0", "::/0", "8.0.0.0/6", "192.0.2.1/32", "172.0.0.0/8", "::/127",
                 "fe00::/8", "2001:db8::/32"]  # fmt: skip
        self.assertEqual([text for text in inner if is_public(ip_network(text))], [])
        self.assertEqual([text for text in outer if not is_public(ip_network(text))], [])


class PrefixesTests(SynchronousTestCase):
    """Tests for L{Prefixes} and how they are written."""

    def test_good(self) -> None:
        """Two lengths with a colon are read, and written as they were."""
        for text, prefixes in GOOD_PREFIXES:
            self.assertEqual(PREFIXES.parse(text), prefixes)
            self.assertEqual(str(prefixes), text)

    def test_bad(self) -> None:
        """Anything else is refused, and so is a length that a family does not have."""
        found = [(text, refusal(PREFIXES.parse, text)) for text, _ in BAD_PREFIXES]
        self.assertEqual(found, BAD_PREFIXES)
