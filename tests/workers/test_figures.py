"""Tests for L{socketd.workers.figures}."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.counters import Counters
from socketd.common.lag import Lag
from socketd.daemon.snapshot import FaultSnapshot, ServiceSnapshot, Snapshot
from socketd.daemon.state import State
from socketd.workers.figures import MAX_NAMES, Figures, Shares, take, tell
from socketd.workers.link import Malformed

NAMES = {"echo", "gone"}


def counters(number: int) -> Counters:
    """Make counters that differ by a number."""
    return Counters(
        connections=number, refused=Counter(banned=number), probes=Counter({("a", "b"): number})
    )


def snapshot(number: int) -> Snapshot:
    """Make what a worker shows."""
    fault = FaultSnapshot("slow", 7, number, ("latency",))
    listeners = ("tcp 127.0.0.1:7", f"udp 127.0.0.1:{number}")
    echo = ServiceSnapshot(
        "echo", 1, counters(number), listeners=listeners, kernel_drops=number, fault=fault
    )
    gone = ServiceSnapshot("gone", 0, counters(number))
    return Snapshot(State.SERVING, "serving", services=(echo,), removed=(gone,), waiting=2)


def told(number: int, lag: Lag | None = None) -> Any:
    """Make what a worker tells, as it comes by the link."""
    return json.loads(json.dumps(tell(snapshot(number), lag or Lag())))


def change(found: Any, *path: Any, to: Any) -> Any:
    """Change a value of what was told."""
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return found


class FiguresTests(SynchronousTestCase):
    """Tests for L{Figures}, and for what is told."""

    def setUp(self) -> None:
        self.figures = Figures(2)
        fault = FaultSnapshot("slow", 7, 0, ("latency",))
        echo = ServiceSnapshot(
            "echo", 0, Counters(), listeners=("tcp 127.0.0.1:7",), kernel_drops=5, fault=fault
        )
        gone = ServiceSnapshot("gone", 0, Counters())
        self.own = Snapshot(State.SERVING, "serving", services=(echo,), removed=(gone,))

    def note(self, index: int, number: int, lag: Lag | None = None) -> None:
        """Have a worker tell its figures."""
        self.figures.note(index, take(**told(number, lag)), NAMES)

    def sums(self) -> list[Any]:
        """Read the counts of both services, and check that all are the same."""
        (echo,), (gone,) = self.shown().services, self.shown().removed
        self.assertEqual(echo.counters, gone.counters)
        self.assertEqual(echo.counters, counters(echo.counters.connections))
        return [echo.counters.connections, echo.connections]

    def shown(self) -> Snapshot:
        """Show a snapshot, for which the master makes one of its own each time."""
        services = [
            evolve(one, counters=Counters()) for one in (*self.own.services, *self.own.removed)
        ]
        return self.figures.add(
            evolve(self.own, services=tuple(services[:1]), removed=tuple(services[1:]))
        )

    def test_sums(self) -> None:
        """The figures of all workers are added to those of the master."""
        self.assertEqual(self.sums(), [0, 0])
        self.note(0, 3)
        self.note(1, 4)
        self.assertEqual(self.sums(), [7, 2])
        found = self.shown()
        self.assertEqual((found.connections, found.waiting), (2, 4))
        (echo,) = found.services
        own = ["tcp 127.0.0.1:7", "udp 127.0.0.1:3", "udp 127.0.0.1:4"]
        self.assertEqual(list(echo.listeners), own)
        self.assertEqual(echo.kernel_drops, 12)
        assert echo.fault is not None
        self.assertEqual(echo.fault.connections, 7)
        self.assertIs(found.removed[0].kernel_drops, None)

    def test_dead(self) -> None:
        """What dead workers have counted stays, also when their successors die."""
        self.note(0, 3)
        self.note(1, 4)
        self.figures.bury(0)
        self.assertEqual(self.sums(), [7, 1])
        self.note(0, 1)
        self.assertEqual(self.sums(), [8, 2])
        self.figures.bury(0)
        self.figures.bury(0)
        self.figures.bury(1)
        self.assertEqual(self.sums(), [8, 0])
        self.assertEqual(self.shown().services[0].kernel_drops, 5 + 3 + 4 + 1)

    def test_lag(self) -> None:
        """So does the lag of each."""
        lag = Lag()
        lag.note(0.5)
        self.note(0, 1, lag)
        self.figures.bury(0)
        self.note(0, 1, lag)
        self.assertEqual((sum(self.figures.lag(0).counts), self.figures.lag(0).total), (2, 1.0))
        self.assertEqual(self.figures.lag(1), Lag())

    def test_unknown(self) -> None:
        """A service that there is not, is none."""
        self.figures.note(0, take(**told(3)), {"echo"})
        self.figures.bury(0)
        self.assertEqual(self.shown().removed[0].counters, Counters())

    def test_untrue(self) -> None:
        """What no worker tells is refused as a whole."""
        pair = ["services", 0, "counters", "probes", 0]
        changes: list[tuple[Any, ...]] = [
            ("services", None), ("services", [7]), ("services", [{"name": "echo"}]),
            ("waiting", -1), ("waiting", True), ("waiting", 1.5), ("waiting", 10**18),
            ("services", 0, "connections", "1"), ("services", 0, "listeners", {}),
            ("services", 0, "listeners", ["x"] * (MAX_NAMES + 1)), ("services", 0, "name", []),
            ("services", 0, "counters", "connections", None),
            ("services", 0, "counters", "refused", {}),
            ("services", 0, "counters", "refused", [["a"]]),
            ("services", 0, "counters", "refused", [[["a", "b"], 1]]),
            (*pair, 0, "a"), (*pair, 0, ["a"]), (*pair, 1, -1),
            ("lag", "counts", []), ("lag", "total", "x"), ("lag", "last", float("nan")),
            ("lag", 7),
        ]  # fmt: skip
        for *path, to in changes:
            found = change(told(1, Lag()), *path, to=to)
            self.assertRaises(Malformed, take, **found)
        self.assertRaises(Malformed, take)
        self.assertIsInstance(take(**told(1, Lag())), Shares)
