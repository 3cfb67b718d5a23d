"""Summaries in the log of what is counted only: refused connections and dropped datagrams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.application.service import Service

from socketd.common.counters import Counters
from socketd.common.events import (
    CONNECTIONS_REFUSED,
    DATAGRAMS_DROPPED,
    INTERVAL,
    LINES_LOST,
    EventBus,
)


class Summaries(Service):
    """Logs what was refused and dropped, at intervals: one line for each service and reason."""

    def __init__(
        self,
        event_bus: EventBus,
        counters_by_service: Callable[[], Iterable[tuple[str, Counters]]],
        lost: Callable[[], int] = lambda: 0,
    ) -> None:
        """@param lost: returns the number of log lines that could not be written."""
        self.setName("summaries")
        self._event_bus = event_bus
        self._counters_by_service = counters_by_service
        self._lost = lost
        self._reported = 0
        self._refused: dict[str, Counter[str]] = {}
        self._dropped: dict[str, Counter[str]] = {}
        self._call: Any = None

    def startService(self) -> None:
        super().startService()
        self._call = self._event_bus.clock.callLater(INTERVAL, self._run)

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
            self._report()

    def _run(self) -> None:
        self._report()
        self._call = self._event_bus.clock.callLater(INTERVAL, self._run)

    def _report(self) -> None:
        event_bus, span = self._event_bus, round(INTERVAL)
        for name, counters in self._counters_by_service():
            for reason, count in _news(self._refused, name, counters.refused):
                facts: dict[str, Any] = {"service": name, "count": count, "reason": reason}
                event_bus.emit(CONNECTIONS_REFUSED, seconds=span, **facts)
            for reason, count in _news(self._dropped, name, counters.datagrams_dropped):
                facts = {"service": name, "count": count, "reason": reason}
                event_bus.emit(DATAGRAMS_DROPPED, seconds=span, **facts)
        self._report_lost()

    def _report_lost(self) -> None:
        lost = self._lost()
        if lost > self._reported:
            self._event_bus.emit(LINES_LOST, count=lost - self._reported)
            if self._lost() == lost:
                self._reported = lost


def _news(
    known: dict[str, Counter[str]], name: str, counts: Counter[str]
) -> Iterator[tuple[str, int]]:
    """List the increases of a service's counts since the previous call, by reason."""
    before = known.get(name, Counter())
    known[name] = counts.copy()
    yield from sorted((counts - before).items())
