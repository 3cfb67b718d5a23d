"""Event loop lag: how late the reactor's timers fire."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from attrs import define, field
from twisted.application.service import Service

from socketd.common.timer import Timer

#: Interval of the measurement (seconds).
INTERVAL = 1.0

#: Upper bounds of the histogram (seconds): a busy daemon may lag up to 50 ms
#: (docs/DECISIONS.md), and a watchdog acts after seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@define
class Lag:
    """
    A histogram of lags.

    @ivar counts: how many there were up to each of L{BUCKETS}, and above.
    @ivar total: their sum (seconds).
    @ivar last: the last one (seconds).
    """

    counts: list[int] = field(factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0
    last: float = 0.0

    def note(self, lag: float) -> None:
        """Count a lag."""
        self.counts[bisect_left(BUCKETS, lag)] += 1
        self.total += lag
        self.last = lag

    def after(self, before: Lag) -> Lag:
        """Return the histogram of both, of which this is the later one."""
        counts = [one + other for one, other in zip(self.counts, before.counts)]
        return Lag(counts, self.total + before.total, self.last)


class LagMeter(Service):
    """Sets a timer once a second, and counts its lag; C{lag}: what it has counted."""

    def __init__(self, clock: Any) -> None:
        self.setName("lag")
        self.lag = Lag()
        self._clock = clock
        self._timer = Timer(clock)

    def startService(self) -> None:
        super().startService()
        self._start()

    def stopService(self) -> None:
        super().stopService()
        self._timer.stop()

    def _start(self) -> None:
        due = self._clock.seconds() + INTERVAL
        self._timer.start(INTERVAL, self._note, due)

    def _note(self, due: float) -> None:
        self.lag.note(max(0.0, self._clock.seconds() - due))
        self._start()
