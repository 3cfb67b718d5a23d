"""Converts the addresses of xinetd's C{only_from} and C{no_access} to networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from attrs import frozen

from socketd.cli.migrate.model import Place
from socketd.cli.migrate.xinetd_syntax import Attribute

Network = IPv4Network | IPv6Network

ANY = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
LOCALHOST = (IPv4Network("127.0.0.1"), IPv6Network("::1"))
LOCAL_NAMES = ("localhost", "localhost.localdomain")

_FACTORISED = re.compile(r"((?:[0-9]{1,3}\.){0,3})\{([0-9]{1,3}(?:,[0-9]{1,3})*)\}")
_MASKED = re.compile(r"([0-9A-Fa-f:.]+)/([0-9]{1,3})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


@frozen
class Source:
    """One address of an access list; without networks a name, which needs a resolver."""

    text: str
    networks: tuple[Network, ...]
    place: Place


Sources = tuple[Source, ...]


def changed(sources: Sources, attribute: Attribute, is_cumulative: bool) -> Sources:
    """Apply one line to an access list; cumulative: C{=} adds, as in C{defaults}."""
    named = tuple(Source(text, parse(text), attribute.place) for text in attribute.values)
    if attribute.operator == "-=":
        gone = {_identity(source) for source in named}
        return tuple(source for source in sources if _identity(source) not in gone)
    if attribute.operator == "+=" or is_cumulative:
        return sources + named
    return named


def _identity(source: Source) -> tuple[Network, ...] | str:
    return source.networks or source.text.lower()


def written(sources: Iterable[Source]) -> str:
    """Format networks for the INI file, without duplicates."""
    networks = list(dict.fromkeys(n for source in sources for n in source.networks))
    if set(ANY) <= set(networks):
        return "any"
    return " ".join(_short(network) for network in networks)


def _short(network: Network) -> str:
    is_host = network.prefixlen == network.max_prefixlen
    return str(network.network_address if is_host else network)


def parse(text: str) -> tuple[Network, ...]:
    """
    Parse one address.

    Trailing zeros of an IPv4 address are wildcards, C{0.0.0.0} matches all addresses, and a list
    in braces is one network per item (xinetd.conf(5), C{only_from}).

    @return: networks; empty for the name of a host, domain or network.
    @raise ValueError: when it is invalid, or when xinetd reads it in two ways.
    """
    if "{" in text:
        return _factorised(text)
    if "/" in text:
        return (_masked(text),)
    if ":" in text:
        return (IPv6Network(_address6(text)),)
    if text.lower() in LOCAL_NAMES:
        return LOCALHOST
    if _NAME.fullmatch(text) is None:
        raise ValueError(text)
    return _numeric(text) if text.replace(".", "").isdigit() else ()


def _numeric(text: str) -> tuple[Network, ...]:
    # Leading zeros are rejected: xinetd reads them as octal in one place and ignores them in
    # another.
    address = IPv4Address(text)
    if not int(address):
        return ANY
    zeros = len(address.packed) - len(address.packed.rstrip(b"\0"))
    return (IPv4Network((int(address), 32 - 8 * zeros)),)


def _factorised(text: str) -> tuple[Network, ...]:
    match = _FACTORISED.fullmatch(text)
    if match is None:
        raise ValueError(text)
    parts = match[1].count(".")
    zeros = ".0" * (3 - parts)
    addresses = (IPv4Address(f"{match[1]}{last}{zeros}") for last in match[2].split(","))
    return tuple(IPv4Network((int(address), 8 * (parts + 1))) for address in addresses)


def _masked(text: str) -> Network:
    match = _MASKED.fullmatch(text)
    if match is None:
        raise ValueError(text)
    address = _address6(match[1]) if ":" in match[1] else IPv4Address(match[1])
    return ip_network(f"{address}/{int(match[2])}", strict=False)


def _address6(text: str) -> IPv6Address:
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError(text)
    return address
