"""The sources whose datagrams have numbers, and what these show of each."""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from socketd.protocols.measure.sequence import DUPLICATE, LATE, LOST, Arrivals
from socketd.protocols.spec import ProtocolContext

#: The most sources of a service that are told apart, as many as the rates know (2 MB); one more
#: takes the place of the one that was silent for longest.
MAX_NUMBERED = 4096

#: A source that was silent for so long (seconds) has ended: its port may have another owner.
EXPIRY = 300.0

#: What is counted, as metrics name it. A gap counts as lost at once, and what fills it as late:
#: lost for good is C{lost} less C{late}. What has no number is C{short}.
RECEIVED, SHORT = "received", "short"
COUNTED = (RECEIVED, LOST, LATE, DUPLICATE, SHORT)


@frozen
class NumberField:
    """Where a datagram has its number: the first byte, and how many; big-endian."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size

    def __str__(self) -> str:
        return f"{self.offset}:{self.size}"


@define(eq=False)
class NumberedSource:
    """
    A source, an address and a port, with what its numbers show.

    @ivar seen: when its last datagram came, on the clock of its service.
    """

    arrivals: Arrivals
    seen: float


@define
class NumberedSources:
    """Counts datagrams by their numbers, in the record of a service."""

    _field: NumberField
    _context: ProtocolContext
    _numbers: int = field(init=False)

    @_numbers.default
    def _count_numbers(self) -> int:
        return 1 << 8 * self._field.size

    def add(self, datagram: bytes, source: Any) -> None:
        """Count a datagram of a source."""
        record = self._context.record
        counts = record.counters.numbered
        number = datagram[self._field.offset : self._field.end]
        if len(number) < self._field.size:
            counts[SHORT] += 1
            return
        counts[RECEIVED] += 1
        shown = self._arrivals_of(source).add(int.from_bytes(number, "big"))
        if shown is not None:
            counts[shown[0]] += shown[1]

    def _arrivals_of(self, source: Any) -> Arrivals:
        sources, now = self._context.record.sources, self._context.clock.seconds()
        found = sources.get(source)
        if found is None or now - found.seen > EXPIRY or found.arrivals.size != self._numbers:
            found = sources[source] = NumberedSource(Arrivals(self._numbers), now)
            if len(sources) > MAX_NUMBERED:
                sources.popitem(last=False)
        found.seen = now
        sources.move_to_end(source)
        arrivals: Arrivals = found.arrivals
        return arrivals
