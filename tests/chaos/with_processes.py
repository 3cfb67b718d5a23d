"""Processes that are killed often, stopped for long, and reloaded a thousand times."""

from __future__ import annotations

from random import SystemRandom
from typing import ClassVar

from tests.chaos import test_processes


class KillTests(test_processes.KillTests):
    """kill -9 at a hundred moments, each time at others."""

    kills = 100
    seed = SystemRandom().randrange(2**32)


class StopTests(test_processes.StopTests):
    """SIGSTOP for long."""

    seconds = 15.0


class ReloadTests(test_processes.ReloadTests):
    """A thousand reloads."""

    timeout: ClassVar[float] = 180
    reloads = 1000
