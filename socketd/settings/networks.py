"""Parses networks (CIDR) and prefix lengths."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

from attrs import frozen

from socketd.settings.diagnostics import nearest
from socketd.settings.value_types import ValueType, parse_list

Network = IPv4Network | IPv6Network

#: Named groups of networks (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3; RFC 1918; RFC 3927; RFC
#: 6598, which carrier-grade NAT and Tailscale use; RFC 4193; RFC 4291, 2.5.6).
WORDS = {
    "any": ("0.0.0.0/0", "::/0"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "100.64.0.0/10", "fc00::/7", "fe80::/10",
    ),
}

_FORM = re.compile(r"[0-9A-Fa-f:.]+(/([0-9]{1,3}|255\.[0-9.]+))?", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")


def network_words(*words: str) -> tuple[Network, ...]:
    """List the networks of named groups."""
    return tuple(ip_network(text) for word in words for text in WORDS[word])


#: All networks that do not count as public.
INTERNAL = network_words("loopback", "private")

ANY = network_words("any")


@frozen
class Prefixes:
    """The prefix lengths that define one source; a customer of IPv6 has a /64 or a shorter one."""

    ipv4: int = 32
    ipv6: int = 64

    def __str__(self) -> str:
        """Format it as in the file."""
        return f"{self.ipv4}:{self.ipv6}"


def parse_networks(text: str) -> tuple[Network, ...]:
    """
    Parse networks: C{192.0.2.0/24 2001:db8::/32 192.0.2.7 any loopback private}.

    IPv4-mapped networks become IPv4 networks, since IPv4 peers of IPv6 sockets are matched
    as IPv4.

    @raise ValueError: names the first invalid item.
    """
    return tuple(network for item in parse_list(text, r"[,\s]") for network in _item(item))


def is_public(network: Network) -> bool:
    """Whether a network is not contained in L{INTERNAL}."""
    return not any(
        network.version == inner.version and network.subnet_of(inner)  # type: ignore[arg-type]
        for inner in INTERNAL
    )


def _item(item: str) -> tuple[Network, ...]:
    if item in WORDS:
        return network_words(item)
    try:
        if _FORM.fullmatch(item) is None:
            raise ValueError("a scope, or a mask that is no number of bits")
        network = ip_network(item)
    except ValueError as error:
        if "host bits" in str(error):
            right = _canonical(ip_network(item, strict=False))
            message = f"has {item}, with bits set after its prefix; write {right}"
            raise ValueError(message) from None
        hint = nearest(item, WORDS) if item.isalpha() else "write 192.0.2.0/24 or 2001:db8::/32"
        raise ValueError(f"has {item}, which is not a network; {hint}") from None
    return (_canonical(network),)


def _canonical(network: Network) -> Network:
    """Convert an IPv4-mapped network to IPv4."""
    if not isinstance(network, IPv6Network) or not network.subnet_of(_MAPPED):
        return network
    address = network.network_address.ipv4_mapped
    return IPv4Network((int(address or 0), network.prefixlen - _MAPPED.prefixlen))


def _parse_prefixes(text: str) -> Prefixes:
    if re.fullmatch(r"[0-9]{1,3}:[0-9]{1,3}", text) is None:
        raise ValueError("is not a pair of prefix lengths; write 32:64")
    ipv4, ipv6 = text.split(":")
    if not (1 <= int(ipv4) <= 32 and 1 <= int(ipv6) <= 128):
        raise ValueError("is out of range; write 1 to 32, a colon, and 1 to 128")
    return Prefixes(int(ipv4), int(ipv6))


NETWORKS = ValueType("networks (192.0.2.0/24 2001:db8::/32 any loopback private)", parse_networks)
PREFIXES = ValueType("prefix lengths (32:64)", _parse_prefixes)
