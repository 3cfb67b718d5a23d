"""Round-trip measurement against an echo service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from socketd.cli.client.round_trip_stats import RoundTrips
from socketd.cli.transport.interface import IPeerTransport
from socketd.common.errors import CommandError

#: Bytes of the request number (hexadecimal digits) at the start of each request; requests of at
#: least this size are distinct.
MARK = 16

FILLING = b"abcdefghijklmnopqrstuvwxyz"

#: Outstanding timed-out requests that are remembered, to match late replies.
MAX_OVERDUE = 64


@frozen
class Plan:
    """
    The parameters of a measurement.

    @ivar count: the number of requests.
    @ivar interval: seconds between requests; the next request also waits for the pending reply.
    @ivar timeout: seconds after which a request counts as lost.
    @ivar size: bytes per request.
    """

    count: int
    interval: float
    timeout: float
    size: int

    def question(self, number: int) -> bytes:
        """
        Build one request.

        @param number: the request number, from 0.
        @return: C{size} bytes.
        """
        mark = (b"%0*x" % (MARK, number))[-min(self.size, MARK) :]
        return (mark + FILLING * (self.size // len(FILLING) + 1))[: self.size]


@define
class Asked:
    """
    A request without a reply yet.

    @ivar data: the bytes that were sent.
    @ivar when: the send time, in seconds of the clock.
    @ivar is_lost: whether the request has timed out.
    """

    data: bytes
    when: float
    is_lost: bool = False


class Pinging:
    """
    Sends the requests one at a time, and compares each reply with its request.

    @ivar done: fires when the measurement is complete; fails when the connection is lost.
    """

    def __init__(
        self, clock: Any, plan: Plan, told: Callable[[int, int], object] = lambda *counts: None
    ) -> None:
        """
        Create the probe, not yet connected.

        @param clock: the clock that schedules timeouts.
        @param plan: the parameters of the measurement.
        @param told: called after each request with the numbers of requests and replies so far.
        """
        self.done: Deferred[None] = Deferred()
        self._clock = clock
        self._plan = plan
        self._told = told
        self._asked: deque[Asked] = deque()
        self._times: list[float] = []
        self._sent = self._wrong = 0
        self._rest = b""
        self._began = 0.0
        self._turn: IDelayedCall | None = None

    @property
    def trips(self) -> RoundTrips:
        """The results so far."""
        return RoundTrips(self._sent, tuple(self._times), self._wrong)

    def start(self, link: IPeerTransport) -> None:
        """
        Send the first request.

        @param link: the transport, already connected.
        """
        self._link = link
        self._began = self._clock.seconds()
        self._ask()

    # Called by the transport.

    def answered(self, data: bytes) -> None:
        """
        Compare a reply with its request.

        @param data: bytes of a stream, or one datagram.
        """
        if self._link.keeps_messages:
            self._compare_datagram(data)
        else:
            self._compare_stream(data)

    def peer_ended(self) -> None:
        """Fail on EOF: no further reply can come."""
        self._end(CommandError("the peer has closed the connection"))

    def lost(self, reason: Failure) -> None:
        """
        Fail when the connection is lost.

        @param reason: why the connection ended.
        """
        done = CommandError("the peer has closed the connection")
        self._end(done if reason.check(ConnectionDone) else reason.value)

    # One request at a time.

    def _ask(self) -> None:
        now = self._clock.seconds()
        question = self._plan.question(self._sent)
        self._sent += 1
        self._asked.append(Asked(question, now))
        self._turn = self._clock.callLater(self._plan.timeout, self._give_up)
        self._link.send(question)

    def _give_up(self) -> None:
        self._turn = None
        if self._asked:
            self._asked[-1].is_lost = True
        if len(self._asked) > MAX_OVERDUE:
            self._asked.popleft()
            if not self._link.keeps_messages:
                # In a stream, a late reply to the forgotten request would shift all later ones.
                self._end(CommandError(f"{MAX_OVERDUE} questions in a row without an answer"))
        self._next()

    def _next(self) -> None:
        if self.done.called:
            return
        self._told(self._sent, len(self._times))
        if self._sent >= self._plan.count:
            self._end(None)
            return
        due = self._began + self._sent * self._plan.interval
        self._turn = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._ask)

    def _settle(self, asked: Asked) -> None:
        """Record a correct reply; a late one is ignored."""
        if asked.is_lost:
            return
        self._times.append(self._clock.seconds() - asked.when)
        self._stop()
        self._next()

    def _compare_datagram(self, data: bytes) -> None:
        for asked in self._asked:
            if asked.data == data:
                self._asked.remove(asked)
                self._settle(asked)
                return
        self._wrong += 1

    def _compare_stream(self, data: bytes) -> None:
        self._rest += data
        while self._asked and len(self._rest) >= len(self._asked[0].data):
            asked = self._asked.popleft()
            size = len(asked.data)
            answer, self._rest = self._rest[:size], self._rest[size:]
            if answer != asked.data:
                self._wrong += 1
                self._end(CommandError("the peer answers something else than it was sent"))
                return
            self._settle(asked)
        if self._rest and not self._asked:
            self._wrong += 1
            self._end(CommandError("the peer answers more than it was sent"))

    def _stop(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()

    def _end(self, failure: BaseException | None) -> None:
        if self.done.called:
            return
        self._stop()
        if failure is None:
            self._link.close()
            self.done.callback(None)
        else:
            self._link.abort()
            self.done.errback(failure)
