"""C{time}: the time of day in four bytes, since 1900 (RFC 868) or 1970."""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import floor
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.common.system_clock import is_plausible
from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.protocols.clock.ntp_time import SECONDS_1900_TO_1970
from socketd.protocols.spec import ProtocolSpec
from socketd.settings.options import option
from socketd.settings.value_types import choice

_OFFSETS = {"unix": 0, "1900": SECONDS_1900_TO_1970}
_REPLY = struct.Struct("!I")


@frozen
class TimeOptions:
    """The options of C{time}."""

    epoch: str = option(
        choice("unix", "1900"), "unix", "Count the seconds from 1970, or from 1900 as RFC 868."
    )


def time_reply(now: float, epoch: str) -> bytes:
    """
    Encode a time as 32 bits in network byte order.

    The count wraps to zero on 2036-02-07 (C{1900}) and 2106-02-07 (C{unix}), both at 06:28:16 UTC;
    clients assume the era nearest to their own time.

    @param now: seconds since 1970; may be negative.
    @param epoch: C{unix} or C{1900}.
    """
    return _REPLY.pack((floor(now) + _OFFSETS[epoch]) & 0xFFFFFFFF)


class _TimeEncoder:
    """Encodes the time, unless the clock is implausible: L{is_plausible}."""

    def __init__(
        self, encode: Callable[[float, str], bytes], style: str, wall_clock: Callable[[], float]
    ) -> None:
        """@param style: the second argument of C{encode}."""
        self._encode = encode
        self._style = style
        self._wall_clock = wall_clock

    def _time(self) -> bytes | None:
        now = self._wall_clock()
        return self._encode(now, self._style) if is_plausible(now) else None


class TimeOfDay(_TimeEncoder, Protocol):
    """Send the time at once, and close (RFC 868, "over TCP"; RFC 867, "TCP Based ...")."""

    transport: ITransport

    def connectionMade(self) -> None:
        time = self._time()
        if time is not None:
            self.transport.write(time)
        self.transport.loseConnection()


@implementer(IBatchProtocol)
class TimeOfDayDatagrams(_TimeEncoder, DatagramProtocol):
    """
    Answer each datagram, even an empty one, with the time: C{time} (RFC 868, "over UDP") and
    C{daytime} (RFC 867, "UDP Based Daytime Service").
    """

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        time = self._time()
        if time is not None:
            self.transport.write(time, addr)

    def batch_received(self, batch: IDatagramBatch) -> None:
        time = self._time()
        if time is not None:
            batch.answer_all(time)


declaration = ProtocolSpec(
    options=TimeOptions,
    stream=lambda options, context: TimeOfDay(time_reply, options.epoch, context.wall_clock),
    datagram=lambda options, context: TimeOfDayDatagrams(
        time_reply, options.epoch, context.wall_clock
    ),
    reply_floor=lambda options: _REPLY.size,
)
