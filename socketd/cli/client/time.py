"""C{socketd time}: query a time server, and compare its clock with the local one."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.python.failure import Failure

from socketd.cli.client.runner import run_client
from socketd.cli.client.time_reply import (
    AUTO,
    EPOCH_NAMES,
    EPOCHS,
    REPLY_BYTES,
    RESOLUTION,
    Moment,
    Reading,
    Reply,
    nearest_epoch,
    read_reply,
)
from socketd.cli.common.address import Address
from socketd.cli.common.arguments import add_address, add_timeout
from socketd.cli.common.output import emit, note
from socketd.cli.transport.asking import Question, no_answer
from socketd.cli.transport.connect import connect_stream, open_datagrams, secure
from socketd.cli.transport.error_text import explain
from socketd.cli.transport.stream import StreamLink
from socketd.cli.transport.tls_options import add_tls, tls_options
from socketd.common import table
from socketd.common.errors import CommandError

if TYPE_CHECKING:
    from socketd.cli.transport.tls import Security

NAME = "time"
HELP = "ask a time server: its time, the round trip and the offset of our clock"

#: Maximum bytes to read of a stream that is not a time reply, before it is reported by its length.
MAX_REPLY = 64 * 1024

NTP_PORT = 123

WallClock = Callable[[], float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments of the subcommand.

    @param parser: the parser of this subcommand.
    """
    add_address(parser)
    parser.add_argument(
        "--epoch",
        choices=[AUTO, *EPOCHS],
        default=AUTO,
        help="what the server counts from: 1970 (unix) or 1900 (RFC 868); by default the one "
        "that comes nearest to our own clock",
    )
    add_timeout(parser, "fail when there is no answer for so long")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Query the server, and print the result.

    @param arguments: the parsed command line.
    @return: the exit status.
    """

    security = secure(tls_options(arguments))

    async def client(reactor: Any) -> None:
        reply = await _ask_or_hint(reactor, arguments, security)
        reading = read_reply(reply, arguments.epoch)
        _doubt(reading)
        render = render_json if arguments.json else render_table
        emit(render(reading))

    return run_client(arguments.address, client)


async def _ask_or_hint(
    reactor: Any, arguments: argparse.Namespace, security: Security | None
) -> Reply:
    """Call L{ask}, and add a hint about other services to its errors."""
    address = arguments.address
    try:
        return await ask(reactor, address, arguments.timeout, security=security)
    except (CommandError, ConnectionRefusedError) as error:
        hint = _hint(address)
        if not hint:
            raise
        raise CommandError(f"{explain(error)}; {hint}") from error


def _hint(address: Address) -> str:
    if address.port == NTP_PORT:
        return "port 123 is NTP's, which this command does not speak"
    if address.scheme in ("tcp", "tcp6"):
        place = address.text.removeprefix(f"{address.scheme}:")
        return f"a server that is asked by UDP is udp:{place}"
    return ""


def _doubt(reading: Reading) -> None:
    """Report when the other epoch would make the offset smaller."""
    nearest = nearest_epoch(reading.number, reading.unix - reading.offset)
    if nearest != reading.epoch:
        note(f"the server seems to count from {EPOCH_NAMES[nearest]}: --epoch {nearest}")


def render_table(reading: Reading) -> str:
    """
    Render a reading as a table.

    @param reading: the reading.
    @return: lines.
    """
    rows = [
        ("number", f"{reading.number}, seconds since {EPOCH_NAMES[reading.epoch]}"),
        ("round trip", f"{reading.round_trip * 1000:.3f} ms"),
        ("offset", f"{reading.offset:+.3f} s, resolution {RESOLUTION} s"),
    ]
    return table.render(("local time", _local_time(reading.unix)), rows)


def render_json(reading: Reading) -> str:
    """
    Render a reading as JSON.

    @param reading: the reading.
    @return: one line.
    """
    shown = {
        "local_time": _local_time(reading.unix),
        "unix": reading.unix,
        "number": reading.number,
        "epoch": reading.epoch,
        "round_trip_ms": round(reading.round_trip * 1000, 3),
        "offset_seconds": round(reading.offset, 6),
        "resolution_seconds": RESOLUTION,
    }
    return json.dumps(shown) + "\n"


def _local_time(unix: int) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y %Z", time.localtime(unix))


async def ask(
    reactor: Any,
    address: Address,
    timeout: float,
    wall: WallClock = time.time,
    security: Security | None = None,
) -> Reply:
    """
    Query a time server: read a stream until EOF, or send an empty datagram and wait for the reply.

    @param reactor: the reactor, which also has the monotonic clock.
    @param address: the server.
    @param timeout: seconds to wait; 0 for no limit.
    @param wall: the wall clock.
    @param security: adds TLS to a stream; C{None} for plain text.
    @return: the reply.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """

    def now() -> Moment:
        return Moment(wall(), reactor.seconds())

    if address.is_datagram:
        return await _ask_datagram(reactor, address, timeout, now)
    return await _ask_stream(reactor, address, timeout, now, security)


async def _ask_datagram(
    reactor: Any, address: Address, timeout: float, now: Callable[[], Moment]
) -> Reply:
    question = Question()
    await open_datagrams(reactor, address, question.link)
    asked = now()
    data = await question.ask(reactor, b"", timeout)
    return Reply(data, asked, now())


async def _ask_stream(
    reactor: Any,
    address: Address,
    timeout: float,
    now: Callable[[], Moment],
    security: Security | None,
) -> Reply:
    listening = Listening(now)
    await connect_stream(reactor, address, listening.link, timeout, security)
    # The time of the request, for the round trip: the last packet of the handshake triggers the
    # reply.
    asked = now()
    if timeout:
        listening.done.addTimeout(timeout, reactor)
    try:
        await listening.done
    except TimeoutError:
        # The data counts as a reply even without EOF.
        if not listening.data:
            raise no_answer(timeout) from None
    return Reply(listening.data, asked, listening.received or now())


class Listening:
    """
    Receives the reply of a stream server, which sends it without a request.

    @ivar link: the transport, which must be connected.
    @ivar data: the received bytes.
    @ivar received: the time when the reply was complete.
    @ivar done: fires at EOF; fails when the connection is lost otherwise.
    """

    def __init__(self, now: Callable[[], Moment]) -> None:
        """
        Create the object, not yet connected.

        @param now: reads both clocks.
        """
        self.link = StreamLink(self)
        self.data = b""
        self.received: Moment | None = None
        self.done: Deferred[None] = Deferred()
        self._now = now

    def answered(self, data: bytes) -> None:
        """
        Append to the received bytes.

        @param data: bytes from the server.
        """
        self.data += data
        if len(self.data) >= REPLY_BYTES and self.received is None:
            self.received = self._now()
        if len(self.data) > MAX_REPLY:
            self.link.abort()
            self._end(None)

    def peer_ended(self) -> None:
        """End the reply."""
        self.link.close()
        self._end(None)

    def lost(self, reason: Failure) -> None:
        """
        End the reply.

        @param reason: why the connection ended.
        """
        self._end(None if reason.check(ConnectionDone) else reason)

    def _end(self, failure: Failure | None) -> None:
        if self.done.called:
            return
        if failure is None:
            self.done.callback(None)
        else:
            self.done.errback(failure)
