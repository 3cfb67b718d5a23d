"""The events and the log of a worker: all of it goes to the master, which has the outputs."""

from __future__ import annotations

from collections import Counter
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
    EVENTS_LEFT_OUT,
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
from socketd.common.operator_queue import TOLD_WAITING
from socketd.common.timer import Timer
from socketd.daemon.daemon import Daemon
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
    """
    An event bus that sends to the master what is logged, and while it watches, all.

    What a master that does not read would have to be sent is counted: lines of the log, and events
    by their service, since some watch one only.
    """

    link: Link = field(kw_only=True)
    _lost: int = field(default=0, init=False)
    _left_out: Counter[str | None] = field(factory=Counter, init=False)

    def observe(self, heard: bool, watched: bool) -> None:
        """
        Send all events, or no more.

        @param heard: whether the master has watchers.
        @param watched: whether they are active, so that each message is an event.
        """
        self._watchers = [_hear] if heard else []
        self._active = int(watched)
        self._watched_changed()

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        if event in MASTERS:
            return
        logged = logged and self.has_line(event, facts)
        if not self.link.is_full:
            if logged or self.heard:
                self.link.tell("event", name=event.name, logged=logged, facts=_plain(facts))
            return
        self._lost += logged
        if self.heard:
            count = facts["count"] if event is EVENTS_LEFT_OUT else 1
            self._left_out[facts.get("service")] += count

    def tell_lost(self) -> None:
        """Tell what was left out while the master did not read; it reads again."""
        lost, self._lost = self._lost, 0
        left_out, self._left_out = self._left_out, Counter()
        if lost:
            self.emit(LINES_LOST, count=lost)
        for service, count in left_out.items():
            self.emit(EVENTS_LEFT_OUT, False, service=service, count=count)


class RelayQueue:
    """Tells the master which connections wait for an operator, at most once in a turn."""

    def __init__(self, daemon: Daemon, link: Link) -> None:
        self._daemon = daemon
        self._link = link
        self._due = Timer(daemon.reactor)
        daemon.operator.watch(self.changed)

    def changed(self) -> None:
        """Tell it, in the next turn; while the master does not read, it is not told."""
        if not self._due.is_running:
            self._due.start(0, self._tell)

    def _tell(self) -> None:
        if self._link.is_full:
            return
        operator = self._daemon.operator
        oldest = [
            {
                "id": connection.connection_id,
                "service": connection.service_state.name,
                "peer": connection.peer,
                "said": question.said,
                "asked": question.asked,
                "until": question.until,
            }
            for question in operator.waiting[:TOLD_WAITING]
            if (connection := self._daemon.find(question.transport.connection_id))
        ]
        self._link.tell("queue", count=operator.count, oldest=oldest)


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
