"""C{socketd time}: query a time server, and compare its clock with the local one."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.client.runner import run_client
from socketd.cli.clock import ntp_reply
from socketd.cli.clock.ntp_query import DEFAULT_SAMPLES, MAX_SAMPLES, query_ntp
from socketd.cli.clock.time_reply import (
    AUTO,
    EPOCH_NAMES,
    EPOCHS,
    REPLY_BYTES,
    RESOLUTION,
    DaytimeMeasurement,
    Measurement,
    TimeReply,
    Timestamp,
    local_time,
    nearest_epoch,
    read_daytime,
    read_reply,
)
from socketd.cli.common.address import Address, parse
from socketd.cli.common.arguments import (
    ADDRESS_HELP,
    add_timeout,
    argument_type,
    whole_number,
)
from socketd.cli.common.output import emit, note
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.error_text import explain, no_answer
from socketd.cli.transport.interface import Receiver
from socketd.cli.transport.tls_options import add_tls, tls_options
from socketd.common import table
from socketd.common.errors import USAGE, CommandError

if TYPE_CHECKING:
    from socketd.cli.transport.tls import ClientTls

NAME = "time"
HELP = "ask a time server: its time, the round trip and the offset of our clock"

#: Maximum bytes to read of a stream that is not a time reply, before it is reported by its length.
MAX_REPLY = 64 * 1024

NTP_PORT = 123

#: What stands before the host of an NTP server.
NTP_PREFIX = "ntp:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "address", metavar="ADDRESS", type=argument_type(parse_address),
        help=f"ntp:HOST or ntp:HOST:PORT for NTP, else {ADDRESS_HELP}",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--samples", type=whole_number(MAX_SAMPLES),
        help=f"how often an NTP server is asked (default {DEFAULT_SAMPLES}); the sample with the"
        " shortest round trip counts",
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
    if is_ntp and (tls_options(arguments) or arguments.epoch != AUTO):
        raise CommandError("NTP has neither TLS nor another epoch", USAGE)
    if arguments.samples and not is_ntp:
        raise CommandError("only an NTP server is asked several times: ntp:HOST", USAGE)
    return _run_ntp(arguments) if is_ntp else _run_time(arguments)


def _run_time(arguments: argparse.Namespace) -> int:
    tls = load_tls(arguments)

    async def client(reactor: Any) -> None:
        try:
            reply = await query(reactor, arguments.address, arguments.timeout, tls=tls)
        except (CommandError, ConnectionRefusedError) as error:
            raise CommandError(f"{explain(error)}{_hint(arguments.address)}") from error
        found = read_daytime(reply)
        if found is not None:
            emit(daytime_json(found) if arguments.json else daytime_table(found))
            return
        measured = read_reply(reply, arguments.epoch)
        _check_epoch(measured)
        emit(render_json(measured) if arguments.json else render_table(measured))

    return run_client(arguments.address, client)


def parse_address(text: str) -> Address:
    """Parse an address; C{ntp:HOST} is UDP at port 123, each other kind has to name its port."""
    if not text.startswith(NTP_PREFIX):
        try:
            return parse(text)
        except ValueError as error:
            hint = f"; an NTP server is ntp:{text}" if _is_host(text) else ""
            raise ValueError(f"{error}{hint}") from None
    rest = text.removeprefix(NTP_PREFIX)
    try:
        found = parse(f"udp:{_bracketed(rest)}:{NTP_PORT}" if _is_host(rest) else f"udp:{rest}")
    except ValueError:
        # Its own message speaks of the address over UDP, which was not typed.
        right = "ntp:HOST or ntp:HOST:PORT, with a port from 1 to 65535, would be right"
        raise ValueError(f"{text!r} is no NTP server; {right}") from None
    return Address(text, found.scheme, found.host, found.port)


def _is_host(text: str) -> bool:
    """Tell whether a text is a host without a port."""
    try:
        parse(f"udp:{_bracketed(text)}:{NTP_PORT}")
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and host[:1] != "[" else host


def _run_ntp(arguments: argparse.Namespace) -> int:
    """Ask an NTP server, print what it says, and return the exit status."""

    async def client(reactor: Any) -> None:
        samples = arguments.samples or DEFAULT_SAMPLES
        found = await query_ntp(reactor, arguments.address, samples, arguments.timeout)
        render = ntp_reply.render_json if arguments.json else ntp_reply.render_table
        emit(render(found.samples, found.sent, time.time()))

    return run_client(arguments.address, client)


def _hint(address: Address) -> str:
    """Suggest another service after an error."""
    if address.port == NTP_PORT:
        return f"; port 123 is NTP's: write ntp:{address.host}"
    if address.scheme in ("tcp", "tcp6"):
        host_and_port = address.text.removeprefix(f"{address.scheme}:")
        return f"; a server that is asked by UDP is udp:{host_and_port}"
    return ""


def _check_epoch(measured: Measurement) -> None:
    """Report when the other epoch would make the offset smaller."""
    nearest = nearest_epoch(measured.number, measured.unix - measured.offset)
    if nearest != measured.epoch:
        note(f"the server seems to count from {EPOCH_NAMES[nearest]}: --epoch {nearest}")


def render_table(measured: Measurement) -> str:
    """Render a measurement as the lines of a table."""
    rows = [
        ("number", f"{measured.number}, seconds since {EPOCH_NAMES[measured.epoch]}"),
        ("round trip", f"{measured.round_trip * 1000:.3f} ms"),
        ("offset", f"{measured.offset:+.3f} s, resolution {RESOLUTION} s"),
    ]
    return table.render(("local time", local_time(measured.unix)), rows)


def render_json(measured: Measurement) -> str:
    """Render a measurement as a line of JSON."""
    shown = {
        "local_time": local_time(measured.unix),
        "unix": measured.unix,
        "number": measured.number,
        "epoch": measured.epoch,
    }
    return json.dumps(shown | _figures(measured)) + "\n"


def daytime_table(measured: DaytimeMeasurement) -> str:
    """Render the line of a daytime server as the lines of a table."""
    found = measured.daytime
    known = "" if found.is_known else f", if {found.zone or 'its zone'} is UTC"
    rows = [
        ("text", measured.text),
        ("round trip", f"{measured.round_trip * 1000:.3f} ms"),
        ("offset", f"{measured.offset:+.3f} s, resolution {RESOLUTION} s{known}"),
    ]
    return table.render(("local time", local_time(found.unix)), rows)


def daytime_json(measured: DaytimeMeasurement) -> str:
    """Render it as a line of JSON."""
    found = measured.daytime
    shown = {
        "local_time": local_time(found.unix),
        "unix": found.unix,
        "text": measured.text,
        "zone": found.zone or None,
        "zone_known": found.is_known,
    }
    return json.dumps(shown | _figures(measured)) + "\n"


def _figures(measured: Measurement | DaytimeMeasurement) -> dict[str, float]:
    return {
        "round_trip_ms": round(measured.round_trip * 1000, 3),
        "offset_seconds": round(measured.offset, 6),
        "resolution_seconds": RESOLUTION,
    }


async def query(
    reactor: Any,
    address: Address,
    timeout: float,
    wall_clock: Callable[[], float] = time.time,
    tls: ClientTls | None = None,
) -> TimeReply:
    """
    Query a time server; a timeout of 0 is no limit.

    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    request = TimeRequest(lambda: Timestamp(wall_clock(), reactor.seconds()))
    await connect(reactor, address, request, timeout, tls)
    if timeout:
        request.done.addTimeout(timeout, reactor)
    try:
        await request.done
    except TimeoutError:
        # The data of a stream counts as a reply even without EOF.
        if not request.data:
            raise no_answer(timeout) from None
    return TimeReply(request.data, request.sent, request.received or request.now())


class TimeRequest(Receiver):
    """
    Sends an empty datagram, and receives the reply; a stream server replies without a request,
    until EOF.

    @ivar sent: when the request was sent. Over a stream this is the end of the handshake, whose
        last packet triggers the reply.
    """

    sent: Timestamp

    def __init__(self, now: Callable[[], Timestamp]) -> None:
        super().__init__()
        self.now = now
        self.data = b""
        self.received: Timestamp | None = None

    def connectionMade(self) -> None:
        self.sent = self.now()
        if self.transport.is_datagram:
            self.transport.write(b"")

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.received is None and (self.transport.is_datagram or len(self.data) >= REPLY_BYTES):
            self.received = self.now()
        if self.transport.is_datagram or len(self.data) > MAX_REPLY:
            self.transport.abortConnection()
            self._complete()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._complete()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            super().connectionLost(reason)

    def _complete(self) -> None:
        if not self.done.called:
            self.done.callback(None)
