"""The TLS options of a service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from attrs import frozen

from socketd.common.host_names import is_host_name
from socketd.settings.options import option
from socketd.settings.value_types import (
    DURATION,
    ValueType,
    choice,
    one_file,
    parse_list,
    parse_path,
)

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)
# The local part has no colon, so that a URI does not match.
_MAIL = re.compile(r"[!-9;-?A-~]+@([!-?A-~]+)", re.ASCII)

#: The longest protocol name in bytes: its length field is one byte (RFC 7301, 3.1).
_MAX_ALPN = 255

#: Keeps the protocol list within the extension's two-byte length (RFC 7301, 3.1).
_MAX_ALPN_NAMES = 64

_WILDCARD = "*."


@frozen(order=True)
class PeerName:
    """
    A subject alternative name of a certificate (RFC 5280, 4.2.1.6), in canonical form.

    @ivar kind: C{dns}, C{uri}, C{ip} or C{email}.
    @ivar value: the name; C{dns} in lower case, C{ip} in compressed form.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        """Format it as in the file."""
        return self.value


@frozen
class NamedCertificate:
    """
    The certificate for one server name (SNI).

    @ivar name: in lower case; a leading C{*.} matches exactly one label.
    @ivar key: the path of its private key; that of the certificate if no key is given.
    """

    name: str
    certificate: str
    key: str


def _parse_path(text: str) -> str:
    """Parse the path of a PEM file."""
    if not text or "\n" in text or "\0" in text:
        raise ValueError("is not a path; write that of a PEM file")
    return parse_path(text)


def _parse_alpn(text: str) -> tuple[bytes, ...]:
    """Parse the ALPN protocol names (RFC 7301)."""
    names = parse_list(text)
    for name in names:
        if not name.isascii() or not name.isprintable() or len(name) > _MAX_ALPN or " " in name:
            raise ValueError(f"has {name!r}, which is not a protocol; write such as http/1.1")
    if len(set(names)) < len(names):
        raise ValueError("has a name twice")
    if len(names) > _MAX_ALPN_NAMES:
        raise ValueError(f"has more than {_MAX_ALPN_NAMES} names")
    return tuple(name.encode() for name in names)


def _parse_client_name(name: str) -> PeerName:
    try:
        return PeerName("ip", str(ip_address(name)))
    except ValueError:
        pass
    if "*" in name:
        raise ValueError(f"has {name}, a wildcard; write each name in full")
    if is_host_name(name.lower(), underscores=True):
        return PeerName("dns", name.lower())
    mail = _MAIL.fullmatch(name)
    if mail is not None and is_host_name(mail[1].lower(), underscores=True):
        return PeerName("email", name)
    if _URI.fullmatch(name):
        return PeerName("uri", name)
    raise ValueError(
        f"has {name!r}, which is not a name; write such as host.example.org, spiffe://org/name,"
        " 192.0.2.7 or user@example.org"
    )


def _parse_names(text: str) -> tuple[NamedCertificate, ...]:
    """Parse C{NAME = CERT.pem [KEY.pem]}, one per line."""
    found: dict[str, NamedCertificate] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        named = _parse_named(line)
        if named.name in found:
            raise ValueError(f"has {named.name} twice")
        found[named.name] = named
    return tuple(found.values())


def _parse_named(line: str) -> NamedCertificate:
    name, equals, rest = line.partition("=")
    name, paths = name.strip().lower(), rest.split()
    if not equals or len(paths) not in (1, 2) or "\0" in rest:
        raise ValueError(f"has {line!r}; write NAME = CERT.pem [KEY.pem], one per line")
    if not is_host_name(name.removeprefix(_WILDCARD), underscores=True):
        raise ValueError(
            f"has {name!r}, which is not a name; write such as www.example.org or *.example.org,"
            " and other scripts as xn--"
        )
    return NamedCertificate(name, parse_path(paths[0]), parse_path(paths[-1]))


def _named_files(text: str) -> Iterator[str]:
    """List the files of C{NAME = CERT.pem [KEY.pem]}."""
    for line in text.split("\n"):
        yield from line.partition("=")[2].split()


_PATH = ValueType("path of a PEM file", _parse_path, one_file)
_ALPN = ValueType("list of protocols (one per line, or with commas)", _parse_alpn)
_CLIENT_NAMES = ValueType(
    "list of names (host, URI, address, user@host)",
    lambda text: frozenset(map(_parse_client_name, parse_list(text))),
)
_NAMES = ValueType("NAME = CERT.pem [KEY.pem], one per line", _parse_names, _named_files)


@frozen
class TlsOptions:
    """
    The TLS options of a service.

    An empty path or list means that the option is not set.
    """

    tls_certificate: str = option(
        _PATH, "", "The certificate chain of the server, its own first; used even when expired."
    )
    tls_key: str = option(
        _PATH, "", "The key of the server; by default in the file of the certificate."
    )
    tls_minimum: str = option(choice("1.2", "1.3"), "1.2", "The lowest version of TLS.")
    tls_alpn: tuple[bytes, ...] = option(
        _ALPN, (), "The application protocols (ALPN), the preferred one first; others are refused."
    )
    tls_client_ca: str = option(
        _PATH,
        "",
        "The certificate authorities of clients; each client then needs a certificate, and no"
        " session is resumed.",
    )
    tls_client_names: frozenset[PeerName] = option(
        _CLIENT_NAMES,
        frozenset(),
        "The clients that are served, by a name in their certificate; all by default.",
    )
    tls_names: tuple[NamedCertificate, ...] = option(
        _NAMES,
        (),
        "Further certificates, by the server name (SNI) that a client asks for; with them no"
        " session is resumed.",
    )
    tls_unknown_name: str = option(
        choice("default", "refuse"),
        "default",
        "What a client that asks for another name gets: tls_certificate, or an alert.",
    )
    handshake_timeout: float = option(
        DURATION, 5.0, "The time limit for the PROXY header and the handshake of a connection."
    )
