"""Tests for L{socketd.common.events}."""

from __future__ import annotations

import ast
import re
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import (
    ACCEPT_FAILED,
    CATALOGUE,
    CONNECTION_LOST,
    CONNECTION_MADE,
    INTERVAL,
    LINES_LEFT_OUT,
    LISTENING,
    MAX_LINES,
    MESSAGE_RECEIVED,
    PROTOCOL_FAILED,
    Event,
    EventBus,
)
from tests.support.source_tree import ROOT, modules

PAGE = ROOT / "docs" / "events.md"

#: The names in JSON that are every line's, and no fact's.
COMMON = {"time", "level", "event", "message", "traceback"}


class EventBusCase(SynchronousTestCase):
    """An event bus and its log."""

    def setUp(self) -> None:
        self.logged: list[LogEvent] = []
        self.clock = Clock()
        self.event_bus = self.make(LogLevel.info)

    def make(self, level: Any) -> EventBus:
        """Make a bus that logs to C{self.logged}."""
        observer: Any = self.logged.append
        return EventBus(self.clock, level, Logger(namespace="socketd", observer=observer))

    def lines(self) -> list[str]:
        """Take what was logged, as text."""
        found, self.logged[:] = list(self.logged), []
        return [formatEvent(event) for event in found]


class EventBusTests(EventBusCase):
    """Tests for L{EventBus}."""

    def test_logged(self) -> None:
        """An event is a line of the log, with its name, its level and its facts."""
        self.event_bus.emit(LISTENING, service="echo", listener="tcp *:7")
        (event,) = self.logged
        self.assertEqual(formatEvent(event), "echo listens on tcp *:7")
        found = (event["event"], event["log_level"], event["log_namespace"], event["service"])
        self.assertEqual(found, ("listening", LogLevel.info, "socketd", "echo"))

    def test_facts_are_no_format(self) -> None:
        """What a peer says is never taken for a format."""
        self.event_bus.emit(MESSAGE_RECEIVED, service="echo", host="{host}", text="{0} {text} {{")
        self.assertEqual(self.lines(), ["{host}:{0} {text} {{"])

    def test_level(self) -> None:
        """What is less important than the bus's level is not logged."""
        levels = [LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error]
        for index, level in enumerate(levels):
            event_bus = self.make(level)
            for one in levels:
                event_bus.emit(Event(one.name, one, one.name))
            self.assertEqual(self.lines(), [one.name for one in levels[index:]])

    def test_not_logged(self) -> None:
        """An event that the operator does not want in the log is not there."""
        self.event_bus.emit(LISTENING, False, service="echo", listener="x")
        self.assertEqual(self.logged, [])

    def test_watched(self) -> None:
        """Watchers are called at each event, logged or not, until they leave."""
        seen: list[tuple[Event, dict[str, Any]]] = []

        def watcher(event: Event, facts: dict[str, Any]) -> None:
            seen.append((event, facts))

        event_bus = self.make(LogLevel.critical)
        self.assertFalse(event_bus.watched)
        event_bus.watch(watcher)
        self.assertTrue(event_bus.watched)
        event_bus.emit(LISTENING, service="a", listener="x")
        event_bus.emit(LISTENING, False, service="b", listener="x")
        event_bus.unwatch(watcher)
        event_bus.emit(LISTENING, service="c", listener="x")
        self.assertFalse(event_bus.watched)
        self.assertEqual([facts["service"] for _, facts in seen], ["a", "b"])
        self.assertEqual([event for event, _ in seen], [LISTENING, LISTENING])

    def test_delivers(self) -> None:
        """Whether an event goes anywhere is known before its facts are."""
        debugged = Event("any", LogLevel.debug, "any")
        self.assertEqual([self.event_bus.delivers(one) for one in (LISTENING, debugged)], [1, 0])
        self.assertTrue(self.make(LogLevel.debug).delivers(debugged))
        watched: list[str] = []

        def watcher(event: Event, facts: dict[str, Any]) -> None:
            watched.append(event.name)

        for active in (True, False):
            self.event_bus.watch(watcher, active)
            self.assertTrue(self.event_bus.delivers(debugged))
            self.event_bus.unwatch(watcher, active)
        self.assertEqual(watched, [])
        self.assertFalse(self.event_bus.delivers(debugged))

    def test_passive(self) -> None:
        """A passive watcher is called, too, but for its sake nothing more is emitted."""
        seen: list[Event] = []
        watcher = lambda event, facts: seen.append(event)  # noqa: E731
        self.event_bus.watch(watcher, active=False)
        self.assertFalse(self.event_bus.watched)
        self.event_bus.emit(LISTENING, service="a", listener="x")
        self.event_bus.unwatch(watcher, active=False)
        self.event_bus.emit(LISTENING, service="a", listener="x")
        self.assertEqual((seen, self.event_bus.watched), ([LISTENING], False))

    def test_unwatch_when_called(self) -> None:
        """A watcher may leave when it is called; the others are called all the same."""
        seen: list[Event] = []

        def leaving(event: Event, facts: dict[str, Any]) -> None:
            self.event_bus.unwatch(leaving)

        self.event_bus.watch(leaving)
        self.event_bus.watch(lambda event, facts: seen.append(event))
        self.event_bus.emit(LISTENING, service="a", listener="x")
        self.assertEqual(seen, [LISTENING])

    def test_on_watched(self) -> None:
        """
        A callback learns whether there is a watcher: at once, at each change, and no
        longer once it is removed.
        """
        told: list[bool] = []

        def changed() -> None:
            told.append(self.event_bus.watched)

        def watcher(event: Event, facts: dict[str, Any]) -> None:
            pass

        self.event_bus.on_watched(changed)
        self.event_bus.watch(watcher)
        self.event_bus.unwatch(watcher)
        self.assertEqual(told, [False, True, False])
        self.event_bus.off_watched(changed)
        self.event_bus.watch(watcher)
        self.assertEqual(told, [False, True, False])


class LimitTests(EventBusCase):
    """Tests for the limit of the lines that peers can cause."""

    def emit(self, count: int, event: Event = CONNECTION_MADE, logged: bool = True) -> None:
        """Have a peer cause events."""
        for number in range(count):
            self.event_bus.emit(
                event, logged, service="echo", peer="p", connection=number, host="h", text="t"
            )

    def test_limit(self) -> None:
        """
        A kind of line is logged up to the limit; the rest is counted in one line when the interval
        is over, and then all begins again; where nothing was left out, nothing is said.
        """
        self.emit(MAX_LINES + 5)
        self.assertEqual(len(self.lines()), MAX_LINES)
        self.clock.advance(INTERVAL - 0.1)
        self.assertEqual(self.lines(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.lines(), ["5 more connection_made events not logged"])
        self.emit(MAX_LINES)
        self.assertEqual(len(self.lines()), MAX_LINES)
        self.clock.advance(INTERVAL)
        self.assertEqual((self.lines(), self.clock.getDelayedCalls()), ([], []))

    def test_kinds(self) -> None:
        """Each kind has its own count."""
        self.emit(MAX_LINES + 1)
        self.emit(MAX_LINES + 2, MESSAGE_RECEIVED)
        self.assertEqual(len(self.lines()), 2 * MAX_LINES)
        self.clock.advance(INTERVAL)
        expected = ["1 more connection_made events", "2 more message_received events"]
        self.assertEqual(self.lines(), [f"{line} not logged" for line in expected])

    def test_not_by_peers(self) -> None:
        """What no peer can cause at will is always logged."""
        for _ in range(MAX_LINES + 1):
            self.event_bus.emit(ACCEPT_FAILED, service="echo", error="e", seconds=1.0)
        self.assertEqual(len(self.lines()), MAX_LINES + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_logged_does_not_count(self) -> None:
        """What is not wanted in the log takes no room there."""
        self.emit(MAX_LINES, logged=False)
        self.emit(1)
        self.assertEqual(len(self.lines()), 1)

    def test_watchers_see_all(self) -> None:
        """Watchers see what the log leaves out, and that it does."""
        seen: list[str] = []
        self.event_bus.watch(lambda event, facts: seen.append(event.name))
        self.emit(MAX_LINES + 5)
        self.assertEqual(len(seen), MAX_LINES + 5)
        self.clock.advance(INTERVAL)
        self.assertEqual(seen[-1], LINES_LEFT_OUT.name)

    def test_rate_limited(self) -> None:
        """All that a peer can cause at will is limited."""
        by_peers = (CONNECTION_MADE, CONNECTION_LOST, MESSAGE_RECEIVED)
        limited = [event.rate_limited for event in by_peers]
        self.assertEqual(limited, [True] * 3)


class QuietTests(EventBusCase):
    """Tests for hosts whose doings are not logged."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[str] = []
        self.seen: list[str] = []
        self.event_bus.quiet = self.is_quiet
        self.event_bus.watch(lambda event, facts: self.seen.append(event.name))

    def is_quiet(self, host: str) -> bool:
        """Say that of one host."""
        self.asked.append(host)
        return host == "192.0.2.1"

    def test_connections(self) -> None:
        """
        Their connections and messages are not logged; watchers see them, and others'
        are logged.
        """
        for host in ("192.0.2.1", "192.0.2.2"):
            facts: dict[str, Any] = {"service": "echo", "peer": f"{host}:7", "connection": 1}
            self.event_bus.emit(CONNECTION_MADE, **facts)
            self.event_bus.emit(MESSAGE_RECEIVED, service="echo", host=host, text="x")
            self.event_bus.emit(CONNECTION_LOST, reason="closed", received=1, sent=1, **facts)
        self.assertEqual(len(self.seen), 6)
        self.assertEqual(len(self.lines()), 3)
        self.assertEqual(set(self.asked), {"192.0.2.1", "192.0.2.2"})

    def test_hosts(self) -> None:
        """The host is taken out of the peer's address."""
        for peer in ("192.0.2.1:7", "[2001:db8::1]:7", "[fe80::1%eth0]:7", "unix /run/x:y"):
            self.event_bus.emit(CONNECTION_MADE, service="a", peer=peer, connection=1)
        expected = ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "unix /run/x"]
        self.assertEqual(self.asked, expected)

    def test_failures(self) -> None:
        """An error of the daemon itself is logged for every peer."""
        self.event_bus.emit(PROTOCOL_FAILED, service="a", peer="192.0.2.1:7", error="x")
        self.event_bus.emit(LISTENING, service="a", listener="192.0.2.1:7")
        self.assertEqual((len(self.lines()), self.asked), (2, []))

    def test_no_room_taken(self) -> None:
        """What is not logged takes no room of what is."""
        for _ in range(MAX_LINES + 5):
            self.event_bus.emit(CONNECTION_MADE, service="a", peer="192.0.2.1:7", connection=1)
        self.event_bus.emit(CONNECTION_MADE, service="a", peer="192.0.2.2:7", connection=1)
        self.assertEqual(len(self.lines()), 1)


class FieldTests(SynchronousTestCase):
    """Tests for the facts that each event has."""

    def test_fields(self) -> None:
        """They are those of the line in its order, once each, and then the others."""
        event = Event("x", LogLevel.info, "{b} {a} {b}", False, ("c", "a"))
        self.assertEqual(event.fields, ("b", "a", "c"))

    def test_common(self) -> None:
        """None takes the name of what every line has."""
        taken = {name: COMMON & set(event.fields) for name, event in CATALOGUE.items()}
        self.assertEqual({name for name, found in taken.items() if found}, set())

    def test_emitted(self) -> None:
        """No event is emitted with a fact that its entry in the catalogue does not have."""
        known = {name.upper(): set(event.fields) for name, event in CATALOGUE.items()}
        for module, tree in modules().items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name):
                    fields = known.get(node.args[0].id)
                    given = {keyword.arg or "" for keyword in node.keywords}
                    if fields is not None:
                        self.assertEqual(given - fields - {"", "log_failure"}, set(), module)


class PageTests(SynchronousTestCase):
    """docs/events.md holds."""

    def test_table(self) -> None:
        """It has every event, with its level, line and facts, and no other."""
        text = PAGE.read_text(encoding="utf-8")
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \| (.*) \|$", text, re.MULTILINE)
        expected = [
            (
                event.name,
                event.level.name,
                f"`{event.format}`",
                ", ".join(f"`{name}`" for name in event.fields),
            )
            for event in CATALOGUE.values()
        ]
        self.assertEqual(sorted(rows), sorted(expected))
