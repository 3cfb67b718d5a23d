"""Tests for L{socketd.workers.relay}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.events import (
    ACCEPT_FAILED,
    CONNECTION_MADE,
    LISTENING,
    MAX_LINES,
    MESSAGE_RECEIVED,
    PROTOCOL_FAILED,
)
from socketd.common.operator_queue import TOLD_WAITING
from socketd.workers.link import Handlers, Link
from socketd.workers.relay import RelayBus, RelayLog, RelayQueue
from tests.control.fakes import connect, make_daemon
from tests.workers.fakes import connect as connect_links

MADE: dict[str, Any] = {"service": "echo", "peer": "192.0.2.1:7", "connection": 3}
MESSAGE: dict[str, Any] = {"service": "echo", "host": "192.0.2.1", "text": "hello"}


class RelayCase(SynchronousTestCase):
    """A link whose other end notes what it is told."""

    def setUp(self) -> None:
        self.told: list[Any] = []
        link = Link({}, lambda: None)
        log: Any = lambda **values: self.told.append(values)  # noqa: E731
        queue: Any = lambda count, oldest: self.told.append((count, oldest))  # noqa: E731
        handlers: Handlers = {"event": self._event, "log": log, "queue": queue}
        connect_links(link, Link(handlers, lambda: None, self.fail))
        self.link, self.bus = link, RelayBus(Clock(), link=link)

    def _event(self, name: str, logged: bool, facts: dict[str, Any]) -> None:
        self.told.append((name, logged, facts))


class BusTests(RelayCase):
    """Tests for L{RelayBus}."""

    def test_logged(self) -> None:
        """What is logged is sent, with plain facts."""
        self.bus.emit(CONNECTION_MADE, **MADE, fault=LogLevel.info)
        facts = MADE | {"fault": str(LogLevel.info)}
        self.assertEqual(self.told, [("connection_made", True, facts)])

    def test_not_logged(self) -> None:
        """What is not logged stays here: by its service, its level, or its number."""
        self.bus.emit(CONNECTION_MADE, False, **MADE)
        self.bus.level = LogLevel.warn
        self.bus.emit(CONNECTION_MADE, **MADE)
        self.assertEqual(self.told, [])
        self.bus.level = LogLevel.info
        for _ in range(MAX_LINES + 1):
            self.bus.emit(CONNECTION_MADE, **MADE)
        self.assertEqual(len(self.told), MAX_LINES)

    def test_masters(self) -> None:
        """What the master says itself is not sent."""
        self.bus.emit(LISTENING, service="echo", listener="tcp 127.0.0.1:7")
        self.assertEqual(self.told, [])

    def test_observed(self) -> None:
        """While the master has watchers, all is sent, and is an event if they are active."""
        self.bus.emit(MESSAGE_RECEIVED, False, **MESSAGE)
        for heard, watched, expected in (
            (True, False, [("message_received", False, MESSAGE)]),
            (True, True, [("message_received", False, MESSAGE)]),
            (False, False, []),
        ):
            self.bus.observe(heard, watched)
            self.assertEqual(self.bus.watched, watched)
            self.bus.emit(MESSAGE_RECEIVED, False, **MESSAGE)
            self.assertEqual(self.told, expected)
            self.told.clear()

    def test_failure(self) -> None:
        """A failure is sent as its traceback."""
        failure = Failure(ValueError("no"))
        self.bus.emit(PROTOCOL_FAILED, **MADE, error="no", log_failure=failure)
        ((_, _, facts),) = self.told
        self.assertEqual(facts["log_failure"], failure.getTraceback())

    def leave_out(self) -> list[Any]:
        """Emit while the master does not read, and return what it is told when it does."""
        self.link.pauseProducing()
        for service, logged in (("echo", True), ("time", False), ("echo", False), ("echo", True)):
            self.bus.emit(ACCEPT_FAILED, logged, service=service, error="no", seconds=1.0)
        self.assertEqual(self.told, [])
        self.link.resumeProducing()
        for _ in range(2):
            self.bus.tell_lost()
        told, self.told[:] = self.told[:], []
        return told

    def test_full(self) -> None:
        """What the master does not read is left out: lines of the log are told by their number."""
        self.assertEqual(self.leave_out(), [("lines_lost", True, {"count": 2})])

    def test_left_out(self) -> None:
        """While the master has watchers, so are events, for each service."""
        self.bus.observe(True, False)
        left_out = [
            ("events_left_out", False, {"service": "echo", "count": 3}),
            ("events_left_out", False, {"service": "time", "count": 1}),
        ]
        self.assertEqual(self.leave_out(), [("lines_lost", True, {"count": 2}), *left_out])

    def test_full_again(self) -> None:
        """What the link has no room for meanwhile is told later."""
        tell = self.link.tell

        def tell_last(*about: Any, **values: Any) -> None:
            tell(*about, **values)
            self.link.pauseProducing()

        self.bus.observe(True, False)
        self.patch(self.link, "tell", tell_last)
        (lost,) = self.leave_out()
        self.assertEqual(lost[0], "lines_lost")
        self.link.resumeProducing()
        self.bus.tell_lost()
        self.bus.tell_lost()
        self.assertEqual(self.told, [("events_left_out", False, {"service": "echo", "count": 3})])


class QueueTests(RelayCase):
    """Tests for L{RelayQueue}."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon = make_daemon()
        self.queue = RelayQueue(self.daemon, self.link)

    def turn(self) -> list[Any]:
        """Have the reactor turn, and return what was told."""
        self.daemon.reactor.advance(0)
        told, self.told[:] = self.told[:], []
        return told

    def test_told(self) -> None:
        """Once in a turn, the oldest are told, and how many there are."""
        for _ in range(TOLD_WAITING + 2):
            connect(self.daemon).receive(b"hello")
        ((count, oldest),) = self.turn()
        self.assertEqual((count, len(oldest)), (TOLD_WAITING + 2, TOLD_WAITING))
        found = {name: oldest[0][name] for name in ("id", "service", "said")}
        self.assertEqual(found, {"id": 1, "service": "ack", "said": "hello"})
        self.assertEqual(oldest[0]["until"] - oldest[0]["asked"], 60.0)
        self.assertEqual(self.turn(), [])

    def test_full(self) -> None:
        """While the master does not read, nothing is told, and then what has become of it."""
        self.link.pauseProducing()
        connect(self.daemon).receive(b"hello")
        self.assertEqual(self.turn(), [])
        self.link.resumeProducing()
        for _ in range(2):
            self.queue.changed()
        self.assertEqual([count for count, _ in self.turn()], [1])


class LogTests(RelayCase):
    """Tests for L{RelayLog}."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Logger(observer=RelayLog(self.link))

    def test_foreign(self) -> None:
        """What a library logs is sent as text."""
        verifyObject(ILogObserver, RelayLog(self.link))
        self.log.warn("{what} is odd", what="it")
        self.log.info("")
        self.assertEqual(self.told, [{"level": "warn", "text": "it is odd", "traceback": ""}])

    def test_failure(self) -> None:
        """So is a traceback."""
        self.log.failure("failed", Failure(ValueError("no")))
        self.assertEqual(self.told[0]["level"], "critical")
        self.assertIn("ValueError: no", self.told[0]["traceback"])

    def test_own(self) -> None:
        """What is an event has gone by the bus; while the master does not read, nothing goes."""
        self.log.info("hello", event="listening")
        self.link.pauseProducing()
        self.log.info("hello")
        self.assertEqual(self.told, [])
