"""
Converts the addresses of xinetd's C{only_from} and C{no_access} to networks in CIDR notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

from attrs import frozen

from socketd.cli.migrate.model import Place, shown
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
    """
    One address of an access list.

    @ivar text: the text in the file.
    @ivar networks: the networks that it matches; empty for a name, which needs a resolver.
    @ivar place: its place in the file.
    """

    text: str
    networks: tuple[Network, ...]
    place: Place


Sources = tuple[Source, ...]


def changed(sources: Sources, attribute: Attribute, is_cumulative: bool) -> Sources:
    """
    Apply one line to an access list.

    @param is_cumulative: whether C{=} adds, as it does in C{defaults}.
    @raise ValueError: when an address is invalid.
    """
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
    @raise ValueError: when it is invalid; the text is the reason.
    """
    if "{" in text:
        return _factorised(text)
    if "," in text:
        raise ValueError(f"{shown([text])} has a comma; xinetd wants spaces")
    if "/" in text:
        return (_masked(text),)
    if ":" in text:
        return (IPv6Network(_address6(text)),)
    if text.lower() in LOCAL_NAMES:
        return LOCALHOST
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{shown([text])} is neither an address nor a name")
    return _numeric(text) if text.replace(".", "").isdigit() else ()


def _numeric(text: str) -> tuple[Network, ...]:
    address = _address4(text)
    if not int(address):
        return ANY
    zeros = 0
    while not address.packed[3 - zeros]:
        zeros += 1
    return (IPv4Network((int(address), 32 - 8 * zeros)),)


def _factorised(text: str) -> tuple[Network, ...]:
    match = _FACTORISED.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown([text])} is no list in braces; 192.0.2.{{1,2}} would be right")
    parts = match[1].count(".")
    zeros = ".0" * (3 - parts)
    addresses = (_address4(f"{match[1]}{last}{zeros}") for last in match[2].split(","))
    return tuple(IPv4Network((int(address), 8 * (parts + 1))) for address in addresses)


def _masked(text: str) -> Network:
    match = _MASKED.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown([text])} is no network; ADDRESS/BITS would be right")
    address = _address6(match[1]) if ":" in match[1] else _address4(match[1])
    if int(match[2]) > address.max_prefixlen:
        raise ValueError(f"{shown([text])} has more bits than an address")
    return ip_network(f"{address}/{int(match[2])}", strict=False)


def _address4(text: str) -> IPv4Address:
    # Leading zeros are rejected: xinetd reads them as octal in one place and ignores them in
    # another.
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError(f"{shown([text])} is no address of four numbers up to 255") from None


def _address6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise ValueError(f"{shown([text])} is no IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError(f"{shown([text])} has a scope, which a network cannot have")
    return address
