"""Workers and masters that are killed a hundred times, and reloaded a thousand times."""

from __future__ import annotations

from random import SystemRandom

from tests.chaos import test_workers


class WorkerTests(test_workers.WorkerTests):
    """A hundred deaths."""

    timeout = 900
    daemons = 17
    kills = 6


class MasterTests(test_workers.MasterTests):
    """A hundred deaths, at other moments each time."""

    timeout = 900
    kills = 100
    seed = SystemRandom().randrange(2**32)


class ReloadTests(test_workers.ReloadTests):
    """A thousand reloads."""

    timeout = 900
    reloads = 1000
