"""Round-trip measurement against an echo service, at an interval or as fast as it answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.client.round_trip_stats import RoundTripStats
from socketd.cli.transport.interface import Probe
from socketd.common.errors import CommandError

#: Bytes of the request number (hexadecimal digits) at the start of each request; requests of at
#: least this size are distinct.
NUMBER_BYTES = 16

FILLING = b"abcdefghijklmnopqrstuvwxyz"

#: Outstanding timed-out requests that are remembered, to match late replies.
MAX_OVERDUE = 64

CLOSED = "the peer has closed the connection"

#: Seconds after which the next request is sent though none was answered, as C{ping -f} does.
PAUSE = 0.01

#: The most requests without an answer; they fit the buffers of both sides. No more are sent
#: until one of them is answered or lost.
MAX_IN_FLIGHT = 128


@frozen
class Plan:
    """The parameters of a measurement; times are in seconds, the size in bytes per request."""

    count: int
    #: The next request also waits for the pending reply.
    interval: float
    timeout: float
    size: int

    def request(self, number: int) -> bytes:
        """Build one request; the first number is 0."""
        digits = (b"%0*x" % (NUMBER_BYTES, number))[-min(self.size, NUMBER_BYTES) :]
        return (digits + FILLING * (self.size // len(FILLING) + 1))[: self.size]


@define
class EchoRequest:
    """A request without a reply yet, sent at a time of the monotonic clock."""

    data: bytes
    sent_at: float
    is_lost: bool = False


class EchoProbe(Probe):
    """Sends the requests one at a time, and compares each reply with its request."""

    def __init__(
        self, clock: Any, plan: Plan, progress: Callable[[int, int], object] = lambda *_: None
    ) -> None:
        """@param progress: called after each request with the numbers sent and answered."""
        super().__init__(clock)
        self._plan = plan
        self._progress = progress
        self._pending: deque[EchoRequest] = deque()
        self._times: list[float] = []
        self._sent = self._wrong = 0
        self._rest = b""
        self._started_at = 0.0

    @property
    def stats(self) -> RoundTripStats:
        """The results so far."""
        return RoundTripStats(self._sent, tuple(self._times), self._wrong)

    # Called by the transport.

    def connectionMade(self) -> None:
        self._started_at = self._clock.seconds()
        self._send()

    def dataReceived(self, data: bytes) -> None:
        if self.transport.is_datagram:
            self._compare_datagram(data)
        else:
            self._compare_stream(data)

    def readConnectionLost(self) -> None:
        """Fail on EOF: no further reply can come."""
        self._end(CommandError(CLOSED))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(CommandError(CLOSED) if reason.check(ConnectionDone) else reason.value)

    # One request at a time.

    def _send(self) -> None:
        request = EchoRequest(self._plan.request(self._sent), self._clock.seconds())
        self._sent += 1
        self._pending.append(request)
        self._wait()
        self.transport.write(request.data)

    def _wait(self) -> None:
        self._set_timer(self._plan.timeout, self._timed_out)

    def _timed_out(self) -> None:
        if self._pending:
            self._pending[-1].is_lost = True
        if len(self._pending) > MAX_OVERDUE:
            self._pending.popleft()
            if not self.transport.is_datagram:
                # In a stream, a late reply to the forgotten request would shift all later ones.
                self._end(CommandError(f"{MAX_OVERDUE} questions in a row without an answer"))
        self._schedule()

    def _schedule(self) -> None:
        if self.done.called:
            return
        self._progress(self._sent, len(self._times))
        if self._sent >= self._plan.count:
            self._end()
            return
        due = self._started_at + self._sent * self._plan.interval
        self._set_timer(due - self._clock.seconds(), self._send)

    def _record(self, request: EchoRequest) -> None:
        """Record a correct reply; a late one is ignored."""
        if not request.is_lost:
            self._times.append(self._clock.seconds() - request.sent_at)
            self._stop_timer()
            self._schedule()

    def _compare_datagram(self, data: bytes) -> None:
        for request in self._pending:
            if request.data == data:
                self._pending.remove(request)
                self._record(request)
                return
        self._wrong += 1

    def _compare_stream(self, data: bytes) -> None:
        self._rest += data
        while self._pending and len(self._rest) >= len(self._pending[0].data):
            request = self._pending.popleft()
            size = len(request.data)
            reply, self._rest = self._rest[:size], self._rest[size:]
            if reply != request.data:
                self._wrong += 1
                self._end(CommandError("the peer answers something else than it was sent"))
                return
            self._record(request)
        if self._rest and not self._pending:
            self._wrong += 1
            self._end(CommandError("the peer answers more than it was sent"))


class FloodProbe(EchoProbe):
    """
    Sends a request whenever a reply comes or L{PAUSE} has passed without one, up to
    L{MAX_IN_FLIGHT} at a time; one without a reply within the timeout is lost.
    """

    def _wait(self) -> None:
        self._set_timer(PAUSE, self._timed_out)

    def _timed_out(self) -> None:
        overdue = self._clock.seconds() - self._plan.timeout
        while self._pending and self._pending[0].sent_at <= overdue:
            if not self.transport.is_datagram:
                # What is lost in a stream shifts all that follows.
                self._end(CommandError(f"no answer within {self._plan.timeout:g} s"))
                return
            self._pending.popleft()
        self._schedule()

    def _schedule(self) -> None:
        if self.done.called:
            return
        self._progress(self._sent, len(self._times))
        if self._sent < self._plan.count and len(self._pending) < MAX_IN_FLIGHT:
            self._send()
        elif self._pending or self._sent < self._plan.count:
            self._wait()
        else:
            self._end()

    def _compare_datagram(self, data: bytes) -> None:
        if not self._is_late(data):
            super()._compare_datagram(data)

    def _is_late(self, data: bytes) -> bool:
        """Tell whether a datagram answers a request that is lost already, or answered."""
        if self._plan.size < NUMBER_BYTES or any(one.data == data for one in self._pending):
            return False
        try:
            number = int(data[:NUMBER_BYTES], 16)
        except ValueError:
            return False
        return 0 <= number < self._sent and self._plan.request(number) == data
