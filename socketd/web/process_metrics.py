"""The figures of the processes of a daemon with workers: its own, and those of each worker."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from socketd.daemon.daemon import Daemon

#: The only one that counts up.
_CPU = "process_cpu_seconds_total"


class ProcessesCollector(Collector):
    """Reads C{process_...} of the master, and with the label C{worker} of each worker."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        # By worker: the last process and its time, and that of those before it.
        self._last: dict[int, tuple[int, float]] = {}
        self._ended: dict[int, float] = {}

    def collect(self) -> Iterator[Metric]:
        """Read all of them."""
        found = {family.name: family for family in ProcessCollector(registry=None).collect()}
        for worker in self._daemon.snapshot().workers:
            for family in self._families(worker.pid):
                for sample in family.samples:
                    value = sample.value
                    if sample.name == _CPU:
                        value = self._all_time(worker.index, worker.pid, value)
                    shown = sample._replace(labels={"worker": str(worker.index)}, value=value)
                    if family.name in found:
                        found[family.name].samples.append(shown)
        yield from found.values()

    def _families(self, pid: int) -> list[Metric]:
        return list(ProcessCollector(pid=lambda: pid, registry=None).collect()) if pid else []

    def _all_time(self, index: int, pid: int, seconds: float) -> float:
        """Add the time of the processes before: the sum never goes back."""
        last, before = self._last.get(index, (pid, 0.0))
        if last != pid:
            self._ended[index] = self._ended.get(index, 0.0) + before
        self._last[index] = pid, seconds
        return self._ended.get(index, 0.0) + seconds
