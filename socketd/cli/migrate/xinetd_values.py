"""
Parsers for the values of xinetd's attributes.

All raise C{ValueError} when xinetd would reject the values; keywords are case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from attrs import frozen

from socketd.cli.migrate import model
from socketd.cli.migrate.xinetd_syntax import Attribute
from socketd.settings.networks import ANY, Network

LOCALHOST = (IPv4Network("127.0.0.1"), IPv6Network("::1"))
LOCAL_NAMES = ("localhost", "localhost.localdomain")

_FACTORISED = re.compile(r"((?:[0-9]{1,3}\.){0,3})\{([0-9]{1,3}(?:,[0-9]{1,3})*)\}")
_MASKED = re.compile(r"([0-9A-Fa-f:.]+)/([0-9]{1,3})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")

UNLIMITED = "UNLIMITED"
MAX_PORT = 65535

STREAM_FLAGS = {"NODELAY": "tcp_nodelay", "KEEPALIVE": "so_keepalive"}

#: The flags that are converted, or say what is always so here.
SILENT_FLAGS = ("IPV4", "IPV6", "REUSE")

#: The flag that refuses peers without identd.
IDENTIFIED = "IDONLY"

#: All flags of xinetd.conf(5); with any other, xinetd switches the service off.
FLAGS = (
    *STREAM_FLAGS, *SILENT_FLAGS, IDENTIFIED, "INTERCEPT", "LABELED", "NAMEINARGS", "NOLIBWRAP",
    "NORETRY", "SENSOR",
)  # fmt: skip

Values = tuple[str, ...]


@frozen
class Source:
    """One address of an access list; without networks a name, which needs a resolver."""

    text: str
    networks: tuple[Network, ...]
    place: model.Place


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


def parse_yes(values: Values) -> bool:
    """Parse yes or no."""
    return parse_word(("yes", "no"), values) == "yes"


def parse_word(right: Collection[str], values: Values) -> str:
    """Parse one of several words."""
    (word,) = values
    if word.lower() not in right:
        raise ValueError(word)
    return word.lower()


def _parse_cap(option: str, values: Values) -> dict[str, str]:
    """Parse a limit: no option where it is none, or above the highest that the daemon has."""
    (text,) = values
    if text.upper() == UNLIMITED:
        return {}
    count = model.parse_count(text)
    if not count:
        raise ValueError(text)
    return {option: str(count)} if count <= model.MAX_CAP else {}


def _parse_rate(values: Values) -> dict[str, str]:
    count, _ = map(model.parse_count, values)
    return model.rate_options(count, "s")


#: Parsers of limits by attribute; each returns options.
LIMITS: dict[str, Callable[[Values], dict[str, str] | None]] = {
    "instances": partial(_parse_cap, "max_connections"),
    "per_source": partial(_parse_cap, "max_per_source"),
    "cps": _parse_rate,
}


def parse_flags(values: Values) -> Values:
    """Parse flags: in upper case, without duplicates."""
    flags = tuple(dict.fromkeys(map(str.upper, values)))
    if not set(flags) <= set(FLAGS):
        raise ValueError(values)
    return flags


def parse_port(right: Collection[int], values: Values) -> int:
    """Parse one of several ports."""
    (text,) = values
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if port not in right:
        raise ValueError(text)
    return port


def parse_bind(
    protocol: str, port: int, flags: Values, v6only: bool, values: Values
) -> tuple[model.ListenAddress, ...]:
    """Parse the address to bind to."""
    (text,) = values
    interface = model.parse_interface(text)
    families = families_of(interface, flags, v6only)
    # A wildcard address only selects the family.
    is_all = not isinstance(interface, str) and not int(interface)
    explicit = "IPV4" in flags or "IPV6" in flags
    return model.bound(protocol, port, "" if is_all else str(interface), families, explicit)


def families_of(
    interface: IPv4Address | IPv6Address | str, flags: Values, v6only: bool
) -> tuple[str, ...]:
    """
    Choose the IP versions: with neither flag xinetd opens an IPv6 socket, which also serves IPv4
    unless v6only is set.

    @raise ValueError: when the interface does not match a flag.
    """
    if isinstance(interface, IPv4Address):
        if "IPV6" in flags:
            raise ValueError(interface)
        return ("4",)
    is_name = isinstance(interface, str)
    if "IPV4" in flags:
        if not is_name:
            raise ValueError(interface)
        return ("4",)
    if v6only or (is_name and interface and "IPV6" in flags):
        return ("6",)
    return ("4", "6")
