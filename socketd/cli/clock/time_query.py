"""Asks a time server (RFC 868) or a daytime server (RFC 867) once, and interprets the reply."""

from __future__ import annotations

import json
import re
import time
from calendar import timegm
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.interface import Receiver, answer_within
from socketd.common import table
from socketd.common.errors import CommandError
from socketd.protocols.clock.ntp_time import LENGTH, SECONDS_1900_TO_1970, nearest

if TYPE_CHECKING:
    from socketd.cli.transport.tls import ClientTls

_CLOCK = r"(\d\d:\d\d:(?:[0-5]\d|60))"
_ZONE = r"([A-Z]{1,5}|[+-]\d{4})"

#: The known forms: an expression, the groups that are date and time, their format (strptime(3)),
#: and the groups that are the zone.
_FORMS = (
    (
        rf"(\d{{4}}-\d\d-\d\d)[T ]{_CLOCK}(?:\.\d+)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?",
        r"\1 \2", "%Y-%m-%d %H:%M:%S", r"\3",
    ),
    # That of NIST.
    (
        rf"\d{{5}} (\d\d-\d\d-\d\d) {_CLOCK} .*\bUTC\(\w+\).*",
        r"\1 \2", "%y-%m-%d %H:%M:%S", "UTC(NIST)",
    ),
    # asctime(3), as inetd sends it, or date(1), which has the zone before the year.
    (
        rf"(?:[A-Za-z]{{3}},? )?([A-Za-z]{{3}} \d{{1,2}} {_CLOCK})(?: ([A-Z]{{1,5}}))? (\d{{4}})"
        rf"(?: {_ZONE})?",
        r"\1 \4", "%b %d %H:%M:%S %Y", r"\3\5",
    ),
    # The first two examples of RFC 867: "Tuesday, February 22, 1982 17:37:43-PST", and with a
    # two-digit year "02 FEB 82 07:59:01 PST"; and the form of RFC 822.
    (
        rf"(?:[A-Za-z]+, )?([A-Za-z]{{3}})[A-Za-z]* (\d{{1,2}}), (\d{{4}}) {_CLOCK}"
        r"[- ]?([A-Z]{1,5})?",
        r"\1 \2 \3 \4", "%b %d %Y %H:%M:%S", r"\5",
    ),
    (
        rf"(?:[A-Za-z]{{3}}, )?(\d{{1,2}} [A-Za-z]{{3}} \d\d {_CLOCK})(?: {_ZONE})?",
        r"\1", "%d %b %y %H:%M:%S", r"\3",
    ),
    (
        rf"(?:[A-Za-z]{{3}}, )?(\d{{1,2}} [A-Za-z]{{3}} \d{{4}} {_CLOCK})(?: {_ZONE})?",
        r"\1", "%d %b %Y %H:%M:%S", r"\3",
    ),
)  # fmt: skip

EPOCHS = {"unix": 0, "1900": SECONDS_1900_TO_1970}
#: Selects the epoch with the smaller offset from the local clock; the two are 66 years apart (70
#: in the next era).
AUTO = "auto"
#: The epochs as users see them.
EPOCH_NAMES = {"unix": "1970", "1900": "1900 (RFC 868)"}
REPLY_BYTES = 4
#: Minimum bytes to take a printable reply for text: the shortest time of day has as many, and
#: fewer may be printable by chance.
MIN_TEXT = 9
#: The longest line in bytes; NIST's has 51.
MAX_DAYTIME = 128
#: Seconds per unit of the number.
RESOLUTION = 1

#: Maximum bytes to read of a stream that is not a time reply, before it is reported by its length.
MAX_REPLY = 64 * 1024


@frozen
class Daytime:
    """
    A time of day that was sent as text.

    @ivar unix: the seconds since 1970; as if it were UTC where the zone is not known.
    @ivar zone: as it was sent; empty if it was not.
    @ivar is_known: whether the zone says by how much it differs from UTC.
    """

    unix: int
    zone: str
    is_known: bool


def parse_daytime(text: str) -> Daytime | None:
    """Parse a line; C{None} if its form is not known, or there is no such time."""
    text = " ".join(text.split())
    for pattern, date, form, place in _FORMS:
        if match := re.fullmatch(pattern, text, re.ASCII):
            zone = match.expand(place)
            offset = _offset(zone)
            try:
                # The second 60 is a leap second, which is the first second of the next day here.
                unix = timegm(time.strptime(match.expand(date), form))
            except ValueError:
                return None
            return Daytime(unix - (offset or 0), zone, offset is not None)
    return None


def _offset(zone: str) -> int | None:
    """Give the seconds that a zone is ahead of UTC; names other than UTC mean several."""
    if zone in ("Z", "UTC", "GMT", "UTC(NIST)"):
        return 0
    if zone[:1] not in ("+", "-"):
        return None
    digits = zone[1:].replace(":", "")
    seconds = (int(digits[:2]) * 60 + int(digits[2:])) * 60
    return -seconds if zone[0] == "-" else seconds


def local_time(unix: float) -> str:
    """Format a time (seconds since 1970) as people read it, in the zone of this machine."""
    return time.strftime("%a %b %d %H:%M:%S %Y %Z", time.localtime(unix))


@frozen
class Timestamp:
    """A time on the wall clock (seconds since 1970), and on the monotonic clock."""

    wall: float
    monotonic: float


@frozen
class TimeReply:
    """A server's reply, with the times of request and reply."""

    data: bytes
    sent: Timestamp
    received: Timestamp

    @property
    def middle(self) -> float:
        """The time on the wall clock halfway, when the server answered, as far as is known."""
        return (self.sent.wall + self.received.wall) / 2

    def measured(self, unix: int, **more: Any) -> Measurement:
        """Compare the time that the server gave (seconds since 1970) with the local clock."""
        round_trip = self.received.monotonic - self.sent.monotonic
        return Measurement(unix, round_trip, unix - self.middle, **more)


@frozen
class Measurement:
    """
    What a server said; all times are in seconds.

    @ivar unix: its time, since 1970.
    @ivar offset: seconds by which the server is ahead of the local clock. It sends whole seconds,
        so an exact server appears up to a second behind.
    @ivar facts: what only a server of its kind says; C{row} is the same for people.
    @ivar doubt: what is not certain of the offset.
    @ivar hint: for standard error.
    """

    unix: int
    round_trip: float
    offset: float
    facts: dict[str, Any]
    row: tuple[str, str]
    doubt: str = ""
    hint: str = ""

    def render(self, as_json: bool) -> str:
        """Render it as a line of JSON, or as the lines of a table."""
        local = local_time(self.unix)
        if as_json:
            shown = {
                "local_time": local,
                "unix": self.unix,
                **self.facts,
                "round_trip_ms": round(self.round_trip * 1000, 3),
                "offset_seconds": round(self.offset, 6),
                "resolution_seconds": RESOLUTION,
            }
            return json.dumps(shown) + "\n"
        rows = [
            self.row,
            ("round trip", f"{self.round_trip * 1000:.3f} ms"),
            ("offset", f"{self.offset:+.3f} s, resolution {RESOLUTION} s{self.doubt}"),
        ]
        return table.render(("local time", local), rows)


def read_reply(reply: TimeReply, epoch: str) -> Measurement:
    """Interpret a reply by an epoch or L{AUTO}; L{CommandError} unless it is 4 bytes long."""
    if len(reply.data) != REPLY_BYTES:
        raise CommandError(f"reply error {len(reply.data)}{_guess(reply.data)}")
    number = int.from_bytes(reply.data, "big")
    times = {one: nearest(number - first, int(reply.middle)) for one, first in EPOCHS.items()}
    likely = min(times, key=lambda one: abs(times[one] - reply.middle))
    epoch = likely if epoch == AUTO else epoch
    right = f"the server seems to count from {EPOCH_NAMES[likely]}: --epoch {likely}"
    return reply.measured(
        times[epoch],
        facts={"number": number, "epoch": epoch},
        row=("number", f"{number}, seconds since {EPOCH_NAMES[epoch]}"),
        hint="" if likely == epoch else right,
    )


def read_daytime(reply: TimeReply) -> Measurement | None:
    """Interpret a reply that is a time of day as text; C{None} if it is none."""
    text = reply.data.strip().decode("ascii", "replace")
    found = parse_daytime(text) if len(reply.data) <= MAX_DAYTIME and text.isprintable() else None
    if found is None:
        return None
    return reply.measured(
        found.unix,
        facts={"text": text, "zone": found.zone or None, "zone_known": found.is_known},
        row=("text", text),
        doubt="" if found.is_known else f", if {found.zone or 'its zone'} is UTC",
    )


def _guess(data: bytes) -> str:
    """Guess what kind of server sends such a reply."""
    text = data.strip()
    if not data:
        return ": the server does not know the time, or is none (RFC 868)"
    if len(data) >= MIN_TEXT and text.isascii() and text.decode("ascii").isprintable():
        return ": it is text, as daytime servers send (RFC 867)"
    if len(data) >= LENGTH:
        return ": the peer is no time server of RFC 868"
    return ""


async def query(
    reactor: Any,
    address: Address,
    timeout: float,
    wall_clock: Callable[[], float] = time.time,
    tls: ClientTls | None = None,
) -> TimeReply:
    """Query a time server; a timeout of 0 is no limit."""
    request = TimeRequest(lambda: Timestamp(wall_clock(), reactor.seconds()))
    await connect(reactor, address, request, timeout, tls)
    try:
        await answer_within(reactor, timeout, request.done)
    except CommandError:
        # The data of a stream counts as a reply even without EOF.
        if not request.data:
            raise
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
