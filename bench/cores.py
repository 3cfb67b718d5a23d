"""Which core runs what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """One core for the server, one for the load and for this program."""

    server: int
    load: int

    @property
    def shared(self) -> bool:
        """Whether there is but one, so that the load takes time from the server."""
        return self.server == self.load


def choose() -> Cores:
    """The first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(server=usable[0], load=usable[1 if len(usable) > 1 else 0])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile runs on C{core}, and so do all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
