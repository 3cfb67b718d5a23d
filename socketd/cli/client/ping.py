"""C{socketd ping}: measure round trips to an echo service."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from socketd.cli.client.echo_probe import MAX_IN_FLIGHT, EchoProbe, FloodProbe, Plan
from socketd.cli.client.round_trip_stats import RoundTripStats, histogram, render, render_json
from socketd.cli.client.runner import run_client
from socketd.cli.client.send import MAX_DATAGRAM_PAYLOAD
from socketd.cli.common.address import Address, parse, parse_bare_host
from socketd.cli.common.arguments import ADDRESS_HELP, argument_type, seconds, whole_number
from socketd.cli.common.output import emit, note
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.interface import Receiver
from socketd.cli.transport.tls_options import add_tls, tls_options
from socketd.common.errors import FAILED, GOOD, USAGE, CommandError

if TYPE_CHECKING:
    from socketd.cli.client.stamp.probe import StampPlan
    from socketd.cli.transport.tls import ClientTls

DEFAULT_COUNT = 5
#: The same with C{--flood}: long enough to show a rate, less than a second on a fast path.
FLOOD_COUNT = 1000
#: Maximum number of requests: more would be a load test, and the times of so many take 32 MB.
MAX_COUNT = 1_000_000

DEFAULT_INTERVAL = 0.2
DEFAULT_TIMEOUT = 2.0
#: Bytes per request, as C{ping} of iputils sends.
DEFAULT_SIZE = 56

#: Bytes per request, for streams too, so that unsent data fits the write buffer of the daemon.
MAX_SIZE = MAX_DATAGRAM_PAYLOAD

#: The port of STAMP reflectors (RFC 8762, section 4.1).
STAMP_PORT = 862

#: A DSCP has six bits (RFC 2474), an SSID 16, and 0 is none (RFC 8972, section 3).
MAX_DSCP = 63
MAX_SSID = 65535

#: Seconds between progress messages.
PROGRESS_SECONDS = 5.0

P = TypeVar("P", bound=Receiver)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "address", metavar="ADDRESS", type=argument_type(parse_address), help=ADDRESS_HELP
    )
    parser.add_argument(
        "-c", "--count", type=whole_number(MAX_COUNT),
        help=f"how many questions (default {DEFAULT_COUNT}; {FLOOD_COUNT} with --flood)",
    )  # fmt: skip
    parser.add_argument(
        "-f", "--flood", action="store_true",
        help="the next one at each answer, and after 10 ms without any, with up to"
        f" {MAX_IN_FLIGHT} unanswered",
    )  # fmt: skip
    parser.add_argument(
        "-i", "--interval", metavar="SECONDS", type=seconds, default=DEFAULT_INTERVAL,
        help=f"from one to the next (default {DEFAULT_INTERVAL:g}; 0: as soon as it is answered)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_positive_seconds, default=DEFAULT_TIMEOUT,
        help=f"a question without answer is lost then (default {DEFAULT_TIMEOUT:g})",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--size", metavar="BYTES", type=whole_number(MAX_SIZE),
        help=f"the length of each question (default {DEFAULT_SIZE}; 60 with --stamp, 148 with"
        " --keys)",
    )  # fmt: skip
    _add_stamp(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_tls(parser)


def _add_stamp(parser: argparse.ArgumentParser) -> None:
    """Declare what is for reflectors of STAMP."""
    parser.add_argument(
        "--stamp", action="store_true",
        help="measure loss and delay on each way against a reflector of STAMP or TWAMP Light, over"
        f" UDP; HOST alone is port {STAMP_PORT}",
    )  # fmt: skip
    parser.add_argument(
        "--dscp", metavar="NUMBER", type=whole_number(MAX_DSCP, 0), default=0,
        help=f"with --stamp: the DSCP of the packets, 0 to {MAX_DSCP} (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--ssid", metavar="NUMBER", type=whole_number(MAX_SSID), default=0,
        help=f"with --stamp: the number of the session, 1 to {MAX_SSID} (default none)",
    )  # fmt: skip
    parser.add_argument(
        "--keys", metavar="FILE",
        help="with --stamp: authenticate packets, and take authentic answers only; the file is"
        " that of the reflector, with lines SSID KEY",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run the measurement; the exit status is 1 when no correct reply came."""
    if arguments.stamp:
        return _run_stamp(arguments)
    for name in ("dscp", "ssid", "keys"):
        if getattr(arguments, name):
            raise CommandError(f"--{name} is for --stamp", USAGE)
    try:
        parse(arguments.address.text)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    tls = load_tls(arguments)
    count = arguments.count or (FLOOD_COUNT if arguments.flood else DEFAULT_COUNT)
    size = arguments.size or DEFAULT_SIZE
    plan = Plan(count, arguments.interval, arguments.timeout, size)
    make_probe = FloodProbe if arguments.flood else EchoProbe
    return _measure(
        arguments.address,
        lambda reactor: make_probe(reactor, plan, Progress(reactor, count).report),
        lambda probe: report(probe.stats, arguments.json),
        tls,
    )


def _run_stamp(arguments: argparse.Namespace) -> int:
    """Measure against a reflector; the exit status is 1 when no answer came."""
    from socketd.cli.client.stamp import results
    from socketd.cli.client.stamp.probe import StampProbe
    from socketd.common.system_clock import read_kernel

    address, plan = _stamp_address(arguments), _stamp_plan(arguments)

    def make_probe(reactor: Any) -> StampProbe:
        progress = Progress(reactor, plan.count).report
        return StampProbe(reactor, plan, time.time_ns, read_kernel(), progress)

    def report_stamp(probe: StampProbe) -> int:
        if probe.results.sent:
            show = results.render_json if arguments.json else results.render
            emit(show(probe.results))
        return GOOD if probe.results.samples else FAILED

    return _measure(address, make_probe, report_stamp)


def _measure(
    address: Address,
    make_probe: Callable[[Any], P],
    report: Callable[[P], int],
    tls: ClientTls | None = None,
) -> int:
    """Run a measurement until it is complete, and report what it has found."""
    started: list[P] = []

    async def client(reactor: Any) -> None:
        probe = make_probe(reactor)
        started.append(probe)
        await connect(reactor, address, probe, tls=tls)
        await probe.done

    status = FAILED
    try:
        run_client(address, client)
    finally:
        # After Ctrl-C, too: the user wants the results so far.
        for probe in started:
            status = report(probe)
    return status


def _stamp_address(arguments: argparse.Namespace) -> Address:
    """Check the arguments of C{--stamp}, and find the address: HOST:PORT is UDP here."""
    address: Address = arguments.address
    if address.scheme == "tcp" and not address.text.startswith("tcp:"):
        address = evolve(address, scheme="udp")
    if not address.is_datagram:
        raise CommandError("STAMP is measured over UDP; udp:HOST:862 would be right", USAGE)
    if tls_options(arguments):
        raise CommandError("STAMP has no TLS; leave out --tls", USAGE)
    if arguments.flood:
        raise CommandError("--stamp sends at an interval; leave out --flood", USAGE)
    return address


def _stamp_plan(arguments: argparse.Namespace) -> StampPlan:
    """Check what C{--stamp} is to send."""
    from socketd.cli.client.stamp.probe import StampPlan, sizes

    key = _stamp_key(arguments.keys, arguments.ssid) if arguments.keys is not None else None
    base, counted, padded = sizes(key is not None)
    size = arguments.size or counted
    if size not in (base, counted) and size < padded:
        right = f"{base}, {counted}, or {padded} and more"
        raise CommandError(f"a STAMP packet has {right} bytes; --size {size} is none", USAGE)
    return StampPlan(
        count=arguments.count or DEFAULT_COUNT,
        interval=arguments.interval,
        timeout=arguments.timeout,
        size=size,
        dscp=arguments.dscp,
        ssid=arguments.ssid,
        key=key,
    )


def _stamp_key(path: str, ssid: int) -> bytes:
    """Read the key of a session from the file of a reflector."""
    from socketd.protocols.measure.keys import parse_keys

    try:
        key = parse_keys(path).of(ssid)
    except ValueError as error:
        lines = [f"{path}:{one.line}: {one.message}" for one in getattr(error, "found", ())]
        raise CommandError("\n".join(lines) or f"--keys {path} {error}", USAGE) from None
    if key is None:
        right = "name another one with --ssid" if ssid else "name one with --ssid"
        raise CommandError(f"{path} has no key for SSID {ssid}; {right}", USAGE)
    return key


def parse_address(text: str) -> Address:
    """Parse an address; a host without a port is taken, too, since C{--stamp} has a default."""
    try:
        return parse(text)
    except ValueError:
        scheme, _, rest = text.partition(":")
        if scheme not in ("udp", "udp6") or not rest:
            scheme, rest = "udp", text
        found = parse_bare_host(rest, scheme, STAMP_PORT)
        if found is None:
            raise
        return evolve(found, text=text)


def report(stats: RoundTripStats, as_json: bool) -> int:
    """Print the results, if any request was sent, and return the exit status."""
    if stats.sent:
        emit(render_json(stats) if as_json else render(stats) + histogram(stats.times))
    return GOOD if stats.times else FAILED


class Progress:
    """Reports the progress of a long run on standard error."""

    def __init__(self, clock: IReactorTime, count: int) -> None:
        self._clock = clock
        self._count = count
        self._reported_at = clock.seconds()

    def report(self, sent: int, received: int) -> None:
        """Report the numbers of requests and correct replies, if the interval has passed."""
        now = self._clock.seconds()
        if now - self._reported_at >= PROGRESS_SECONDS:
            self._reported_at = now
            note(f"{sent} of {self._count} sent, {received} received")


def _positive_seconds(text: str) -> float:
    number = seconds(text)
    if not number:
        raise argparse.ArgumentTypeError("0 seconds are too few for any answer")
    return number
