"""Event loop lag: how late the reactor's timers fire."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service

#: Interval of the measurement (seconds).
INTERVAL = 1.0

#: Upper bounds of the histogram (seconds): a busy daemon may lag up to 50 ms
#: (docs/DECISIONS.md), and a watchdog acts after seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class LagMeter(Service, Collector):
    """
    Sets a timer once a second, and counts its lag in a histogram.

    @ivar last: the last lag (seconds).
    """

    def __init__(self, clock: Any) -> None:
        self.setName("lag")
        self._clock = clock
        self._call: Any = None
        # One more, for a lag above the last bound.
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = self.last = 0.0

    def startService(self) -> None:
        super().startService()
        self._start()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def collect(self) -> Iterator[Metric]:
        names = [*map(str, BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "socketd_event_loop_lag_seconds",
            "How late a timer of the event loop was, measured once a second.",
            buckets=list(zip(names, accumulate(self._counts))),
            sum_value=self._sum,
        )

    def _start(self) -> None:
        due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._note, due)

    def _note(self, due: float) -> None:
        self.last = lag = max(0.0, self._clock.seconds() - due)
        self._counts[bisect_left(BUCKETS, lag)] += 1
        self._sum += lag
        self._start()
