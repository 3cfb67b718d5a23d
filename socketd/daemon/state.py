"""The states of a daemon, the error of a start that fails, and the result of a reload."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from attrs import frozen


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


@frozen
class Reloaded:
    """
    The result of a reload.

    @ivar changes: the changes, one line each.
    @ivar diagnostics: the errors, one line each; if there are any, nothing has changed.
    """

    changes: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()
