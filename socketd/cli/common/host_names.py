"""
The names that a certificate is for: DNS names, wildcards and IP addresses, as text.
"""

from __future__ import annotations

import ipaddress
import re

MAX_NAME = 253
"""
The characters of a DNS name, without the final dot: what its 255 bytes on the wire leave.
"""

WILDCARD_LABELS = 3
"""
The labels of a wildcard, the star included: no client takes C{*.com} for a server's name.
"""

RIGHT = "a DNS name, *.DOMAIN or an IP address would be right"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def is_ip_address(text: str) -> bool:
    """
    Tell an IP address from a name.

    @param text: either; an IPv6 address without brackets and zone.
    @return: whether it is an address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return getattr(address, "scope_id", None) is None


def parse_host(text: str) -> str:
    """
    Read a DNS name (RFC 1123, section 2.1) or an IP address.

    @param text: what was typed.
    @return: the same in its usual form: small letters, IPv6 shortened.
    @raise ValueError: with one sentence that says what is wrong and what would be right.
    """
    if is_ip_address(text):
        return str(ipaddress.ip_address(text))
    if text.startswith("["):
        raise ValueError(f"{text!r}: an IPv6 address without brackets would be right here")
    if not text.isascii():
        raise ValueError(f"{text!r} has other letters than ASCII; its xn-- form would be right")
    labels = text.lower().split(".")
    if len(text) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise ValueError(f"{text[:MAX_NAME]!r} is no name of a host; {RIGHT}")
    return text.lower()


def parse_name(text: str) -> str:
    """
    Read a name that a certificate may be for: one that L{parse_host} takes, or a wildcard for the
    first label (RFC 9525, section 6.3).

    @param text: what was typed.
    @return: the same in its usual form.
    @raise ValueError: with one sentence that says what is wrong and what would be right.
    """
    star, _, rest = text.partition(".")
    if star != "*":
        return parse_host(text)
    if is_ip_address(rest) or rest.count(".") + 2 < WILDCARD_LABELS:
        raise ValueError(f"{text!r} is too wide; *.example.com would be right")
    return f"*.{parse_host(rest)}"
