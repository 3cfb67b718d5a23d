"""How a protocol answers many datagrams at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define
from zope.interface import Attribute, Interface


class IDatagramBatch(Interface):
    """
    Datagrams that were received together, two or more, and may be answered.

    They are answered from the first one on: each method answers the next ones. What is longer
    than it may be is dropped and counted, as C{transport.write} does.
    """

    lengths: Sequence[int] = Attribute("The length of each datagram.")
    sources: Sequence[Any] = Attribute("Where it came from, as C{datagramReceived} is told.")
    received_at: Sequence[int] = Attribute(
        "When it came, in nanoseconds since 1970, for protocols that are C{timestamped}."
    )
    ttl: Sequence[int] = Attribute("Its TTL on arrival, for protocols that ask for C{ip_header}.")
    tos: Sequence[int] = Attribute("Its TOS, likewise.")

    def read(fields: str, count: int) -> Sequence[tuple[Any, ...]]:
        """
        Read the first bytes of each of the next datagrams; they are not answered by that.

        @param fields: as for C{struct}, in network byte order; no datagram may be shorter.
        """

    def rest(offset: int, count: int) -> Sequence[bytes]:
        """
        Read what is behind the first bytes of each of the next datagrams, likewise.

        @param offset: how many these are; no datagram may be shorter.
        """

    def answer_all(answer: bytes) -> None:
        """Give each datagram that is left the same answer."""

    def echo() -> None:
        """Send each datagram that is left back as it came."""

    def answer(answers: Sequence[bytes | None], tos: Sequence[int] | None = None) -> None:
        """
        Answer the next datagrams at once, each with its own answer; C{None}: not at all.

        @param tos: the TOS of each answer, whose TTL is 255 then, as by C{transport.mark}; for
            protocols that ask for C{ip_header}.
        """

    def deliver(count: int) -> None:
        """Pass the next datagrams to C{datagramReceived}."""


class IBatchProtocol(Interface):
    """
    A protocol of datagrams that can take many at once.

    Whether it is asked, or C{datagramReceived} for each one, has to be the same to a client: it
    is not for a single one, where messages are watched or logged, and where faults are on.
    """

    def batch_received(batch: IDatagramBatch) -> None:
        """Answer datagrams, and keep none; what is left goes to C{datagramReceived} then."""


#: The longest time (nanoseconds) between the transmit timestamp of an answer and its leaving that
#: a group may show: half of what may show in the clock of a client.
STAY = 50_000

#: The answers of the first group, and of the largest.
FIRST_GROUP, LARGEST_GROUP = 8, 32

#: How much more time (nanoseconds, beside a quarter) an answer is expected to take than in the
#: last group: one that was interrupted says little of the next one.
RISE = 250


@define
class Groups:
    """
    How many answers are written before they leave together, and when each of them will.

    The transmit timestamp of an answer is the time at which its group was begun, and L{each} for
    every one before it. That is earlier than it leaves, by L{STAY} at most: the clock is read when
    the answers of a group are written, and when they have left. The first one waits for all
    others to be written, and the last one for whatever took longer than expected.

    @ivar size: the answers of the next group.
    @ivar each: how long one is expected to take (nanoseconds).
    """

    size: int = FIRST_GROUP
    each: int = 0

    def serve(
        self, batch: IDatagramBatch, now: Callable[[], int], answer: Callable[[int, int], bool]
    ) -> None:
        """
        Answer a batch in groups.

        @param now: returns the time of day in nanoseconds.
        @param answer: is asked to answer the datagrams from one on, and so many, together; where
            it says no, they are delivered.
        """
        at, total = 0, len(batch.lengths)
        while at < total:
            count = min(self.size, total - at)
            if count == 1 or not answer(at, count):
                self._deliver(batch, count, now)
            at += count

    def _deliver(self, batch: IDatagramBatch, count: int, now: Callable[[], int]) -> None:
        if self.size > 1:
            batch.deliver(count)
            return
        # This machine was slow: see whether it still is.
        began = now()
        batch.deliver(1)
        self.has_left(1, 0, now() - began)

    def send(
        self,
        batch: IDatagramBatch,
        now: Callable[[], int],
        write: Callable[[int, int], Sequence[bytes | None]],
        tos: Sequence[int] | None = None,
    ) -> None:
        """
        Answer a group, and note how long that took.

        @param write: writes the answers; takes the transmit timestamp of the first one, and how
            much later every other one is (nanoseconds).
        @param tos: as for C{batch.answer}.
        """
        began = now()
        answers = write(began, self.each)
        written = now()
        batch.answer(answers, tos)
        self.has_left(len(answers), written - began, now() - began)

    def has_left(self, count: int, written: int, left: int) -> None:
        """
        Note how a group went, in nanoseconds since it was begun.

        @param written: when its answers were written.
        @param left: when they had left.
        """
        stay = max(written, left - self.each * (count - 1))
        if stay > STAY:
            self.size = max(1, self.size // 2)
        elif 2 * stay <= STAY:
            self.size = min(LARGEST_GROUP, self.size * 2)
        # A call of the system makes a few look slow: of what follows them they say no more.
        most = self.each if count < FIRST_GROUP else self.each * 5 // 4 + RISE
        self.each = max(0, min(left // count, most))
