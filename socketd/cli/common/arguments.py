"""
Arguments that several subcommands have.
"""

from __future__ import annotations

import argparse

from socketd.cli.common.address import parse_argument

DEFAULT_TIMEOUT = 10.0
"""
Seconds; more than a slow network needs for an answer, less than anybody waits without wondering.
"""

MAX_SECONDS = 1e6
"""
Eleven days: a longer wait is a slip of the pen, and a timer of the kernel need not hold it.
"""

ADDRESS_HELP = (
    "HOST:PORT, [V6]:PORT, the path of a UNIX socket, tls:HOST:PORT, udp:HOST:PORT, "
    "unixgram:PATH, or a client endpoint string of Twisted"
)


def seconds(text: str) -> float:
    """
    Read a number of seconds.

    @param text: the argument.
    @return: the seconds, 0 or more.
    @raise argparse.ArgumentTypeError: when it is none.
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
    Add ADDRESS.

    @param parser: the parser of the subcommand.
    """
    parser.add_argument("address", metavar="ADDRESS", type=parse_argument, help=ADDRESS_HELP)


def add_timeout(parser: argparse.ArgumentParser, meaning: str) -> None:
    """
    Add C{--timeout}.

    @param parser: the parser of the subcommand.
    @param meaning: what fails after so long.
    """
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=DEFAULT_TIMEOUT,
        help=f"{meaning} (default {DEFAULT_TIMEOUT:g}; 0: wait for ever)",
    )
