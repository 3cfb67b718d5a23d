"""Host names, wildcards and IP addresses as text: as certificates and listeners have them."""

from __future__ import annotations

import ipaddress
import re

#: Characters of a DNS name (RFC 1035, 2.3.4) without the final dot; it has 255 bytes on the wire.
MAX_NAME = 253

#: Minimum labels of a wildcard, including the star: no client accepts C{*.com}.
WILDCARD_LABELS = 3

#: Ends an error message.
RIGHT = "a DNS name, *.DOMAIN or an IP address would be right"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def is_host_name(text: str, underscores: bool = False) -> bool:
    """
    Whether a text in lower case is a host name (RFC 1123, 2.1).

    @param underscores: whether labels may have them, as service names do.
    """
    label = _SERVICE_LABEL if underscores else _LABEL
    return len(text) <= MAX_NAME and all(map(label.fullmatch, text.split(".")))


def is_ip_address(text: str) -> bool:
    """Whether a text is an IP address; IPv6 without brackets and zone."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return getattr(address, "scope_id", None) is None


def bracketed(host: str) -> str:
    """Write a host as it precedes a port: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def parse_host(text: str) -> str:
    """
    Parse a host name or an IP address.

    @return: its canonical form: lower case, IPv6 compressed.
    @raise ValueError: with one sentence that names the error and a valid form.
    """
    if is_ip_address(text):
        return str(ipaddress.ip_address(text))
    if text.startswith("["):
        raise ValueError(f"{text!r}: an IPv6 address without brackets would be right here")
    if not text.isascii():
        raise ValueError(f"{text!r} has other letters than ASCII; its xn-- form would be right")
    if not is_host_name(text.lower()) or text.rpartition(".")[2].isdigit():
        raise ValueError(f"{text[:MAX_NAME]!r} is no host name; {RIGHT}")
    return text.lower()


def parse_name(text: str) -> str:
    """
    Parse a certificate name: a host as in L{parse_host}, or a wildcard as the first label
    (RFC 9525, section 6.3).

    @return: its canonical form.
    @raise ValueError: with one sentence that names the error and a valid form.
    """
    star, _, rest = text.partition(".")
    if star != "*":
        return parse_host(text)
    if is_ip_address(rest) or rest.count(".") + 2 < WILDCARD_LABELS:
        raise ValueError(f"{text!r} is too wide; *.example.com would be right")
    return f"*.{parse_host(rest)}"
