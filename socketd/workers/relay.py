"""The events and the log of a worker: all of it goes to the master, which has the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from socketd.common.events import (
    CATALOGUE,
    CERTIFICATE_INVALID,
    CERTIFICATE_LOADED,
    CERTIFICATE_REFUSED,
    CLOCK_STEPPED,
    DRAINING,
    FAULT_CHANGED,
    LINES_LOST,
    LISTENING,
    OPERATOR_COMMAND,
    RELOADED,
    RESUMED,
    STOPPING,
    Event,
    EventBus,
)
from socketd.workers.link import Link

#: The events that each process has, and that the master alone tells.
MASTERS = (
    CERTIFICATE_INVALID, CERTIFICATE_LOADED, CERTIFICATE_REFUSED, CLOCK_STEPPED, DRAINING,
    FAULT_CHANGED, LISTENING, OPERATOR_COMMAND, RELOADED, RESUMED, STOPPING,
)  # fmt: skip

#: Values of facts that go as they are.
_PLAIN = (str, int, float, type(None))


@define(eq=False)
class RelayBus(EventBus):
    """An event bus that sends to the master what is logged, and while it watches, all."""

    link: Link = field(kw_only=True)
    _lost: int = field(default=0, init=False)
    _is_active: bool | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.link.changed = self._tell_lost

    def observe(self, heard: bool, watched: bool) -> None:
        """
        Send all events, or no more.

        @param heard: whether the master has watchers.
        @param watched: whether they are active, so that each message is an event.
        """
        if self._is_active is not None:
            self.unwatch(_hear, self._is_active)
        self._is_active = watched if heard else None
        if heard:
            self.watch(_hear, watched)

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        if event in MASTERS:
            return
        logged = logged and self.has_line(event, facts)
        if not (logged or self._is_active is not None):
            return
        if self.link.is_full:
            self._lost += logged
        else:
            self.link.tell("event", name=event.name, logged=logged, facts=_plain(facts))

    def _tell_lost(self) -> None:
        if self._lost and not self.link.is_full:
            lost, self._lost = self._lost, 0
            self.emit(LINES_LOST, count=lost)


def _hear(event: Event, facts: dict[str, Any]) -> None:
    """Watch; L{RelayBus.emit} sends what there is."""


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make facts fit for the link; a failure becomes its traceback."""
    return {
        name: fact.getTraceback() if name == "log_failure"
        else fact if isinstance(fact, _PLAIN) else str(fact)
        for name, fact in facts.items()
    }  # fmt: skip


@implementer(ILogObserver)
@define(eq=False)
class RelayLog:
    """A log observer that sends what Twisted and other libraries log."""

    link: Link

    def __call__(self, event: LogEvent) -> None:
        """Send a log event that is no event of the catalogue."""
        failure = event.get("log_failure")
        text = formatEvent(event)
        if event.get("event") in CATALOGUE or self.link.is_full or not (text or failure):
            return
        level = event.get("log_level") or LogLevel.info
        traceback = failure.getTraceback() if failure is not None else ""
        self.link.tell("log", level=level.name, text=text, traceback=traceback)


@define(eq=False)
class Told:
    """A failure in a worker: what log observers ask of one."""

    traceback: str

    def getTraceback(self, *args: Any, **kwargs: Any) -> str:
        """Return the traceback, which the worker wrote."""
        return self.traceback
