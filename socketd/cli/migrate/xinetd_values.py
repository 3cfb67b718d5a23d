"""
Parsers for the values of xinetd's attributes.

All raise C{ValueError} when xinetd would reject the values; keywords are case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from socketd.cli.migrate.model import (
    MAX_CAP,
    ListenAddress,
    bound,
    parse_count,
    parse_interface,
    rate_options,
)

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
    count = parse_count(text)
    if not count:
        raise ValueError(text)
    return {option: str(count)} if count <= MAX_CAP else {}


def _parse_rate(values: Values) -> dict[str, str]:
    count, _ = map(parse_count, values)
    return rate_options(count, "s")


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
) -> tuple[ListenAddress, ...]:
    """Parse the address to bind to."""
    (text,) = values
    interface = parse_interface(text)
    families = families_of(interface, flags, v6only)
    # A wildcard address only selects the family.
    is_all = not isinstance(interface, str) and not int(interface)
    explicit = "IPV4" in flags or "IPV6" in flags
    return bound(protocol, port, "" if is_all else str(interface), families, explicit)


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
