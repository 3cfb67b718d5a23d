"""Faulty datagrams without a socket: a port that writes down what leaves, and when."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf
from typing import Any

from attrs import define, field
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.faults.draws import ConnectionDraw
from socketd.faults.service_faults import ServiceFaults
from socketd.net.faults.datagrams import FaultyDatagrams, Question
from socketd.settings.faults.profile import FaultOptions, FaultProfile
from tests.support.fakes import DatagramRecorder, make_service_state

#: Two clients.
ALICE = ("192.0.2.1", 4001)
BOB = ("192.0.2.2", 4002)


def make_faults(**options: Any) -> ServiceFaults:
    """Make the faults of a service, with a seed of their own unless one is given."""
    return ServiceFaults(FaultProfile("flaky", FaultOptions(**{"seed": 7, **options})), "test")


def drawn(**options: Any) -> ConnectionDraw:
    """Draw for the first connection of a service."""
    draw = make_faults(**options).draw_connection()
    assert draw is not None
    return draw


@define(eq=False)
class FakeQuestion:
    """A question to a L{FakePort}."""

    source: Any
    port: FakePort
    left: float
    trusted: bool

    def spend(self, size: int) -> bool:
        """Take bytes, or count them as refused."""
        if size > self.left:
            self.port.refused.append(size)
            return False
        self.left -= size
        return True

    def mark(self, tos: int) -> None:
        """Set nothing: there is no IP header."""

    def send(self, datagram: bytes) -> None:
        """Write down an answer, with its time."""
        self.port.sent.append((self.port.clock.seconds(), datagram, self.source))


@define(eq=False)
class FakePort:
    """
    A port without a socket.

    @ivar sent: the time, the bytes and the address of each datagram that has left.
    """

    clock: Clock
    trusted: bool = True
    sent: list[tuple[float, bytes, Any]] = field(factory=list)
    refused: list[int] = field(factory=list)
    current: tuple[Any, int] = (None, 0)

    def question(self) -> Question:
        """Take over the current datagram; as long an answer as with C{echo} is allowed."""
        source, size = self.current
        return FakeQuestion(source, self, size if not self.trusted else inf, self.trusted)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """Write down what has no fault."""
        self.sent.append((self.clock.seconds(), datagram, addr))


class FaultyCase(SynchronousTestCase):
    """A service with faults and an echo, unless a test has another protocol."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = FakePort(self.clock)
        self.service_state, _ = make_service_state(self.clock)

    def serve(self, protocol: DatagramProtocol | None = None, **options: Any) -> None:
        """Begin to serve with these faults."""
        self.protocol: Any = DatagramRecorder() if protocol is None else protocol
        self.faulty = FaultyDatagrams(
            self.port, self.protocol, self.clock, self.service_state, make_faults(**options)
        )
        self.protocol.transport = self.faulty

    def ask(self, *datagrams: bytes, source: Hashable = ALICE) -> None:
        """Let datagrams come from a client."""
        for datagram in datagrams:
            self.port.current = source, len(datagram)
            self.faulty.datagramReceived(datagram, source)

    @property
    def sent(self) -> list[bytes]:
        """What has left so far."""
        return [datagram for _, datagram, _ in self.port.sent]

    @property
    def times(self) -> list[tuple[float, bytes]]:
        """What has left so far, and when (milliseconds)."""
        return [(round(1000 * when, 3), datagram) for when, datagram, _ in self.port.sent]

    def check_counted(self, **faults: int) -> None:
        """Check what has acted how often, and that there is nothing else."""
        counted = self.service_state.counters.faults
        found = {name.replace("-", "_"): number for name, number in counted.items()}
        self.assertEqual(found, faults)

    def check_empty(self) -> None:
        """Check that nothing is held, remembered or waited for any more."""
        faulty: Any = self.faulty
        reordering = faulty._reordering
        held = faulty._held, faulty._held_bytes, faulty._queue, faulty._free_at
        self.assertEqual(held, (0, 0, [], {}))
        self.assertEqual((reordering._by_source, reordering._deadlines), ({}, {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])
