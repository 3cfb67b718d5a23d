"""
The live part of the status page: the history, and a stream of Server-Sent Events (WHATWG HTML,
9.2) to each viewer.

Once a second every viewer is told the figures and what has happened, at once when the operator's
queue changes. One that does not read is told nothing meanwhile, and how much it has missed; one
that takes nothing for longer is reset.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from socketd.common.answers import Answer
from socketd.common.events import MESSAGE_RECEIVED, Event
from socketd.common.lag import LagMeter
from socketd.common.timer import Timer
from socketd.control.reports import queue_event, status_facts
from socketd.control.results import event_object
from socketd.daemon.daemon import Daemon
from socketd.web.history import INTERVAL, History
from socketd.web.server import PageRequest

#: More than one machine's operators need; each costs a write a second.
MAX_VIEWERS = 8

#: A viewer that takes nothing for so long is reset (seconds).
STALL = 30.0

#: The last events, for a page that is opened later.
MAX_EVENTS = 100

#: The most messages of the shown connection that a viewer is told at a time.
MAX_MESSAGES = 50

MEDIA_TYPE = b"text/event-stream; charset=utf-8"


@implementer(IPushProducer)
@define(eq=False)
class Viewer:
    """
    A browser that shows the page: an operator if C{who} is not empty; told the messages of the
    connection C{shown}, 0 for none, until C{unobserve} is called.
    """

    request: PageRequest
    who: str = ""
    shown: int = 0
    unobserve: Callable[[], object] = lambda: None
    messages: list[Answer] = field(factory=list, init=False)
    left_out: int = field(default=0, init=False)
    full_since: float | None = field(default=None, init=False)
    now: Callable[[], float] = field(kw_only=True)

    def pauseProducing(self) -> None:
        self.full_since = self.now()

    def resumeProducing(self) -> None:
        self.full_since = None

    def stopProducing(self) -> None:
        """Do nothing: the end of the connection follows."""

    def tell(self, event: bytes) -> None:
        """Send an event, unless the viewer does not read."""
        if self.full_since is None:
            self.request.write(event)

    def note(self, message: Answer) -> None:
        """Keep a message of the shown connection until the next tick."""
        if len(self.messages) < MAX_MESSAGES and self.full_since is None:
            self.messages.append(message)
        else:
            self.left_out += 1

    def tell_rest(self) -> None:
        """Send the kept messages, and how much was left out."""
        if self.full_since is not None:
            return
        if self.messages:
            self.request.write(encode("messages", self.messages))
            self.messages = []
        if self.left_out:
            self.request.write(encode("left_out", self.left_out))
            self.left_out = 0


class Live(Service):
    """The history of a daemon, and its viewers."""

    def __init__(self, daemon: Daemon, lag: LagMeter) -> None:
        self.setName("live")
        self.history = History()
        self.viewers: list[Viewer] = []
        self._daemon = daemon
        self._meter = lag
        self._tick, self._queue_due = Timer(daemon.reactor), Timer(daemon.reactor)
        # The newest events, and how many of them the viewers have not been told.
        self._events: deque[tuple[Event, dict[str, Any], float]] = deque(maxlen=MAX_EVENTS)
        self._untold = 0

    def startService(self) -> None:
        super().startService()
        self._daemon.event_bus.watch(self._hear, active=False)
        self._daemon.operator.watch(self._queue_changed)
        self._sample()

    def stopService(self) -> None:
        """End the streams."""
        super().stopService()
        self._daemon.event_bus.unwatch(self._hear, active=False)
        self._daemon.operator.unwatch(self._queue_changed)
        self._tick.stop()
        self._queue_due.stop()
        for viewer in tuple(self.viewers):
            viewer.request.unregisterProducer()
            viewer.request.finish()

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more viewer."""
        return len(self.viewers) >= MAX_VIEWERS

    def open(self, request: PageRequest, who: str, shown: int, hello: Answer) -> None:
        """
        Begin a stream, for an operator or a viewer only, with the messages of one connection or of
        none.
        """
        viewer = Viewer(request, who, shown, now=self._daemon.reactor.seconds)
        request.notifyFinish().addBoth(lambda _: self._close(viewer))
        request.registerProducer(viewer, True)
        self.viewers.append(viewer)
        if shown:
            viewer.unobserve = self._daemon.observe(shown)
        if who:
            # The queue itself is told to every viewer.
            self._daemon.operator.attach(viewer.tell_rest, who)
        events = [_event(*kept) for kept in self._events]
        first = encode("hello", hello), encode("events", events), self._queue()
        request.write(b"".join(first))

    def _close(self, viewer: Viewer) -> None:
        self.viewers.remove(viewer)
        viewer.unobserve()
        if viewer.who:
            self._daemon.operator.detach(viewer.tell_rest)

    def _hear(self, event: Event, facts: dict[str, Any]) -> None:
        moment = self._daemon.wall_clock()
        if event is MESSAGE_RECEIVED:
            number = facts.get("connection")
            for viewer in self.viewers:
                if viewer.shown and viewer.shown == number:
                    viewer.note(_event(event, facts, moment))
            return
        # A failure holds on to all that its frames have.
        kept = {name: fact for name, fact in facts.items() if name != "log_failure"}
        self._events.append((event, kept, moment))
        self._untold += 1

    def _queue_changed(self) -> None:
        if self.viewers and not self._queue_due.is_running:
            self._queue_due.start(0, self._tell_queue)

    def _tell_queue(self) -> None:
        event = self._queue()
        for viewer in self.viewers:
            viewer.tell(event)

    def _queue(self) -> bytes:
        return encode("waiting", queue_event(self._daemon))

    def _sample(self) -> None:
        self._tick.start(INTERVAL, self._sample)
        self._daemon.refresh().addCallback(self._take_sample)

    def _take_sample(self, result: None) -> None:
        now, snapshot = self._daemon.reactor.seconds(), self._daemon.snapshot()
        lags = [self._meter.lag.last, *(one.lag.last for one in snapshot.workers)]
        rates = self.history.note(now, snapshot.services, max(lags))
        events, self._untold = self._untold, 0
        if not self.viewers:
            return
        told = [] if not events else list(self._events)[-events:]
        tick = {
            "status": status_facts(snapshot),
            "rates": rates,
            "events": [_event(*one) for one in told],
            "events_left_out": events - len(told),
            "viewers": len(self.viewers),
        }
        self._tell_all(encode("tick", tick), now)

    def _tell_all(self, tick: bytes, now: float) -> None:
        for viewer in tuple(self.viewers):
            if viewer.full_since is not None:
                viewer.left_out += 1
                if now - viewer.full_since >= STALL:
                    viewer.request.channel.transport.abortConnection()
                continue
            if viewer.left_out:
                # The queue may have changed meanwhile.
                viewer.tell(self._queue())
            viewer.tell(tick)
            viewer.tell_rest()


def encode(name: str, data: Any) -> bytes:
    """Write one event of a stream."""
    return f"event: {name}\ndata: {json.dumps(data, default=str)}\n\n".encode()


def _event(event: Event, facts: dict[str, Any], moment: float) -> Answer:
    found = event_object(event, facts, moment)
    kept = {name: found[name] for name in ("event", "time", "summary")}
    return kept | {"service": facts.get("service"), "text": facts.get("text")}
