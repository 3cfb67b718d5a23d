"""Datagrams and times in any order, answered with any faults."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from socketd.net.faults.datagrams import FAULT_QUEUE, MAX_HELD, MAX_HELD_BYTES, FaultyDatagrams
from socketd.settings.faults.values import Accept, Latency, Loss, Reorder
from tests.net.faults.faulty_case import FakePort, make_faults
from tests.support.fakes import DatagramRecorder, make_service_state

#: The options of a profile, each with what it can be; a bit of the first bytes chooses each.
CHOICES: tuple[tuple[str, Any], ...] = (
    ("latency", Latency(0.5)),
    ("latency", Latency(0.5, 0.4, "normal")),
    ("bandwidth", 1000),
    ("loss", Loss(0.3, 0.5)),
    ("duplicate", 0.5),
    ("reorder", Reorder(0.5, 2)),
    ("corrupt", 0.5),
    ("truncate", 0.5),
    ("share", 0.5),
    ("first", 5),
    ("skip", 1),
    ("accept", Accept("silent")),
    ("accept", Accept("never-read")),
)

#: Clients, and the longest step of time (seconds).
SOURCES = 4
STEP = 3.0


class World:
    """An echo whose port answers with faults, and what has been asked of it."""

    def __init__(self, bits: int) -> None:
        self.clock = Clock()
        self.trusted = bool(bits & 1)
        self.port = FakePort(self.clock, self.trusted)
        self.service_state, _ = make_service_state(self.clock)
        options = {name: one for at, (name, one) in enumerate(CHOICES, 1) if bits >> at & 1}
        self.protocol = DatagramRecorder()
        self.faulty = FaultyDatagrams(
            self.port, self.protocol, self.clock, self.service_state, make_faults(**options)
        )
        self.protocol.transport = self.faulty
        self.asked: dict[Any, int] = {}

    def step(self, byte: int, size: int) -> None:
        """Let a client ask, or time pass."""
        if byte & 1:
            self.clock.advance(STEP * byte / 255)
            return
        source = (f"192.0.2.{byte >> 1 & SOURCES - 1}", 4711)
        self.asked[source] = self.asked.get(source, 0) + size
        self.port.current = source, size
        self.faulty.datagramReceived(bytes(size), source)
        assert self.faulty._held <= MAX_HELD and self.faulty._held_bytes <= MAX_HELD_BYTES

    def end(self) -> list[tuple[float, bytes, Any]]:
        """End the faults, and see that each answer was sent, or counted with the reason."""
        self.faulty.end()
        assert not self.clock.getDelayedCalls()
        state: Any = self.faulty
        assert not (state._held or state._held_bytes or state._queue or state._free_at)
        counters = self.service_state.counters
        answers = len(self.protocol.received) + counters.faults["duplicate"]
        unsent = counters.faults["loss"] + counters.faults["silent"]
        dropped = counters.datagrams_dropped[FAULT_QUEUE]
        assert len(self.port.sent) + unsent >= answers - 2 * dropped
        assert len(self.port.sent) + unsent + dropped <= answers
        if not self.trusted:
            self.check_sizes()
        return self.port.sent

    def check_sizes(self) -> None:
        """See that no source was sent more bytes than it has sent."""
        for _, datagram, source in self.port.sent:
            self.asked[source] -= len(datagram)
        assert min(self.asked.values(), default=0) >= 0, self.asked


def run(data: bytes) -> list[tuple[float, bytes, Any]]:
    """
    Do what the bytes say: two of them choose the profile, and each pair is a step.

    @return: what was sent, and when.
    """
    world = World(int.from_bytes(data[:2], "big"))
    for at in range(2, len(data) - 1, 2):
        world.step(data[at], data[at + 1])
    return world.end()


def check_faults(data: bytes) -> None:
    """
    With any faults each answer is sent, lost or counted; a source that may be forged is sent
    no more than it has sent, duplicates included; a run repeats.
    """
    assert run(data) == run(data)
