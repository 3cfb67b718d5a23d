"""
What the 32 bits of a time server mean.
"""

from __future__ import annotations

from attrs import frozen

from socketd.cli.common.errors import CommandError

EPOCHS = {
    "unix": 0,
    # Seventy years with seventeen leap days (RFC 868).
    "1900": 2208988800,
}
AUTO = "auto"
"""
Stands for the epoch that brings the server's clock nearest to ours: the two are 66 years apart,
or 70 in the next era.
"""
EPOCH_NAMES = {"unix": "1970", "1900": "1900 (RFC 868)"}
"""
How people know them.
"""
ERA = 2**32
"""
The number has 32 bits: it starts again at zero after so many seconds (136 years).
"""
REPLY_BYTES = 4
NTP_BYTES = 48
"""
What a server of NTP sends at least (RFC 5905, section 7.3).
"""
LEAST_TEXT = 9
"""
A printable reply of so many bytes is no accident; the shortest time of day has as many.
"""
RESOLUTION = 1
"""
The seconds between two numbers.
"""


@frozen
class Moment:
    """
    When something happened.

    @ivar wall: seconds since 1970, by a clock that can be set.
    @ivar steady: seconds since whenever, by a clock that cannot.
    """

    wall: float
    steady: float


@frozen
class Reply:
    """
    What a server said, and when.
    """

    data: bytes
    asked: Moment
    received: Moment


@frozen
class Reading:
    """
    What a reply means.

    @ivar number: the raw number.
    @ivar epoch: what it counts from, one of L{EPOCHS}.
    @ivar unix: the server's time in seconds since 1970.
    @ivar round_trip: seconds.
    @ivar offset: seconds by which the server is ahead of us; it counts whole seconds, so that a
        perfect one seems to be up to a second behind.
    """

    number: int
    epoch: str
    unix: int
    round_trip: float
    offset: float


def unix_time(number: int, epoch: str, near: float) -> int:
    """
    Undo the wrap of a 32-bit number of seconds.

    @param number: the number from the wire.
    @param epoch: what it counts from, one of L{EPOCHS}.
    @param near: a time that is less than half an era (68 years) away, in seconds since 1970.
    @return: the seconds since 1970 that are nearest to C{near} and have this number.
    """
    first = number - EPOCHS[epoch]
    return first + ERA * round((near - first) / ERA)


def nearest_epoch(number: int, near: float) -> str:
    """
    Find out what a server counts from.

    @param number: the number from the wire.
    @param near: our own time, in seconds since 1970.
    @return: the epoch by which the server's clock differs the least.
    """
    return min(EPOCHS, key=lambda epoch: abs(unix_time(number, epoch, near) - near))


def read_reply(reply: Reply, epoch: str) -> Reading:
    """
    Interpret a reply.

    @param reply: the reply.
    @param epoch: what the server counts from, one of L{EPOCHS}, or L{AUTO}.
    @return: what it means.
    @raise CommandError: when its length is not that of a number.
    """
    if len(reply.data) != REPLY_BYTES:
        raise CommandError(f"reply error {len(reply.data)}{_guess(reply.data)}")
    number = int.from_bytes(reply.data, "big")
    middle = (reply.asked.wall + reply.received.wall) / 2
    if epoch == AUTO:
        epoch = nearest_epoch(number, middle)
    unix = unix_time(number, epoch, middle)
    return Reading(number, epoch, unix, reply.received.steady - reply.asked.steady, unix - middle)


def _guess(data: bytes) -> str:
    """
    Say what sends such a reply, where that can be seen.
    """
    text = data.strip()
    if not data:
        return ": the server does not know the time, or is none (RFC 868)"
    if len(data) >= LEAST_TEXT and text.isascii() and text.decode("ascii").isprintable():
        return ": it is text, as daytime servers send (RFC 867)"
    if len(data) >= NTP_BYTES:
        return ": the peer is no time server of RFC 868"
    return ""
