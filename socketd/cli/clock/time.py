"""C{socketd time}: query a time server, and compare its clock with the local one."""

from __future__ import annotations

import argparse
import time
from typing import Any

from attrs import evolve
from twisted.internet.error import ConnectionRefusedError

from socketd.cli.client.runner import run_client
from socketd.cli.clock import ntp_query
from socketd.cli.clock.ntp_query import NtpQuery, NtsProof
from socketd.cli.clock.time_query import AUTO, EPOCHS, query, read_daytime, read_reply
from socketd.cli.common.address import MAX_PORT, Address, parse, parse_bare_host
from socketd.cli.common.arguments import ADDRESS_HELP, add_timeout, argument_type, whole_number
from socketd.cli.common.output import emit, note
from socketd.cli.transport.connect import load_tls
from socketd.cli.transport.error_text import explain
from socketd.cli.transport.tls_options import add_tls, tls_options
from socketd.common.errors import USAGE, CommandError

NTP_PORT = 123

#: Where keys for NTS are given (RFC 8915, section 7.1).
NTS_PORT = 4460

#: What stands before the host of an NTP server.
NTP_PREFIX = "ntp:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "address", metavar="ADDRESS", type=argument_type(parse_address),
        help=f"ntp:HOST or ntp:HOST:PORT for NTP, else {ADDRESS_HELP}",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--samples", type=whole_number(ntp_query.MAX_SAMPLES),
        help=f"how often an NTP server is asked (default {ntp_query.DEFAULT_SAMPLES}); the sample"
        " with the shortest round trip counts",
    )  # fmt: skip
    parser.add_argument(
        "--nts", action="store_true",
        help="have the NTP server prove its answers (RFC 8915): HOST gives keys over TLS 1.3,"
        " verified as the options for TLS say",
    )  # fmt: skip
    parser.add_argument(
        "--nts-port", metavar="PORT", type=whole_number(MAX_PORT),
        help=f"with --nts: the port that gives keys (default {NTS_PORT})",
    )  # fmt: skip
    parser.add_argument(
        "--epoch", choices=[AUTO, *EPOCHS], default=AUTO,
        help="what the server counts from: 1970 (unix) or 1900 (RFC 868); by default the one "
        "that comes nearest to our own clock",
    )  # fmt: skip
    add_timeout(parser, "fail when there is no answer for so long")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """Query the server, print the result, and return the exit status."""
    is_ntp = arguments.address.text.startswith(NTP_PREFIX)
    _check_arguments(arguments, is_ntp)
    if arguments.nts:
        return _run_nts(arguments)
    return _run_ntp(arguments) if is_ntp else _run_time(arguments)


def _check_arguments(arguments: argparse.Namespace, is_ntp: bool) -> None:
    """Refuse options that have no meaning for the server."""
    if is_ntp and arguments.epoch != AUTO:
        raise CommandError("NTP has no other epoch: leave out --epoch", USAGE)
    if not is_ntp and (arguments.samples or arguments.nts or arguments.nts_port):
        raise CommandError("--samples, --nts and --nts-port go with ntp:HOST", USAGE)
    if arguments.nts_port and not arguments.nts:
        raise CommandError("--nts-port needs --nts", USAGE)
    if arguments.nts and (arguments.tls or arguments.alpn):
        raise CommandError("--nts chooses TLS and its protocol: leave out --tls, --alpn", USAGE)
    if is_ntp and not arguments.nts and _names_tls(arguments):
        raise CommandError("plain NTP has no TLS: add --nts for that of NTS", USAGE)


def _names_tls(arguments: argparse.Namespace) -> bool:
    try:
        return tls_options(arguments) is not None
    except CommandError:
        return True


def _run_time(arguments: argparse.Namespace) -> int:
    tls = load_tls(arguments)

    async def client(reactor: Any) -> None:
        try:
            reply = await query(reactor, arguments.address, arguments.timeout, tls=tls)
        except (CommandError, ConnectionRefusedError) as error:
            raise CommandError(f"{explain(error)}{_hint(arguments.address)}") from error
        measured = read_daytime(reply) or read_reply(reply, arguments.epoch)
        if measured.hint:
            note(measured.hint)
        emit(measured.render(arguments.json))

    return run_client(arguments.address, client)


def parse_address(text: str) -> Address:
    """Parse an address; C{ntp:HOST} is UDP at port 123, each other kind has to name its port."""
    if not text.startswith(NTP_PREFIX):
        try:
            return parse(text)
        except ValueError as error:
            is_host = parse_bare_host(text, "udp", NTP_PORT) is not None
            hint = f"; an NTP server is ntp:{text}" if is_host else ""
            raise ValueError(f"{error}{hint}") from None
    rest = text.removeprefix(NTP_PREFIX)
    try:
        found = parse_bare_host(rest, "udp", NTP_PORT) or parse(f"udp:{rest}")
    except ValueError:
        # Its own message speaks of the address over UDP, which was not typed.
        right = "ntp:HOST or ntp:HOST:PORT, with a port from 1 to 65535, would be right"
        raise ValueError(f"{text!r} is no NTP server; {right}") from None
    return Address(text, found.scheme, found.host, found.port)


def _run_ntp(arguments: argparse.Namespace) -> int:
    """Ask an NTP server, print what it says, and return the exit status."""

    async def client(reactor: Any) -> None:
        samples = arguments.samples or ntp_query.DEFAULT_SAMPLES
        found = await ntp_query.query_ntp(reactor, arguments.address, samples, arguments.timeout)
        _print(arguments, found)

    return run_client(arguments.address, client)


def _run_nts(arguments: argparse.Namespace) -> int:
    """Get keys for an NTP server and ask it, print what it says, and return the exit status."""
    # Lazy: they import cryptography, which takes 0.1 s.
    from socketd.cli.clock.nts_query import query_nts
    from socketd.cli.transport.tls import load
    from socketd.protocols.clock.nts_records import ALPN

    ntp: Address = arguments.address
    address = Address(ntp.text, "tls", ntp.host, arguments.nts_port or NTS_PORT)
    given = vars(arguments) | {"address": address, "alpn": [ALPN.encode()]}
    options = tls_options(argparse.Namespace(**given))
    assert options is not None
    tls = load(evolve(options, is_newest=True))
    count = arguments.samples or ntp_query.DEFAULT_SAMPLES

    async def client(reactor: Any) -> None:
        asked = address, tls, ntp.port, count, arguments.timeout
        found, server = await query_nts(reactor, *asked)
        proof = NtsProof(address.place, server.place, options.is_verified)
        _print(arguments, found, proof)

    return run_client(ntp, client)


def _print(arguments: argparse.Namespace, found: NtpQuery, proof: NtsProof | None = None) -> None:
    render = ntp_query.render_json if arguments.json else ntp_query.render_table
    emit(render(found.samples, found.sent, time.time(), proof))


def _hint(address: Address) -> str:
    """Suggest another service after an error."""
    if address.port == NTP_PORT:
        return f"; port 123 is NTP's: write ntp:{address.host}"
    if address.scheme in ("tcp", "tcp6"):
        host_and_port = address.text.removeprefix(f"{address.scheme}:")
        return f"; a server that is asked by UDP is udp:{host_and_port}"
    return ""
