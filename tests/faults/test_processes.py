"""Processes that are killed, stopped, and reloaded."""

from __future__ import annotations

import random

from tests.faults.fault_case import FaultCase
from tests.faults.killed import Restarts
from tests.faults.reloads import ReloadCase
from tests.faults.stopped import StopCase

SEED = 9


class KillTests(FaultCase):
    """kill -9."""

    def test_kill(self) -> None:
        """
        A daemon that was killed while it started, or served and reloaded under load,
        serves when it is started again: its old sockets and process number do not
        keep it from that.
        """
        lives = Restarts(self, random.Random(SEED))
        lives.kill(2)
        lives.note()


class StopTests(StopCase):
    """SIGSTOP and SIGCONT."""

    def test_stop(self) -> None:
        """
        What came while the daemon was stopped is answered when it continues, no peer is
        refused, and only one that was silent all the time is closed.
        """
        self.check(1.0)


class ReloadTests(ReloadCase):
    """Many reloads."""

    def test_reloads(self) -> None:
        """
        While fifty reloads alternate between two configurations, no peer is refused or
        cut; the daemon has no more memory and descriptors than before.
        """
        self.check(50)
