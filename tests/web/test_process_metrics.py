"""Tests for L{socketd.web.process_metrics}, and for what the other metrics show of workers."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from attrs import evolve
from prometheus_client.core import Metric
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.lag import Lag, LagMeter
from socketd.daemon.snapshot import WorkerSnapshot
from socketd.web.metrics import make_registry
from socketd.web.process_metrics import ProcessesCollector
from tests.control.fakes import make_daemon

#: The time that a process has taken.
CPU = "process_cpu_seconds_total"


class WorkerMetricsTests(SynchronousTestCase):
    """What is shown of each worker."""

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.daemon.crew = object()
        self.workers = [
            WorkerSnapshot(index, os.getpid(), not index, 3 + index, Lag()) for index in (0, 1)
        ]
        shown = self.daemon.snapshot()
        find: Any = lambda: evolve(shown, workers=tuple(self.workers))  # noqa: E731
        self.patch(self.daemon, "snapshot", find)

    def found(self, families: Any) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Sort the samples by their names."""
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in families:
            assert isinstance(family, Metric)
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def test_registry(self) -> None:
        """Only what a process has of its own is shown by worker."""
        registry = make_registry(self.daemon, LagMeter(self.daemon.reactor))
        found = self.found(registry.collect())
        first, second = {"worker": "0"}, {"worker": "1"}
        self.assertEqual(found["socketd_worker_up"], [(first, 1), (second, 0)])
        self.assertEqual(found["socketd_worker_connections_open"], [(first, 3), (second, 4)])
        lags = [labels for labels, _ in found["socketd_event_loop_lag_seconds_count"]]
        self.assertEqual(lags, [{"worker": "master"}, first, second])
        for name, samples in found.items():
            own = name.startswith(("process_", "socketd_worker", "socketd_event_loop_lag"))
            self.assertTrue(own or not any("worker" in labels for labels, _ in samples), name)
        self.assertEqual([labels for labels, _ in found[CPU]], [{}, first, second])

    def test_time(self) -> None:
        """The time of a worker's processes never goes back."""
        collector, times = ProcessesCollector(self.daemon), []
        for pid, seconds in ((7, 3.0), (7, 4.0), (8, 1.0), (8, 2.0), (9, 1.0)):
            self.workers = [WorkerSnapshot(0, pid, True, 0, Lag())]
            family = Metric("process_cpu_seconds", "", "counter")
            family.add_sample(CPU, {}, seconds)
            with mock.patch.object(collector, "_families", lambda pid: [family]):
                times.append(self.found(collector.collect())[CPU][1][1])
        self.assertEqual(times, [3.0, 4.0, 5.0, 6.0, 7.0])

    def test_gone(self) -> None:
        """A worker without a process has no figures of one."""
        self.workers = [WorkerSnapshot(0, 0, False, 0, Lag())]
        found = self.found(ProcessesCollector(self.daemon).collect())
        self.assertEqual([labels for labels, _ in found[CPU]], [{}])
