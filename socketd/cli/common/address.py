"""The ADDRESS argument of the client subcommands, parsed without a reactor."""

from __future__ import annotations

import ipaddress
import os
import re

from attrs import evolve, frozen

from socketd.common.host_names import bracketed

HOST_SCHEMES = ("tcp", "tcp6", "tls", "tls6", "udp", "udp6")
PATH_SCHEMES = ("unix", "unixgram")
DATAGRAM_SCHEMES = ("udp", "udp6", "unixgram")
TLS_SCHEMES = ("tls", "tls6")
ENDPOINT_SCHEMES = ("tcp", "tls", "unix")
ENDPOINT = "endpoint"
VALID = "HOST:PORT, [V6]:PORT, a path or udp:HOST:PORT"
MAX_PORT = 65535

#: Bytes of C{sun_path} without the terminating NUL on Linux; other systems have fewer, none more.
MAX_PATH = 107

_ENDPOINT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:.*:|.*=).*", re.DOTALL)
_HOST = re.compile(r"[^\s:=/\[\]\x00]+")
_PORT_FIELD = re.compile(r":(?:port=)?([0-9]+)(?=:|$)")


@frozen
class Address:
    """
    The destination of a client.

    @ivar text: the address as typed, for messages.
    @ivar host: name or IP address, for L{HOST_SCHEMES}.
    @ivar path: the socket's path, for L{PATH_SCHEMES}; Twisted's string, for L{ENDPOINT}.
    """

    text: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_datagram(self) -> bool:
        """Whether the transport preserves message boundaries."""
        return self.scheme in DATAGRAM_SCHEMES

    @property
    def is_tls(self) -> bool:
        """Whether the transport is TLS."""
        return self.scheme in TLS_SCHEMES

    @property
    def place(self) -> str:
        """Host and port, for L{HOST_SCHEMES}."""
        return f"{bracketed(self.host)}:{self.port}"


def parse(text: str) -> Address:
    """
    Parse an address.

    @param text: C{HOST:PORT}, C{[V6]:PORT}, a path (which contains a slash or begins with a dot),
        one of these with a prefix C{tcp: tcp6: tls: tls6: udp: udp6: unix: unixgram:}, or a
        client endpoint string of Twisted.
    @raise ValueError: with one sentence that names the error and a valid form.
    """
    scheme, _, rest = text.partition(":")
    if not text:
        raise ValueError(f"an empty address; {VALID} would be right")
    if rest.startswith("//"):
        raise ValueError(f"{text!r} is a URL; {VALID} would be right")
    if _is_bare_v6(rest if scheme in HOST_SCHEMES else text):
        raise ValueError(f"{text!r} is an IPv6 address without brackets; write [V6]:PORT")
    if scheme in HOST_SCHEMES + PATH_SCHEMES:
        if scheme in ENDPOINT_SCHEMES and re.search(r"[=\\]", rest):
            return _endpoint(text)
        return (_path_address if scheme in PATH_SCHEMES else _host_address)(text, scheme, rest)
    if "/" in scheme or text.startswith("."):
        return _path_address(text, "unix", text)
    if not text.startswith("[") and _ENDPOINT.fullmatch(text):
        return _endpoint(text)
    return _host_address(text, "tcp", text)


def parse_bare_host(text: str, scheme: str, port: int) -> Address | None:
    """Parse a host that is typed without its port; C{None} if the text is none."""
    host = f"[{text}]" if text.count(":") > 1 and text[:1] != "[" else text
    try:
        return evolve(parse(f"{scheme}:{host}:{port}"), text=text)
    except ValueError:
        return None


def _host_address(text: str, scheme: str, rest: str) -> Address:
    valid = f"{scheme}:HOST:PORT" if text != rest else VALID
    if rest.startswith("["):
        host, port = _split_bracketed(text, rest)
    else:
        host, colon, port = rest.rpartition(":")
        if not colon:
            raise ValueError(f"{text!r} has no port; {valid} would be right")
        if not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} has no valid host name; {valid} would be right")
    return Address(text, scheme, host=host, port=_parse_port(text, port))


def _split_bracketed(text: str, rest: str) -> tuple[str, str]:
    host, bracket, port = rest[1:].partition("]")
    if not bracket or not port.startswith(":"):
        raise ValueError(f"{text!r} has no port after the bracket; [V6]:PORT would be right")
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        message = f"{text!r}: {host!r} is no IPv6 address; [::1]:80 would be right"
        raise ValueError(message) from None
    return host, port[1:]


def _parse_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit()):
        raise ValueError(f"{text!r}: {port!r} is no port number; 1 to {MAX_PORT} would be right")
    # int() rejects thousands of digits with a message about integer conversion.
    number = int(port[:9])
    if len(port) > 9 or not 1 <= number <= MAX_PORT:
        raise ValueError(f"{text!r}: port {port[:20]} is out of range; 1 to {MAX_PORT} is right")
    return number


def _path_address(text: str, scheme: str, path: str) -> Address:
    if not path or "\0" in path:
        raise ValueError(f"{text!r} has no path; {scheme}:/run/a.sock would be right")
    if len(os.fsencode(path)) > MAX_PATH:
        raise ValueError(f"{text!r} is too long a path; at most {MAX_PATH} bytes would be right")
    return Address(text, scheme, path=path)


def _endpoint(text: str) -> Address:
    for port in _PORT_FIELD.findall(text):
        _parse_port(text, port)
    return Address(text, ENDPOINT, path=text)


def _is_bare_v6(text: str) -> bool:
    return _is_v6(text) or _is_v6(text.rpartition(":")[0])


def _is_v6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
