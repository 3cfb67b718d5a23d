"""What the daemon holds, while it is under load and when it has come to rest."""

from __future__ import annotations

from attrs import frozen

from tests.soak.instrumented import Census
from tests.soak.server import Server, wait_until

#: At rest, so many samples in a row have as many descriptors.
STEADY = 10


@frozen
class Sample:
    """
    @ivar when: seconds since the begin.
    @ivar descriptors: that are open.
    @ivar resident: bytes of memory.
    @ivar census: what lives in it.
    @ivar processes: how many these are.
    @ivar lag: how late its timers were since it began, together (seconds).
    @ivar ticks: how many timers that are.
    """

    when: float
    descriptors: int
    resident: int
    census: Census
    processes: int = 1
    lag: float = 0.0
    ticks: int = 0

    def lag_since(self, before: Sample) -> float:
        """How late its timers were on average since another one (seconds)."""
        return (self.lag - before.lag) / max(1, self.ticks - before.ticks)


def take_sample(server: Server, when: float, collected: bool = False) -> Sample:
    """Take a sample; if C{collected}, of reachable objects only, and by type."""
    census, lag = server.census(collected), server.figures().lag()
    count = len(server.processes())
    return Sample(when, server.descriptors(), server.resident(), census, count, *lag)


def settle(server: Server) -> None:
    """Wait until no connection is open and descriptors come and go no more."""
    wait_until(lambda: not _is_busy(server), "the end of all connections")
    seen: list[int] = []

    def is_steady() -> bool:
        seen.append(server.descriptors())
        return len(seen) >= STEADY and len(set(seen[-STEADY:])) == 1

    wait_until(is_steady, "to come to rest")


def _is_busy(server: Server) -> bool:
    figures = server.figures()
    return any(figures.get("connections_open", service=name) for name in figures.services())
