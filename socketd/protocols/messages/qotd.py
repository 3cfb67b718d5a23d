"""C{qotd}: a randomly chosen quote of the day (RFC 865)."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec, udp_amplify_option
from socketd.settings.options import REQUIRED, option
from socketd.settings.value_types import ValueType, one_file, read_text

#: Bytes: RFC 865 limits a quote to 512 characters, and every host accepts a datagram of that size.
MAX_QUOTE = 512

#: The most line numbers in one error message, which is a single line.
MAX_NAMED_LINES = 5

#: The separator line between two quotes, as in fortune(6).
SEPARATOR = "%"

#: Chooses a number from a range.
Choose = Callable[[range], int]


def parse_quotes(text: str) -> tuple[bytes, ...]:
    """
    Load the file of quotes at a path.

    @return: the quotes in wire format, each line terminated by CR LF.
    @raise ValueError: with the error and its line.
    """
    quotes, long = [], []
    for line, quote in _entries(read_text(text, "quotes")):
        quotes.append(quote)
        if len(quote) > MAX_QUOTE:
            long.append(str(line))
    if long:
        named = ", ".join(long[:MAX_NAMED_LINES]) + (" ..." if long[MAX_NAMED_LINES:] else "")
        raise ValueError(
            f"has quotes that are too long, at line {named};"
            f" a quote has up to {MAX_QUOTE} bytes, CR LF at each end of line included"
        )
    if not quotes:
        raise ValueError(f"holds no quote; write some, with a line {SEPARATOR} between them")
    return tuple(quotes)


def _entries(text: str) -> Iterator[tuple[int, bytes]]:
    """
    Split a text into its quotes, skipping empty ones.

    @return: pairs of the first line number (1-based) and the quote in wire format.
    """
    lines: list[str] = []
    start = 1
    for number, line in enumerate([*text.split("\n"), SEPARATOR], 1):
        line = line.rstrip()
        if line == SEPARATOR:
            while lines and not lines[-1]:
                lines.pop()
            if lines:
                yield start, "".join(f"{part}\r\n" for part in lines).encode()
            lines = []
        elif lines or line:
            start = start if lines else number
            lines.append(line)


@frozen
class QotdOptions:
    """The options of C{qotd}."""

    texts: tuple[bytes, ...] = option(
        ValueType("file of quotes, with a line % between them", parse_quotes, one_file),
        REQUIRED,
        "The quotes; it is read when the configuration is.",
    )
    udp_amplify: int = udp_amplify_option()


class Qotd(Protocol):
    """Send a quote at once, and close (RFC 865, "TCP Based Quote of the Day Service")."""

    transport: ITransport

    def __init__(self, quotes: tuple[bytes, ...], choose: Choose = random.choice) -> None:
        self._quotes = quotes
        self._choose = choose

    def connectionMade(self) -> None:
        self.transport.write(self._quotes[self._choose(range(len(self._quotes)))])
        self.transport.loseConnection()


class QotdDatagrams(DatagramProtocol):
    """
    Answer each datagram with a quote that is not longer than the larger of the datagram and
    C{udp_amplify} (RFC 865, "UDP Based Quote of the Day Service").

    If no quote is short enough, the transport drops and counts the shortest one.
    """

    transport: IUDPTransport

    def __init__(self, options: QotdOptions, choose: Choose = random.choice) -> None:
        # Sorted by length, so that the fitting quotes are found by bisection.
        self._quotes = sorted(options.texts, key=len)
        self._lengths = [len(quote) for quote in self._quotes]
        self._udp_amplify = options.udp_amplify
        self._choose = choose

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        fitting = bisect_right(self._lengths, max(len(datagram), self._udp_amplify))
        self.transport.write(self._quotes[self._choose(range(fitting or 1))], addr)


declaration = ProtocolSpec(
    options=QotdOptions,
    stream=lambda options, context: Qotd(options.texts),
    datagram=lambda options, context: QotdDatagrams(options),
    shortest_reply=lambda options: min(map(len, options.texts)),
)
