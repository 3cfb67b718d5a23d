"""Arguments shared by several subcommands."""

from __future__ import annotations

import argparse

from socketd.cli.common.address import parse_argument

#: Seconds; more than a slow network needs for an answer, less than a user's patience.
DEFAULT_TIMEOUT = 10.0

#: Seconds, 11.6 days: a longer wait is a typing error, and kernel timers need not support it.
MAX_SECONDS = 1e6

ADDRESS_HELP = (
    "HOST:PORT, [V6]:PORT, the path of a UNIX socket, tls:HOST:PORT, udp:HOST:PORT, "
    "unixgram:PATH, or a client endpoint string of Twisted"
)


def seconds(text: str) -> float:
    """
    Parse a number of seconds.

    @param text: the argument.
    @return: the seconds, 0 or more.
    @raise argparse.ArgumentTypeError: if it is not such a number.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_SECONDS:
        message = f"{text!r} is no number of seconds; 0 to {MAX_SECONDS:.0f} would be right"
        raise argparse.ArgumentTypeError(message)
    return number


def add_address(parser: argparse.ArgumentParser) -> None:
    """
    Add the ADDRESS argument.

    @param parser: the parser of the subcommand.
    """
    parser.add_argument("address", metavar="ADDRESS", type=parse_argument, help=ADDRESS_HELP)


def add_timeout(parser: argparse.ArgumentParser, meaning: str) -> None:
    """
    Add C{--timeout}.

    @param parser: the parser of the subcommand.
    @param meaning: the help text: what fails at the timeout.
    """
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        help=f"{meaning} (default {DEFAULT_TIMEOUT:g}; 0: wait for ever)",
    )
