"""Processes that are killed often, stopped for long, and reloaded a thousand times."""

from __future__ import annotations

import random
from typing import ClassVar

from tests.faults.fault_case import FaultCase
from tests.faults.killed import Restarts
from tests.faults.reloads import ReloadCase
from tests.faults.stopped import StopCase


#: How often it is killed.
KILLS = 100


class KillTests(FaultCase):
    """kill -9 at a hundred moments."""

    def test_kill(self) -> None:
        """
        A daemon that was killed anywhere in its start, or while it served and reloaded
        under load, serves when it is started again.
        """
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        lives = Restarts(self, random.Random(seed))
        lives.kill(KILLS)
        lives.note()


class StopTests(StopCase):
    """SIGSTOP for long."""

    def test_stop(self) -> None:
        """
        What came while the daemon was stopped is answered when it continues, no peer is
        refused, and only one that was silent all the time is closed.
        """
        self.check(15.0)


class ReloadTests(ReloadCase):
    """Many reloads."""

    timeout: ClassVar[float] = 180

    def test_reloads(self) -> None:
        """
        While a thousand reloads alternate between two configurations, no peer is refused or
        cut; the daemon has no more memory and descriptors than before.
        """
        self.check(1000)
