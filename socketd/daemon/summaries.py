"""Summaries in the log of what is counted only: refused connections and dropped datagrams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from socketd.common.events import CONNECTIONS_REFUSED, DATAGRAMS_DROPPED, INTERVAL, LINES_LOST
from socketd.daemon.daemon import Daemon


class Summaries(Service):
    """Logs what was refused and dropped, at intervals: one line for each service and reason."""

    def __init__(self, daemon: Daemon, lost: Callable[[], int] = lambda: 0) -> None:
        """@param lost: returns the number of log lines that could not be written."""
        self.setName("summaries")
        self._daemon = daemon
        self._lost = lost
        self._reported = 0
        self._refused: dict[str, Counter[str]] = {}
        self._dropped: dict[str, Counter[str]] = {}
        self._loop = LoopingCall(self._report)
        self._loop.clock = daemon.reactor

    def startService(self) -> None:
        super().startService()
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
            self._report()

    def _report(self) -> None:
        span = round(INTERVAL)
        for state in self._daemon.service_states:
            name, counters = state.name, state.counters
            for reason, count in _news(self._refused, name, counters.refused):
                state.emit(CONNECTIONS_REFUSED, count=count, reason=reason, seconds=span)
            for reason, count in _news(self._dropped, name, counters.datagrams_dropped):
                state.emit(DATAGRAMS_DROPPED, count=count, reason=reason, seconds=span)
        self._report_lost()

    def _report_lost(self) -> None:
        lost = self._lost()
        if lost > self._reported:
            self._daemon.event_bus.emit(LINES_LOST, count=lost - self._reported)
            if self._lost() == lost:
                self._reported = lost


def _news(
    known: dict[str, Counter[str]], name: str, counts: Counter[str]
) -> Iterator[tuple[str, int]]:
    """List the increases of a service's counts since the previous call, by reason."""
    before = known.get(name, Counter())
    known[name] = counts.copy()
    yield from sorted((counts - before).items())
