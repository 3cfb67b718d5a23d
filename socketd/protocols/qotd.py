"""
C{qotd}: a quote of the day, picked at random (RFC 865).
"""

from __future__ import annotations

import random
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.amplification import udp_amplify_option
from socketd.protocols.spec import ProtocolSpec
from socketd.settings.options import REQUIRED, option
from socketd.settings.value_types import Kind, one_file, parse_path

#: RFC 865 has a quote fit 512 characters, and every datagram that size arrives.
MAX_QUOTE = 512

#: Thousands of quotes; a wrong path may name a film.
MAX_FILE_BYTES = 1024 * 1024

#: A complaint that is one line names so many lines of the file.
MAX_NAMED_LINES = 5

#: What stands between two quotes, alone in its line, as fortune(6) has it.
SEPARATOR = "%"

#: Picks one of a range of numbers.
Choose = Callable[[range], int]


def parse_quotes(text: str) -> tuple[bytes, ...]:
    """
    Read the file of quotes that an option names.

    @param text: its path.
    @return: the quotes as they are sent, with CR LF at the end of each line.
    @raise ValueError: says what is wrong with the file, and in which of its lines.
    """
    quotes, long = [], []
    for line, quote in _entries(_read(text)):
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


def _read(path: str) -> str:
    """
    Read a text file that is neither too large nor anything else than text.

    @raise ValueError: says what is wrong with it.
    """
    if not parse_path(path):
        raise ValueError("names no file; write the path of a file of quotes")
    try:
        # Before it is opened: to open a pipe would wait for its other end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ValueError("is no file; write the path of a file of quotes")
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise ValueError(f"{problem}; write the path of a file of quotes") from None
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"is too large; a file of quotes has up to {MAX_FILE_BYTES} bytes")
    return _decoded(content)


def _decoded(content: bytes) -> str:
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(0)) + 1
        raise ValueError(f"has a NUL byte at line {line}; write text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise ValueError(f"has the byte {byte} at line {line}; write text in UTF-8") from None


def _entries(text: str) -> Iterator[tuple[int, bytes]]:
    """
    Cut a text into its quotes, without the empty ones.

    @return: the line that each begins at, 1-based, with what is sent for it.
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


QUOTES = Kind("file of quotes, with a line % between them", parse_quotes, one_file)


@frozen
class QotdOptions:
    """
    The options of C{qotd}.
    """

    texts: tuple[bytes, ...] = option(
        QUOTES, REQUIRED, "The quotes; it is read when the configuration is."
    )
    udp_amplify: int = udp_amplify_option()


class Qotd(Protocol):
    """
    Send a quote at once, and close (RFC 865, "TCP Based Quote of the Day Service").
    """

    transport: ITransport

    def __init__(self, quotes: tuple[bytes, ...], choose: Choose = random.choice) -> None:
        self._quotes = quotes
        self._choose = choose

    def connectionMade(self) -> None:
        self.transport.write(self._quotes[self._choose(range(len(self._quotes)))])
        self.transport.loseConnection()


class QotdDatagrams(DatagramProtocol):
    """
    Answer each datagram with one of the quotes that are not longer than it, or than
    the configuration wants (RFC 865, "UDP Based Quote of the Day Service").

    Where no quote is short enough, the transport drops and counts the shortest one.
    """

    transport: IUDPTransport

    def __init__(self, options: QotdOptions, choose: Choose = random.choice) -> None:
        # In this order those that fit are found without a look at each.
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
    reply_floor=lambda options: options.udp_amplify,
    shortest_reply=lambda options: min(map(len, options.texts)),
)
