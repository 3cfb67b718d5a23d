"""C{daytime}: the time of day as a readable line (RFC 867)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from math import floor
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.common.system_clock import is_plausible
from socketd.protocols.spec import ProtocolSpec, udp_amplify_option
from socketd.settings.options import option
from socketd.settings.value_types import choice

# Adding to a fixed date avoids the C library, whose locale or leap-second time zone (which
# would print :60) would change the text.
_EPOCH = datetime(1970, 1, 1)


@frozen
class DaytimeOptions:
    """The options of C{daytime}."""

    format: str = option(
        choice("inetd", "iso"),
        "inetd",
        "inetd: Sat Nov 21 03:22:01 2026, iso: 2026-11-21T03:22:01Z; always in UTC.",
    )
    udp_amplify: int = udp_amplify_option()


def daytime_line(now: float, format: str) -> bytes:
    """
    Format a time in UTC as a line that ends with CR LF.

    @param now: seconds since 1970; may be negative.
    @param format: C{inetd} (as asctime(3), English in every locale) or C{iso}.
    """
    time = _EPOCH + timedelta(seconds=floor(now))
    text = time.isoformat(timespec="seconds") + "Z" if format == "iso" else time.ctime()
    return f"{text}\r\n".encode("ascii")


class Daytime(Protocol):
    """
    Send the time at once, and close (RFC 867, "TCP Based Daytime Service").

    An implausible clock is not sent: L{is_plausible}.
    """

    transport: ITransport

    def __init__(self, format: str, wall_clock: Callable[[], float]) -> None:
        self._format = format
        self._wall_clock = wall_clock

    def connectionMade(self) -> None:
        now = self._wall_clock()
        if is_plausible(now):
            self.transport.write(daytime_line(now, self._format))
        self.transport.loseConnection()


class DaytimeDatagrams(DatagramProtocol):
    """
    Answer each datagram with the time (RFC 867, "UDP Based Daytime Service"); the transport drops
    and counts a line that is longer than both the datagram and C{udp_amplify}.

    An implausible clock is not sent: L{is_plausible}.
    """

    transport: IUDPTransport

    def __init__(self, format: str, wall_clock: Callable[[], float]) -> None:
        self._format = format
        self._wall_clock = wall_clock

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        now = self._wall_clock()
        if is_plausible(now):
            self.transport.write(daytime_line(now, self._format), addr)


declaration = ProtocolSpec(
    options=DaytimeOptions,
    stream=lambda options, context: Daytime(options.format, context.wall_clock),
    datagram=lambda options, context: DaytimeDatagrams(options.format, context.wall_clock),
    reply_floor=lambda options: options.udp_amplify,
    shortest_reply=lambda options: len(daytime_line(0, options.format)),
)
