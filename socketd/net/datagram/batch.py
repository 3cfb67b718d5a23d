"""The datagrams that a protocol takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from zope.interface import implementer

from socketd.access.datagram_guard import REPLY_SIZE
from socketd.net.datagram.mmsg import MAX_SIZE, Messages
from socketd.protocols.batches import IDatagramBatch


class BatchPort(Protocol):
    """
    What a batch needs of its port.

    @ivar floor: bytes that may answer the shortest datagram.
    """

    messages: Messages
    floor: float

    def drop(self, reason: str, count: int = 1) -> None:
        """Count answers that are dropped."""

    def send_to(self, numbers: Sequence[int], size: int) -> None:
        """Send answers, whose payloads are filled in, to these datagrams."""

    def deliver(
        self, numbers: Sequence[int], lengths: Sequence[int], sources: Sequence[Any]
    ) -> None:
        """Pass each of these datagrams to the protocol."""

    def flush(self) -> None:
        """Send the answers that wait."""


@implementer(IDatagramBatch)
class DatagramBatch:
    """The datagrams of a turn that the guard has let in."""

    def __init__(
        self,
        port: BatchPort,
        numbers: Sequence[int],
        lengths: Sequence[int],
        sources: Sequence[Any],
    ) -> None:
        """
        @param numbers: where each one stands in the buffers of the port.
        @param sources: their addresses.
        """
        self._port = port
        self._numbers = numbers
        self.sources = sources
        self.lengths = lengths
        self._done = 0

    @property
    def next_source(self) -> Any:
        """The source of the next datagram, or of the last one."""
        return self.sources[min(self._done, len(self.sources) - 1)]

    def _take(self, count: int) -> tuple[Sequence[int], Sequence[int]]:
        """Take the next datagrams; return their numbers and their lengths."""
        first = self._done
        numbers, lengths = self._numbers, self.lengths
        if first or count < len(numbers):
            numbers, lengths = numbers[first : first + count], lengths[first : first + count]
        self._done = first + len(numbers)
        return numbers, lengths

    def answer_all(self, answer: bytes) -> None:
        size, port = len(answer), self._port
        if size > MAX_SIZE:
            # One by one: a UNIX socket may take it.
            return
        numbers, lengths = self._take(len(self._numbers))
        if size > port.floor and numbers and size > min(lengths):
            fitting = [number for number, length in zip(numbers, lengths) if size <= length]
            port.drop(REPLY_SIZE, len(numbers) - len(fitting))
            numbers = fitting
        if numbers:
            port.send_to(numbers, port.messages.fill_all(answer, len(numbers)))

    def echo(self) -> None:
        numbers, lengths = self._take(len(self._numbers))
        if numbers:
            self._port.send_to(numbers, self._port.messages.fill_back(numbers, lengths))

    def answer(self, answers: Sequence[bytes | None]) -> None:
        numbers, lengths = self._take(len(answers))
        made = [answer for answer in answers if answer is not None]
        if len(made) < len(numbers) or made and max(map(len, made)) > self._least(lengths):
            numbers, made = self._fitting(numbers, answers, lengths)
        if made:
            self._port.send_to(numbers, self._port.messages.fill(made))

    def _least(self, lengths: Sequence[int]) -> float:
        """How long an answer to any of these may be."""
        return min(max(min(lengths), self._port.floor), MAX_SIZE)

    def _fitting(
        self, numbers: Sequence[int], answers: Sequence[bytes | None], lengths: Sequence[int]
    ) -> tuple[list[int], list[bytes]]:
        """Leave out datagrams without an answer, and drop the answers that are too long."""
        floor, kept, made = self._port.floor, [], []
        for number, answer, length in zip(numbers, answers, lengths):
            if answer is not None and len(answer) <= min(max(length, floor), MAX_SIZE):
                kept.append(number)
                made.append(answer)
            elif answer is not None:
                self._port.drop(REPLY_SIZE)
        return kept, made

    def deliver(self, count: int) -> None:
        if self._done < len(self._numbers):
            sources = self.sources[self._done : self._done + count]
            self._port.deliver(*self._take(count), sources)
            self._port.flush()

    def end(self) -> None:
        """Deliver what is left."""
        self.deliver(len(self._numbers))
