"""
What the 32 bits of a time server mean.
"""

from __future__ import annotations

from attrs import frozen

from socketd.cli.errors import CommandError

EPOCHS = {
    "unix": 0,
    # Seventy years with seventeen leap days (RFC 868).
    "1900": 2208988800,
}
ERA = 2**32
"""
The number has 32 bits: it starts again at zero after so many seconds (136 years).
"""
REPLY_BYTES = 4


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
    @ivar unix: the server's time in seconds since 1970.
    @ivar round_trip: seconds.
    @ivar offset: seconds by which the server is ahead of us; it counts whole seconds, so that a
        perfect one seems to be up to a second behind.
    """

    number: int
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


def read_reply(reply: Reply, epoch: str) -> Reading:
    """
    Interpret a reply.

    @param reply: the reply.
    @param epoch: what the server counts from, one of L{EPOCHS}.
    @return: what it means.
    @raise CommandError: when its length is not that of a number.
    """
    if len(reply.data) != REPLY_BYTES:
        raise CommandError(f"reply error {len(reply.data)}")
    number = int.from_bytes(reply.data, "big")
    middle = (reply.asked.wall + reply.received.wall) / 2
    unix = unix_time(number, epoch, middle)
    return Reading(number, unix, reply.received.steady - reply.asked.steady, unix - middle)
