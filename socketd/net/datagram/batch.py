"""The datagrams that a protocol takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from struct import Struct
from typing import Any

from zope.interface import implementer

from socketd.access.datagram_guard import REPLY_SIZE
from socketd.net.datagram.controls import Controls
from socketd.net.datagram.mmsg import MAX_SIZE
from socketd.protocols.batches import IDatagramBatch

_struct = lru_cache(Struct)


@implementer(IDatagramBatch)
class DatagramBatch:
    """The datagrams of a turn that the guard has let in."""

    def __init__(
        self,
        port: Any,
        numbers: Sequence[int],
        lengths: Sequence[int],
        sources: Sequence[Any],
    ) -> None:
        """
        @param port: the L{BatchedDatagramPort <socketd.net.datagram.batch_port>}.
        @param numbers: where each one stands in the buffers of the port.
        @param sources: their addresses.
        """
        self._port = port
        self._controls: Controls = port.controls
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

    def answer(
        self, answers: Sequence[bytes | None], tos: Sequence[int] | None = None
    ) -> None:
        numbers, lengths = self._take(len(answers))
        made: Sequence[Any] = answers[: len(numbers)]
        # Mostly none of them is missing, empty or too long.
        if not all(made) or made and max(map(len, made)) > self._least(lengths):
            fits = [*map(self._fits, made, lengths)]
            numbers, tos = [*compress(numbers, fits)], tos and [*compress(tos, fits)]
            made = [*compress(made, fits)]
        if made:
            self._port.send_to(numbers, self._port.messages.fill(made), tos)

    def _least(self, lengths: Sequence[int]) -> float:
        """How long an answer to any of these may be."""
        floor: float = self._port.floor
        return min(max(min(lengths), floor), MAX_SIZE)

    def _fits(self, answer: bytes | None, length: int) -> bool:
        """Say whether there is an answer to a datagram, and drop one that is too long."""
        if answer is None:
            return False
        fits = len(answer) <= self._least((length,))
        if not fits:
            self._port.drop(REPLY_SIZE)
        return fits

    @property
    def received_at(self) -> Sequence[int | None]:
        return self._controls.arrivals(self._numbers)

    @property
    def ttl(self) -> Sequence[int]:
        return self._controls.ttls(self._numbers)

    @property
    def tos(self) -> Sequence[int]:
        return self._controls.toses(self._numbers)

    def read(self, fields: str, count: int) -> Sequence[tuple[Any, ...]]:
        next_ = slice(self._done, self._done + count)
        packed, data = _struct("!" + fields), self._port.messages.data
        if min(self.lengths[next_], default=0) < packed.size:
            # What follows is of other datagrams.
            raise ValueError(f"not all of them have {packed.size} bytes")
        unpack = packed.unpack_from
        return [unpack(data, number * MAX_SIZE) for number in self._numbers[next_]]

    def rest(self, offset: int, count: int) -> Sequence[bytes]:
        next_, data = slice(self._done, self._done + count), self._port.messages.data
        starts = [number * MAX_SIZE for number in self._numbers[next_]]
        return [
            data[start + offset : start + length].tobytes()
            for start, length in zip(starts, self.lengths[next_])
        ]

    def deliver(self, count: int) -> None:
        if self._done < len(self._numbers):
            sources = self.sources[self._done : self._done + count]
            self._port.deliver(*self._take(count), sources)
            self._port.flush()

    def end(self) -> None:
        """Deliver what is left."""
        self.deliver(len(self._numbers))
