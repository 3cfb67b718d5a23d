"""The states of a daemon, and the error of a start that fails."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    """The state of a daemon, as operators and systemd see it."""

    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"
    DRAINING = "draining"
    STOPPING = "stopping"


class CannotStart(Exception):
    """Listeners that could not be bound, one line each."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))
