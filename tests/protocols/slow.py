"""A machine on which answers to many requests take time to write and to send."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from attrs import define, field
from zope.interface import implementer

from socketd.protocols.batches import IDatagramBatch
from socketd.protocols.clock.ntp_time import wide_timestamp

SECOND = 10**9


@implementer(IDatagramBatch)
@define
class SlowBatch:
    """
    Requests whose answers take time to write and to send, by the clock of a machine.

    @ivar sending: how long it takes (nanoseconds) to send one.
    @ivar left: each answer, and when it left.
    """

    machine: SlowMachine
    requests: list[bytes]
    sending: int
    lengths: list[int] = field(init=False)
    received_at: list[int] = field(init=False)
    left: list[tuple[bytes, int]] = field(factory=list)
    delivered: int = 0
    sources: Sequence[Any] = ()
    ttl: Sequence[int] = ()
    tos: Sequence[int] = ()
    marks: list[int] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.lengths = [*map(len, self.requests)]
        self.received_at = [self.machine.now] * len(self.requests)

    @property
    def _next(self) -> int:
        return len(self.left) + self.delivered

    def read(self, fields: str, count: int) -> Sequence[tuple[Any, ...]]:
        found = struct.Struct("!" + fields)
        return [found.unpack_from(one) for one in self.requests[self._next : self._next + count]]

    def rest(self, offset: int, count: int) -> Sequence[bytes]:
        return [one[offset:] for one in self.requests[self._next : self._next + count]]

    def answer(self, answers: Sequence[bytes | None], tos: Sequence[int] | None = None) -> None:
        self.marks += tos or ()
        self.machine.now += len(answers) * self.machine.writing
        for one in answers:
            self.machine.now += self.sending
            self.left.append((one or b"", self.machine.now))

    def deliver(self, count: int) -> None:
        self.machine.now += count * self.sending
        self.delivered += count

    def answer_all(self, answer: bytes) -> None:
        """Nothing: it is not asked for."""

    def echo(self) -> None:
        """Nothing: it is not asked for."""


@define
class SlowMachine:
    """A machine that has written an answer in so many nanoseconds."""

    now: int
    writing: int

    def read(self) -> int:
        """Read its clock."""
        return self.now


def sent_at(packet: bytes) -> int:
    """Read the transmit timestamp, in nanoseconds since 1970."""
    wide = struct.unpack("!40xQ", packet)[0]
    return int(-(-((wide - wide_timestamp(0)) * SECOND) >> 32))
