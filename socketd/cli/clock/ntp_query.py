"""Asks an NTP server several times: C{socketd time ntp:HOST}."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.clock.ntp_reply import Sample, encode_request, read_sample
from socketd.cli.clock.time_reply import Timestamp
from socketd.cli.common.address import Address
from socketd.cli.transport.connect import connect
from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import Receiver
from socketd.common.errors import CommandError

#: The most requests: servers refuse clients that ask more at once (chrony's burst is 8).
MAX_SAMPLES = 8
DEFAULT_SAMPLES = 4

#: Seconds between an answer and the next request.
PAUSE = 0.25

_COOKIE_BYTES = 8


class NtpQuery(Receiver):
    """
    Sends the requests, one when the last is answered.

    @ivar samples: the answers so far.
    @ivar sent: how many requests were sent.
    """

    def __init__(
        self, clock: Any, count: int, timeout: float, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """@param timeout: seconds until a request is lost, which is the last; 0 for no limit."""
        super().__init__()
        self.samples: list[Sample] = []
        self.sent = 0
        self._clock, self._wall_clock = clock, wall_clock
        self._count, self._timeout = count, timeout
        self._cookie, self._moment = b"", Timestamp(0.0, 0.0)
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._send()

    def dataReceived(self, data: bytes) -> None:
        took = self._clock.seconds() - self._moment.monotonic
        try:
            sample = self._read(data, took)
        except CommandError as refused:
            self._end(refused)
            return
        # Otherwise it is a late answer, or from another machine.
        if sample is not None:
            self._cookie = b""
            self.samples.append(sample)
            self._stop()
            if self.sent < self._count:
                self._timer = self._clock.callLater(PAUSE, self._send)
            else:
                self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(reason.value)

    def _request(self) -> bytes:
        return encode_request(self._cookie)

    def _read(self, reply: bytes, took: float) -> Sample | None:
        """Interpret a reply that took so many seconds, as L{read_sample} does."""
        return read_sample(reply, self._cookie, self._moment.wall, took)

    def _why_overdue(self) -> CommandError:
        return no_answer(self._timeout)

    def _send(self) -> None:
        self.sent += 1
        self._cookie = secrets.token_bytes(_COOKIE_BYTES)
        request = self._request()
        self._timer = None
        if self._timeout:
            self._wait(self._timeout)
        self._moment = Timestamp(self._wall_clock(), self._clock.seconds())
        self.transport.write(request)

    def _wait(self, seconds: float) -> None:
        """Give the request up after so many seconds."""
        self._stop()
        self._timer = self._clock.callLater(seconds, lambda: self._end(self._why_overdue()))

    def _end(self, error: BaseException | None = None) -> None:
        """End with the samples so far; with an error if there are none."""
        if self.done.called:
            return
        self._stop()
        if error is None or self.samples:
            self.done.callback(None)
        else:
            self.done.errback(error)
        self.transport.abortConnection()

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


async def query_ntp(reactor: Any, address: Address, count: int, timeout: float) -> NtpQuery:
    """Ask a server; raise any error that L{socketd.cli.transport.error_text.explain} describes."""
    query = NtpQuery(reactor, count, timeout)
    await connect(reactor, address, query)
    await query.done
    return query
