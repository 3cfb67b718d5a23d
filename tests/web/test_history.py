"""Tests for L{socketd.web.history}."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.counters import Counters
from socketd.daemon.snapshot import ServiceSnapshot
from socketd.web.history import ALL, LENGTH, MAX_FIGURES, MAX_SERVICES, History, figures_of


def service(name: str = "echo", open_now: int = 0, **counts: Any) -> ServiceSnapshot:
    """Make a service with these counters; C{dropped} is by rate, C{kernel} by the kernel."""
    dropped, kernel = counts.pop("dropped", 0), counts.pop("kernel", None)
    counters = Counters(**counts)
    if dropped:
        counters.datagrams_dropped["source_rate"] = dropped
    return ServiceSnapshot(name, open_now, counters, kernel_drops=kernel)


class HistoryTests(SynchronousTestCase):
    """Tests for L{History}."""

    def setUp(self) -> None:
        self.history = History()
        self.now = 100.0

    def note(self, *services: ServiceSnapshot, elapsed: float = 1.0, lag: float = 0.0) -> object:
        """Let time pass, and take a sample."""
        self.now += elapsed
        return self.history.note(self.now, services, lag)

    def test_nothing(self) -> None:
        """At first there is none, nor of a service that there is not."""
        self.assertEqual((self.history.read(ALL), self.history.read("none")), ({}, {}))

    def test_rates(self) -> None:
        """Counters become rates per second, the first sample none; what is open is told as is."""
        self.note(service(open_now=3, messages_received=10))
        self.note(service(open_now=4, messages_received=25, bytes_received=7))
        found = self.history.read("echo")
        self.assertEqual(found, {"open": [3, 4], "messages": [0, 15], "in": [0, 7]})

    def test_fractions(self) -> None:
        """Rates have one digit behind the point; two samples at once are half a second apart."""
        self.note(service())
        told: Any = self.note(service(messages_received=1), elapsed=3.0, lag=0.1234567)
        self.assertEqual(told[ALL], {"messages": 0.3, "lag": 123.5})
        self.note(service(messages_received=5), elapsed=0.01)
        self.assertEqual(self.history.read("echo")["messages"][-2:], [0.3, 8])

    def test_bytes(self) -> None:
        """Bytes are those of streams and datagrams together."""
        found = figures_of(
            service(bytes_received=1, datagram_bytes_received=20, bytes_sent=300,
                    datagram_bytes_sent=4000)
        )  # fmt: skip
        self.assertEqual((found["in"], found["out"]), (21, 4300))

    def test_datagrams(self) -> None:
        """Datagrams and their answers are told apart."""
        found = figures_of(service(datagrams_received=3, datagrams_sent=2))
        self.assertEqual((found["datagrams"], found["answers"]), (3, 2))

    def test_drops(self) -> None:
        """Drops are told by reason, those of the kernel too."""
        self.note(service())
        told = self.note(service(dropped=5, kernel=2))
        expected = {"drop source_rate": 5.0, "drop kernel": 2.0}
        self.assertEqual(told, {"echo": expected, ALL: expected})

    def test_refusals(self) -> None:
        """Refused and overdue connections are told as sums."""
        found = Counters(refused=Counter(a=1, b=2), timed_out=Counter(c=4))
        figures = figures_of(ServiceSnapshot("a", 0, found))
        self.assertEqual((figures["refused"], figures["overdue"]), (3, 4))

    def test_all(self) -> None:
        """All services together are summed, and the lag of the event loop is theirs (ms)."""
        self.note(service("a", 1), service("b", 2))
        told = self.note(service("a", 1, connections=3), service("b", 2), lag=0.0125)
        self.assertEqual(told, {
            "a": {"open": 1, "connections": 3.0}, "b": {"open": 2},
            ALL: {"open": 3, "connections": 3.0, "lag": 12.5},
        })  # fmt: skip

    def test_late(self) -> None:
        """A late sample is a rate all the same, and the seconds that were missed have none."""
        self.note(service(messages_received=0))
        self.note(service(messages_received=8), elapsed=4.0)
        self.assertEqual(self.history.read("echo")["messages"], [0, 0, 0, 0, 2])
        self.note(service(messages_received=14), elapsed=3.0)
        self.assertEqual(self.history.read("echo")["messages"][-3:], [None, None, 2])

    def test_suspended(self) -> None:
        """However long nothing was sampled, no more than the whole ring is empty."""
        self.note(service(messages_received=1))
        self.note(service(messages_received=2))
        self.note(service(messages_received=3), elapsed=1e6)
        found = self.history.read("echo")["messages"]
        self.assertEqual((len(found), found[-2:]), (LENGTH, [None, 0]))

    def test_began_again(self) -> None:
        """A service whose counters began again has no negative rate."""
        self.note(service(messages_received=100))
        self.note(service(messages_received=3))
        self.assertEqual(self.history.read("echo"), {})

    def test_gone(self) -> None:
        """A service that is removed has nothing from then on."""
        self.note(service(open_now=2))
        self.note()
        self.assertEqual(self.history.read("echo"), {"open": [2, 0]})

    def test_ring(self) -> None:
        """The oldest samples are dropped, and the order is kept."""
        for number in range(LENGTH + 10):
            self.note(service(open_now=number))
        found = self.history.read("echo")["open"]
        self.assertEqual(found, list(range(10, LENGTH + 10)))

    def test_bounded(self) -> None:
        """Services and figures beyond the bounds have no history; the sum has them."""
        many = [service(f"s{number}", 1) for number in range(MAX_SERVICES + 5)]
        self.note(*many)
        told = self.note(*many)
        self.assertIsInstance(told, dict)
        self.assertEqual(self.history.read(f"s{MAX_SERVICES - 1}"), {"open": [1, 1]})
        self.assertEqual(self.history.read(f"s{MAX_SERVICES}"), {})
        self.assertEqual(self.history.read(ALL), {"open": [MAX_SERVICES + 5] * 2})
        dropped = Counter({str(number): 7 for number in range(100)})
        self.note(ServiceSnapshot("s0", 1, Counters()))
        self.note(ServiceSnapshot("s0", 1, Counters(datagrams_dropped=dropped)))
        self.assertEqual(len(self.history.read("s0")), MAX_FIGURES)
