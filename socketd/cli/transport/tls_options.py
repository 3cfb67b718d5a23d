"""TLS arguments of the client subcommands; does not import OpenSSL."""

from __future__ import annotations

import argparse

from attrs import frozen

from socketd.cli.common.address import ENDPOINT, Address
from socketd.cli.common.arguments import argument_type
from socketd.common.errors import USAGE, CommandError
from socketd.common.host_names import MAX_NAME, is_ip_address, parse_host

#: Maximum bytes of an ALPN protocol name, whose length field is one byte (RFC 7301, section 3.1).
MAX_PROTOCOL = 255

#: Maximum number of offered ALPN protocols: no server knows more, and all must fit one
#: ClientHello.
MAX_PROTOCOLS = 16

#: The options that need TLS.
NEEDS_TLS = (
    "--ca", "--server-name", "--cert", "--key", "--alpn", "--insecure", "--verbose", "--pause",
)  # fmt: skip


@frozen
class ClientTlsOptions:
    """
    The TLS options of a client.

    @ivar name: the DNS name or IP address that the server's certificate must match; empty only if
        the server is not verified.
    @ivar authorities: a file of trusted CA certificates; empty for the system's.
    @ivar protocols: the ALPN protocols to offer, in order of preference.
    @ivar is_newest: whether TLS 1.3 is the only version.
    """

    name: str
    authorities: str = ""
    certificate: str = ""
    key: str = ""
    protocols: tuple[bytes, ...] = ()
    is_verified: bool = True
    is_verbose: bool = False
    is_newest: bool = False


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Add the TLS arguments to the parser of a subcommand."""
    group = parser.add_argument_group("TLS")
    group.add_argument("--tls", action="store_true", help="speak TLS, as tls:HOST:PORT does")
    group.add_argument(
        "--ca", metavar="FILE", help="trust these authorities, not those of the system"
    )
    group.add_argument(
        "--server-name", metavar="NAME", type=argument_type(parse_host),
        help="the name or IP address that the server's certificate must be for, "
        "where that is not the HOST that is dialed",
    )  # fmt: skip
    group.add_argument("--cert", metavar="FILE", help="our certificate and its chain")
    group.add_argument("--key", metavar="FILE", help="its key (default: in the file of --cert)")
    group.add_argument(
        "--alpn", metavar="NAME", type=_protocol, action="append",
        help="offer this protocol; more than once: the best first",
    )  # fmt: skip
    group.add_argument(
        "--insecure", action="store_true", help="verify nothing: the server may be an impostor"
    )
    group.add_argument(
        "-v", "--verbose", action="store_true",
        help="tell on standard error what was agreed on and whose the certificate is",
    )  # fmt: skip


def tls_options(arguments: argparse.Namespace) -> ClientTlsOptions | None:
    """Check and combine the TLS arguments; C{None} for no TLS."""
    address: Address = arguments.address
    if not (arguments.tls or address.is_tls):
        for option in NEEDS_TLS:
            value = getattr(arguments, option.removeprefix("--").replace("-", "_"), None)
            # By identity, because a pause of 0 seconds equals False.
            if value is not None and value is not False:
                _refuse(f"{option} needs --tls, or tls:HOST:PORT for an address")
        return None
    if address.is_datagram:
        _refuse(f"--tls does not go with {address.scheme}: TLS needs a stream")
    if address.scheme == ENDPOINT:
        _refuse("--tls goes with HOST:PORT or a path, not with an endpoint string of Twisted")
    if arguments.insecure and arguments.ca:
        _refuse("--insecure does not go with --ca: it verifies nothing")
    if arguments.key and not arguments.cert:
        _refuse("--key needs --cert")
    protocols = tuple(arguments.alpn or ())
    if len(protocols) > MAX_PROTOCOLS:
        _refuse(f"--alpn {len(protocols)} times; up to {MAX_PROTOCOLS} times would be right")
    return ClientTlsOptions(
        name=_name(address, arguments),
        authorities=arguments.ca or "",
        certificate=arguments.cert or "",
        key=arguments.key or arguments.cert or "",
        protocols=protocols,
        is_verified=not arguments.insecure,
        is_verbose=arguments.verbose,
    )


def _name(address: Address, arguments: argparse.Namespace) -> str:
    given: str | None = arguments.server_name
    if given is not None:
        return given
    # Zone and trailing dot are local to host and resolver; no certificate has either.
    host = address.host.partition("%")[0].removesuffix(".").lower()
    if not host and not arguments.insecure:
        _refuse("--tls over a UNIX socket needs --server-name")
    # IDNA 2003 and 2008 differ, and the verified name must be the one that was resolved.
    if not host.isascii() or "\0" in host:
        _refuse(f"{address.text!r} has other letters than ASCII; its xn-- form would be right")
    if len(host) > MAX_NAME and not is_ip_address(host):
        _refuse(f"{address.text[:60]!r}... is too long a name")
    return host


def _refuse(message: str) -> None:
    raise CommandError(message, USAGE)


def _protocol(text: str) -> bytes:
    name = text.encode("utf-8", "surrogateescape")
    if not 1 <= len(name) <= MAX_PROTOCOL:
        message = f"a protocol of {len(name)} bytes; 1 to {MAX_PROTOCOL} would be right"
        raise argparse.ArgumentTypeError(message)
    return name
