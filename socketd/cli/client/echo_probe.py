"""
Questions to a service that says back what it is told, and how long that takes.
"""

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
from socketd.cli.common.errors import CommandError
from socketd.cli.transport.interface import IPeerTransport

MARK = 16
"""
The bytes of a question's number, in hexadecimal digits: no two questions are the same as long as
they have room for it.
"""

FILLING = b"abcdefghijklmnopqrstuvwxyz"

MAX_OVERDUE = 64
"""
So many questions are remembered whose answers may still come late; it must not be taken for that
to a later one.
"""


@frozen
class Plan:
    """
    What is asked.

    @ivar count: how many questions.
    @ivar interval: seconds from one to the next; the next waits for an answer, too.
    @ivar timeout: seconds after which a question counts as lost.
    @ivar size: the bytes of each.
    """

    count: int
    interval: float
    timeout: float
    size: int

    def question(self, number: int) -> bytes:
        """
        Make one question.

        @param number: which one, from 0 on.
        @return: C{size} bytes.
        """
        mark = (b"%0*x" % (MARK, number))[-min(self.size, MARK) :]
        return (mark + FILLING * (self.size // len(FILLING) + 1))[: self.size]


@define
class Asked:
    """
    A question that has no answer yet.

    @ivar data: what was sent.
    @ivar when: when, on the clock.
    @ivar is_lost: whether nobody waits for it any more.
    """

    data: bytes
    when: float
    is_lost: bool = False


class Pinging:
    """
    Asks one question after the other, and compares each answer with it.

    @ivar done: fires in the end; fails when the peer is lost.
    """

    def __init__(
        self, clock: Any, plan: Plan, told: Callable[[int, int], object] = lambda *counts: None
    ) -> None:
        """
        Begin with nobody to ask.

        @param clock: what keeps the time.
        @param plan: what is asked.
        @param told: called after each question with how many were asked, and answered.
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
        """
        What there is so far.
        """
        return RoundTrips(self._sent, tuple(self._times), self._wrong)

    def start(self, link: IPeerTransport) -> None:
        """
        Begin to ask.

        @param link: the way to the peer, which is connected.
        """
        self._link = link
        self._began = self._clock.seconds()
        self._ask()

    # What the link calls.

    def answered(self, data: bytes) -> None:
        """
        Compare an answer.

        @param data: some bytes of a stream, or a datagram.
        """
        if self._link.keeps_messages:
            self._compare_datagram(data)
        else:
            self._compare_stream(data)

    def peer_ended(self) -> None:
        """
        End: nothing more will come back.
        """
        self._end(CommandError("the peer has closed the connection"))

    def lost(self, reason: Failure) -> None:
        """
        End.

        @param reason: why there is no peer any more.
        """
        done = CommandError("the peer has closed the connection")
        self._end(done if reason.check(ConnectionDone) else reason.value)

    # One question after the other.

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
                # What came now could not be told from what belongs to it.
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
        """
        Take a right answer; one that is late changes nothing.
        """
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
