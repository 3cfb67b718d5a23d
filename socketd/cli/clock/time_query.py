"""Asks a time server of RFC 868 once, or a daytime server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import TimeoutError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.clock.time_reply import REPLY_BYTES, TimeReply, Timestamp
from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import Receiver

if TYPE_CHECKING:
    from socketd.cli.transport.tls import ClientTls

#: Maximum bytes to read of a stream that is not a time reply, before it is reported by its length.
MAX_REPLY = 64 * 1024


async def query(
    reactor: Any,
    address: Address,
    timeout: float,
    wall_clock: Callable[[], float] = time.time,
    tls: ClientTls | None = None,
) -> TimeReply:
    """
    Query a time server; a timeout of 0 is no limit.

    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    request = TimeRequest(lambda: Timestamp(wall_clock(), reactor.seconds()))
    await connect(reactor, address, request, timeout, tls)
    if timeout:
        request.done.addTimeout(timeout, reactor)
    try:
        await request.done
    except TimeoutError:
        # The data of a stream counts as a reply even without EOF.
        if not request.data:
            raise no_answer(timeout) from None
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
