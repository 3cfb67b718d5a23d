"""
Faults of datagrams: what a network does to the answers of a service.

A L{FaultyDatagrams} stands between a port and its protocol as long as the service has a fault
profile. Each received datagram draws once, for all its answers. The steps are in the order of a
path: loss, truncation and corruption, reordering, bandwidth, latency. Nothing keeps the order
of the answers: one with a shorter delay, or with none, overtakes others, as with netem.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from heapq import heappop, heappush
from itertools import count, takewhile
from math import inf
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from socketd.faults.draws import DatagramDraw
from socketd.faults.service_faults import ServiceFaults
from socketd.net.service_state import ServiceState
from socketd.settings.faults.values import NEVER_READ

#: Held answers of a port, and their bytes: a netem queue has 1000 packets of 1500 bytes, and a
#: tenth of a second of the fastest client here is 4000 answers.
MAX_HELD = 4096
MAX_HELD_BYTES = 4 * 1024 * 1024

#: How long an answer waits for later ones to pass (seconds): the last one of a client must not
#: be lost, and one that asks once a second shall see the order changed.
MAX_REORDER_WAIT = 2.0

#: The longest queue of one source before a bandwidth (seconds); a client has long given up.
MAX_BACKLOG = 60.0

#: The reason to drop an answer that does not fit in one of these bounds.
FAULT_QUEUE = "fault_queue"


class Question(Protocol):
    """A received datagram, which can be answered at any later time."""

    source: Any

    @property
    def trusted(self) -> bool:
        """Whether its source cannot be forged."""

    def spend(self, size: int) -> bool:
        """Take so many bytes from what may answer it; else count them as dropped."""

    def mark(self, tos: int) -> None:
        """Have the answers leave with the TTL of measurements and this TOS."""

    def send(self, datagram: bytes) -> None:
        """Send an answer that was paid for."""


@define(eq=False)
class Held:
    """
    An answer on its way.

    @ivar number: its place in the order in which the answers were made.
    @ivar passing: how many later answers it waits for.
    """

    question: Question
    datagram: bytes
    draw: DatagramDraw
    number: int
    copies: int
    passing: int

    @property
    def size(self) -> int:
        """Its bytes on the wire."""
        return len(self.datagram) * self.copies


@define(eq=False)
class Hit:
    """A datagram whose answers have faults."""

    faulty: FaultyDatagrams
    draw: DatagramDraw
    question: Question

    def answer(self, datagram: bytes) -> None:
        """Answer, now or later."""
        self.faulty.answer(self, datagram)

    def mark(self, tos: int) -> None:
        """Have the answers leave with this TOS."""
        self.question.mark(tos)


@define(eq=False)
class Reordering:
    """The answers that wait for later ones to their source to pass; each source has its own."""

    _by_source: dict[Hashable, list[Held]] = field(factory=dict, init=False)
    # In the order of the deadlines, since all wait equally long.
    _deadlines: dict[Held, float] = field(factory=dict, init=False)

    @property
    def next_deadline(self) -> float:
        """When the first one has waited long enough."""
        return next(iter(self._deadlines.values()), inf)

    def add(self, held: Held, now: float) -> None:
        """Let an answer wait."""
        self._by_source.setdefault(held.question.source, []).append(held)
        self._deadlines[held] = now + MAX_REORDER_WAIT

    def passed(self, source: Hashable) -> list[Held]:
        """Count an answer that leaves, and take the ones that no longer wait."""
        waiting = self._by_source.get(source, ())
        for held in waiting:
            held.passing -= 1
        return self._take([held for held in waiting if held.passing <= 0])

    def overdue(self, now: float) -> list[Held]:
        """Take those that have waited long enough."""
        due = takewhile(lambda item: item[1] <= now, self._deadlines.items())
        return self._take([held for held, _ in due])

    def take_all(self) -> list[Held]:
        """Take all."""
        return self._take(list(self._deadlines))

    def _take(self, ready: list[Held]) -> list[Held]:
        for held in ready:
            del self._deadlines[held]
            waiting = self._by_source[held.question.source]
            waiting.remove(held)
            if not waiting:
                del self._by_source[held.question.source]
        return ready


@implementer(IUDPTransport)
class FaultyDatagrams(DatagramProtocol):
    """
    The protocol of a port and the transport of its protocol, which applies faults between them.

    @ivar faults: what each datagram draws from.
    @ivar protocol: the real one.
    """

    def __init__(
        self,
        port: Any,
        protocol: DatagramProtocol,
        clock: Any,
        service_state: ServiceState,
        faults: ServiceFaults,
    ) -> None:
        self.faults = faults
        self._port = port
        self.protocol = protocol
        self._clock = clock
        self._counters = service_state.counters
        self._hit: Hit | None = None
        self._numbers = count()
        self._reordering = Reordering()
        self._queue: list[tuple[float, int, Held]] = []
        # When the bandwidth of a source is free again; only of sources with held answers.
        self._free_at: dict[Hashable, float] = {}
        self._held = self._held_bytes = 0
        self._timer: IDelayedCall | None = None
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        # All else of the port that a protocol may use.
        return getattr(self._port, name)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        # Without the port, which clients let the system choose.
        draw = self.faults.draw_datagram(addr[0] if isinstance(addr, tuple) else addr)
        if draw is not None:
            if draw.unanswered == NEVER_READ:
                self._count(NEVER_READ)
                return
            self._hit = Hit(self, draw, self._port.question())
        try:
            self.protocol.datagramReceived(datagram, addr)
        finally:
            self._hit = None

    def connectionRefused(self) -> None:
        self.protocol.connectionRefused()

    def question(self) -> Any:
        """Take over the answering of the current datagram, as the port does."""
        return self._hit or self._port.question()

    def mark(self, tos: int) -> None:
        """Mark the next answer, as the port does."""
        (self._hit or self._port).mark(tos)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        hit = self._hit
        if hit is None or addr != hit.question.source:
            self._port.write(datagram, addr)
            self._pass(addr)
        else:
            self.answer(hit, datagram)

    def writeSequence(self, seq: Iterable[bytes], addr: Any) -> None:
        """Send several pieces as one datagram."""
        self.write(b"".join(seq), addr)

    def answer(self, hit: Hit, datagram: bytes) -> None:
        """Send an answer with the faults of its question."""
        question, draw = hit.question, hit.draw
        if not question.spend(len(datagram)):
            return
        if self._ended:
            question.send(datagram)
        elif draw.unanswered:
            self._count(draw.unanswered)
        else:
            datagram = self._damage(draw, datagram)
            copies = self._copies(hit, len(datagram))
            self._hold(Held(question, datagram, draw, next(self._numbers), copies, draw.gap))

    def _damage(self, draw: DatagramDraw, datagram: bytes) -> bytes:
        for name, damaged in (("truncate", draw.truncate), ("corrupt", draw.corrupt)):
            before, datagram = datagram, damaged(datagram)
            if datagram != before:
                self._count(name)
        return datagram

    def _copies(self, hit: Hit, size: int) -> int:
        """Say how often to send an answer: a copy to a source that may be forged has to fit."""
        question = hit.question
        if not hit.draw.duplicated or not (question.trusted or question.spend(size)):
            return 1
        self._count("duplicate")
        return 2

    def _hold(self, held: Held) -> None:
        if self._held >= MAX_HELD or self._held_bytes + held.size > MAX_HELD_BYTES:
            self._drop()
            return
        self._held += 1
        self._held_bytes += held.size
        if held.passing:
            self._count("reorder")
            self._reordering.add(held, self._clock.seconds())
            self._arm()
        else:
            self._schedule(held)
            self._pass(held.question.source)

    def _pass(self, source: Hashable) -> None:
        """Let those that waited for one more answer to this source leave behind it."""
        for held in self._reordering.passed(source):
            self._schedule(held)

    def _schedule(self, held: Held) -> None:
        """Decide when an answer leaves: bandwidth first, then latency."""
        due = now = self._clock.seconds()
        source, rate = held.question.source, held.draw.bandwidth
        if rate:
            due = max(now, self._free_at.get(source, now)) + held.size / rate
            if due - now > MAX_BACKLOG:
                self._leave(held)
                self._drop()
                return
            self._free_at[source] = due
            self._count("bandwidth")
        if held.draw.delay:
            due += held.draw.delay
            self._count("latency")
        heappush(self._queue, (due, next(self._numbers), held))
        self._send_due()

    def _send_due(self) -> None:
        """Send what is due, and set the timer for the rest."""
        now = self._clock.seconds()
        while self._queue and self._queue[0][0] <= now:
            held = heappop(self._queue)[2]
            if self._free_at.get(held.question.source, inf) <= now:
                del self._free_at[held.question.source]
            self._send(held)
        self._arm()

    def _send(self, held: Held) -> None:
        self._leave(held)
        for _ in range(held.copies):
            held.question.send(held.datagram)

    def _leave(self, held: Held) -> None:
        self._held -= 1
        self._held_bytes -= held.size

    def _arm(self) -> None:
        when = min(self._queue[0][0] if self._queue else inf, self._reordering.next_deadline)
        if when == inf:
            return
        delay = max(0.0, when - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._fire)
        elif when < self._timer.getTime():
            self._timer.reset(delay)

    def _fire(self) -> None:
        self._timer = None
        for held in self._reordering.overdue(self._clock.seconds()):
            self._schedule(held)
        self._send_due()

    def end(self) -> None:
        """Send all that is held in the order in which it was made, and add no more faults."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._reordering.take_all() + [held for _, _, held in self._queue]
        self._queue.clear()
        self._free_at.clear()
        for held in sorted(waiting, key=lambda held: held.number):
            self._send(held)

    def _count(self, fault: str) -> None:
        self._counters.faults[fault] += 1

    def _drop(self) -> None:
        self._counters.datagrams_dropped[FAULT_QUEUE] += 1
