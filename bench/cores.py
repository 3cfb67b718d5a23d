"""Which cores run what."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Those of the server, and those of the load and of this program."""

    server: frozenset[int]
    load: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether there is but one, so that the load takes time from the server."""
        return self.server == self.load

    @property
    def together(self) -> Cores:
        """All of them for both."""
        both = self.server | self.load
        return Cores(both, both)


def choose() -> Cores:
    """The first two cores that this process may use, one for each."""
    usable = sorted(os.sched_getaffinity(0))
    load = usable[1 if len(usable) > 1 else 0]
    return Cores(server=frozenset((usable[0],)), load=frozenset((load,)))


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores, and so do all its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
