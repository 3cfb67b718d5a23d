"""Arguments shared by several subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from socketd.cli.common.address import parse

#: Seconds; more than a slow network needs for an answer, less than a user's patience.
DEFAULT_TIMEOUT = 10.0

#: Seconds, 11.6 days: a longer wait is a typing error, and kernel timers need not support it.
MAX_SECONDS = 1e6

ADDRESS_HELP = (
    "HOST:PORT, [V6]:PORT, the path of a UNIX socket, tls:HOST:PORT, udp:HOST:PORT, "
    "unixgram:PATH, or a client endpoint string of Twisted"
)


T = TypeVar("T")


def argument_type(parse_value: Callable[[str], T]) -> Callable[[str], T]:
    """Adapt a parser that raises C{ValueError}: C{argparse} shows only its own exception."""

    def parse_argument(text: str) -> T:
        try:
            return parse_value(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def seconds(text: str) -> float:
    """Parse a number of seconds, 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_SECONDS:
        message = f"{text!r} is no number of seconds; 0 to {MAX_SECONDS:.0f} would be right"
        raise argparse.ArgumentTypeError(message)
    return number


def whole_number(high: int, low: int = 1) -> Callable[[str], int]:
    """Make a parser of whole numbers."""

    def parse_number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            message = f"{text[:20]!r} is no number from {low} to {high}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return parse_number


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the ADDRESS argument."""
    parser.add_argument("address", metavar="ADDRESS", type=argument_type(parse), help=ADDRESS_HELP)


def add_timeout(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add C{--timeout}, with a help text that says what fails then."""
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=DEFAULT_TIMEOUT,
        help=f"{meaning} (default {DEFAULT_TIMEOUT:g}; 0: no timeout)",
    )  # fmt: skip
