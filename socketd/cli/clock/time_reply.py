"""Interprets the 32-bit reply of a time server (RFC 868)."""

from __future__ import annotations

import time

from attrs import frozen

from socketd.cli.clock.daytime_reply import Daytime, parse_daytime
from socketd.common.errors import CommandError
from socketd.protocols.clock.ntp_time import LENGTH, SECONDS_1900_TO_1970

EPOCHS = {"unix": 0, "1900": SECONDS_1900_TO_1970}
#: Selects the epoch with the smaller offset from the local clock; the two are 66 years apart (70
#: in the next era).
AUTO = "auto"
#: The epochs as users see them.
EPOCH_NAMES = {"unix": "1970", "1900": "1900 (RFC 868)"}
#: Seconds after which the 32-bit number wraps to zero (136 years).
ERA = 2**32
REPLY_BYTES = 4
#: Minimum bytes to take a printable reply for text: the shortest time of day has as many, and
#: fewer may be printable by chance.
MIN_TEXT = 9
#: The longest line in bytes; NIST's has 51.
MAX_DAYTIME = 128
#: Seconds per unit of the number.
RESOLUTION = 1


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

    @property
    def round_trip(self) -> float:
        """Seconds from the request to the reply."""
        return self.received.monotonic - self.sent.monotonic


@frozen
class Measurement:
    """
    A raw number of an epoch, one of L{EPOCHS}, and its Unix time; all times are in seconds.

    @ivar offset: seconds by which the server is ahead of the local clock. It sends whole seconds,
        so an exact server appears up to a second behind.
    """

    number: int
    epoch: str
    unix: int
    round_trip: float
    offset: float


def unix_time(number: int, epoch: str, near: float) -> int:
    """
    Undo the wrap of a 32-bit number of seconds: return the seconds since 1970 nearest to C{near},
    a time less than half an era (68 years) away.
    """
    first = number - EPOCHS[epoch]
    return first + ERA * round((near - first) / ERA)


def nearest_epoch(number: int, near: float) -> str:
    """Guess the epoch of a server: the one with the smallest offset from the local time."""
    return min(EPOCHS, key=lambda epoch: abs(unix_time(number, epoch, near) - near))


def read_reply(reply: TimeReply, epoch: str) -> Measurement:
    """Interpret a reply by an epoch or L{AUTO}; L{CommandError} unless it is 4 bytes long."""
    if len(reply.data) != REPLY_BYTES:
        raise CommandError(f"reply error {len(reply.data)}{_guess(reply.data)}")
    number = int.from_bytes(reply.data, "big")
    if epoch == AUTO:
        epoch = nearest_epoch(number, reply.middle)
    unix = unix_time(number, epoch, reply.middle)
    return Measurement(number, epoch, unix, reply.round_trip, unix - reply.middle)


@frozen
class DaytimeMeasurement:
    """
    The line of a daytime server; times in seconds.

    @ivar text: the line.
    @ivar offset: seconds by which the server is ahead, as in L{Measurement}.
    """

    text: str
    daytime: Daytime
    round_trip: float
    offset: float


def read_daytime(reply: TimeReply) -> DaytimeMeasurement | None:
    """Interpret a reply that is a time of day as text; C{None} if it is none."""
    text = reply.data.strip().decode("ascii", "replace")
    found = parse_daytime(text) if len(reply.data) <= MAX_DAYTIME and text.isprintable() else None
    if found is None:
        return None
    return DaytimeMeasurement(text, found, reply.round_trip, found.unix - reply.middle)


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
