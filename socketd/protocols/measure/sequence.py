"""Loss, duplicates and reordering, as sequence numbers show them of each sender."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from attrs import define, field, frozen

from socketd.protocols.spec import ProtocolContext

#: Numbers below the highest that are told apart: a duplicate from a late one (RFC 4737 calls what
#: is later than its successor reordered). Older ones count as late.
WINDOW = 1024

#: A larger gap (numbers) is a sender that restarts, not loss: ten minutes at 100/s.
MAX_GAP = 65536

#: What numbers show beside what has come.
LOST, LATE, DUPLICATE = "lost", "late", "duplicate"


@define(eq=False)
class Arrivals:
    """
    The numbers of one sender that have come.

    A gap counts as lost at once; what fills it later counts as late and is in C{lost} still, so
    that neither number ever goes back: C{lost - late} are lost for good.

    @ivar size: how many numbers there are, after which they begin again at 0.
    """

    size: int = 1 << 32
    received: int = 0
    lost: int = 0
    duplicate: int = 0
    late: int = 0
    _highest: int = 0
    # The last ones of those that have come, one behind another; and of the others, bit N: whether
    # the number N below the highest of them has come.
    _in_order: int = 0
    _seen: int = 0

    def add(self, number: int) -> tuple[str, int] | None:
        """
        Count a number.

        @return: what was counted beside it: L{LOST}, L{DUPLICATE} or L{LATE}, and how many;
            C{None} if it was the next one.
        """
        self.received += 1
        if number == self._highest + 1 and self._seen:
            self._highest = number
            self._in_order += 1
            return None
        if self._in_order:
            self._note(self._in_order, self._in_order)
            self._in_order = 0
        ahead = (number - self._highest) % self.size
        behind = self.size - ahead
        if not self._seen or MAX_GAP < ahead and MAX_GAP < behind:
            self._highest, self._seen = number, 1
            return None
        if not ahead or ahead > behind:
            return self._add_old(behind % self.size)
        self.lost += ahead - 1
        self._highest = number
        self._note(ahead, 1)
        return (LOST, ahead - 1) if ahead > 1 else None

    def _note(self, ahead: int, come: int) -> None:
        """Note that the highest number is so much higher, and that the last ones have come."""
        # No longer than the window, however large the gap.
        newest = (1 << min(come, WINDOW)) - 1
        self._seen = (self._seen << min(ahead, WINDOW) | newest) & (1 << WINDOW) - 1

    def _add_old(self, behind: int) -> tuple[str, int]:
        if behind < WINDOW and self._seen >> behind & 1:
            self.duplicate += 1
            return DUPLICATE, 1
        self.late += 1
        self._seen |= 1 << behind if behind < WINDOW else 0
        return LATE, 1


#: The most sources of a service that are told apart, as many as the rates know (2 MB); one more
#: takes the place of the one that was silent for longest.
MAX_NUMBERED = 4096

#: A sender that was silent for so long (seconds) has ended: its port may have another owner. Those
#: of STAMP pause for minutes between two runs of a test.
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
class Sender:
    """
    A source, an address and a port, with what its numbers show; or a session of STAMP.

    @ivar seen: when its last datagram came (monotonic seconds).
    @ivar sent: the number of answers, which is the sequence number of the next one.
    @ivar previous: sequence number and time on the wire of the last answer.
    """

    arrivals: Arrivals = field(factory=Arrivals)
    seen: float = 0.0
    sent: int = 0
    previous: tuple[int, int] | None = None


class NumberedSources:
    """Counts datagrams by their numbers, in the record of a service."""

    def __init__(self, place: NumberField, context: ProtocolContext) -> None:
        self._field = place
        self._context = context
        self._numbers = 1 << 8 * place.size

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
            found = sources[source] = Sender(Arrivals(self._numbers))
            if len(sources) > MAX_NUMBERED:
                sources.popitem(last=False)
        found.seen = now
        sources.move_to_end(source)
        arrivals: Arrivals = found.arrivals
        return arrivals


#: Sessions of a port; each takes about 500 bytes. Further ones are answered without state.
MAX_SESSIONS = 4096

#: A sequence number of 0 after so long a pause (seconds) is a sender that restarts at the same
#: port; sooner it is a duplicate.
RESTART_PAUSE = 1.0


class Sessions:
    """
    The sessions of a stateful reflector (RFC 8762, section 4), by source and SSID.

    A full table takes no new one before an old one has ended, so that forged sources end none.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """@param clock: returns monotonic seconds."""
        self._clock = clock
        self._table: OrderedDict[Hashable, Sender] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def of(self, key: Hashable, sequence: int) -> Sender | None:
        """Find or begin the session of a packet; C{None} if the table is full."""
        now, table = self._clock(), self._table
        session = table.get(key)
        if session is None:
            self._expire(now)
            if len(table) >= MAX_SESSIONS:
                return None
        else:
            pause = now - session.seen
            if pause > EXPIRY or pause > RESTART_PAUSE and not sequence:
                session = None
        if session is None:
            session = table[key] = Sender()
        table.move_to_end(key)
        session.seen = now
        return session

    def _expire(self, now: float) -> None:
        """End the sessions that are over: the first ones, as they are in the order of use."""
        table = self._table
        while table:
            key, session = next(iter(table.items()))
            if now - session.seen <= EXPIRY:
                return
            del table[key]
