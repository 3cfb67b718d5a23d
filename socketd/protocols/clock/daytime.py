"""C{daytime}: the time of day as a readable line (RFC 867)."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor

from attrs import frozen

from socketd.protocols.clock.time import TimeOfDay, TimeOfDayDatagrams
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


# The transport drops and counts a line that is longer than both the datagram and C{udp_amplify}.
declaration = ProtocolSpec(
    options=DaytimeOptions,
    stream=lambda options, context: TimeOfDay(daytime_line, options.format, context.wall_clock),
    datagram=lambda options, context: TimeOfDayDatagrams(
        daytime_line, options.format, context.wall_clock
    ),
    shortest_reply=lambda options: len(daytime_line(0, options.format)),
)
