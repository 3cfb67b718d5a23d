"""Tests for L{socketd.control.crew_commands}, with workers that answer as they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.answers import text_of
from socketd.common.events import OPERATOR_COMMAND, Event
from socketd.control.commands import respond
from socketd.control.crew_commands import LIMIT
from socketd.control.results import MAX_ROWS
from tests.control.fakes import FakeOperatorSession, make_daemon
from tests.workers.fakes import ProcessReactor
from socketd.workers.crew import Crew

#: Rows of C{connections}: the ids are those of the first and the second worker.
ROWS = [
    {
        "id": number, "service": "ack", "peer": "192.0.2.1:7", "age": age, "messages": 1,
        "in": 5, "out": 6, "waits": True,
    }
    for number, age in ((1, 1.0), (2, 9.0), (3, 2.0), (4, 3.0))
]  # fmt: skip

INI = """
[ack]
listen = tcp:12345
operator = always
[shout]
protocol = upper
listen = tcp:8080, udp:8080
[fault:late]
latency = 1s
"""


class CrewCommandTests(SynchronousTestCase):
    """Commands of a daemon with two workers."""

    def setUp(self) -> None:
        self.asked: list[Any] = []
        self.answers: list[Any] = [{}, {}]
        self.switched: list[dict[str, Any]] = []
        self.daemon = make_daemon(INI)
        self.reactor = ProcessReactor(
            {
                "serve": lambda **values: None,
                "ping": lambda: {"last_id": 4},
                "observe": lambda **values: None,
                "switch": self._switch,
            }
        )
        master = mock.Mock(task=lambda index: ({}, ()))
        crew = Crew(self.reactor, self.daemon.event_bus, 2, master)
        self.daemon.crew = crew
        self.refreshed = 0
        self.patch(self.daemon, "refresh", self._refresh)
        crew.start()
        for index, process in enumerate(self.reactor.processes):
            own = {**self.reactor.handlers, "request": self._handler(index)}
            self.patch(process.link, "_handlers", own)
        self.events: list[tuple[Event, dict[str, Any]]] = []
        note: Any = lambda *event: self.events.append(event)  # noqa: E731
        self.daemon.event_bus.watch(note, active=False)

    def _refresh(self) -> Deferred[None]:
        self.refreshed += 1
        return succeed(None)

    def _handler(self, index: int) -> Callable[..., Any]:
        def request(line: str, who: str) -> Any:
            self.asked.append((index, json.loads(line), who))
            answer = self.answers[index]
            return answer if isinstance(answer, Deferred) else {"answer": answer}

        return request

    def _switch(self, **values: Any) -> dict[str, int]:
        self.switched.append(values)
        return {"count": 2}

    def ask(self, line: str) -> Any:
        """Execute a line, and return its answer, which must be fit for people and programs."""
        answer = self.successResultOf(respond(self.daemon, line, FakeOperatorSession()))
        text_of(answer)
        return json.loads(json.dumps(answer))

    def test_owner(self) -> None:
        """What is about one connection goes to its worker, with any bytes."""
        self.answers[1] = {"ok": True, "text": "sent to 4"}
        self.assertEqual(self.ask("reply 4 a\udcff"), {"ok": True, "text": "sent to 4"})
        request = {"command": "reply", "id": "4", "data": "Yf8="}
        self.assertEqual(self.asked, [(1, request, FakeOperatorSession().who)])
        self.assertEqual([event for event, _ in self.events], [OPERATOR_COMMAND])
        self.ask("answer 4")
        self.assertEqual(self.asked[-1][1], {"command": "answer", "id": "4"})

    def test_told(self) -> None:
        """Who is told that a session attends, or watches, finds that all workers know."""
        for line in ("attend", "watch"):
            late: Deferred[dict[str, int]] = Deferred()
            own = self.reactor.processes[1].link._handlers
            self.patch(self.reactor.processes[1].link, "_handlers", {**own, "ping": lambda: late})
            answered = respond(self.daemon, line, FakeOperatorSession())
            self.assertNoResult(answered)
            late.callback({"last_id": 4, "connections": 2})
            self.assertTrue(self.successResultOf(answered)["ok"])

    def test_show(self) -> None:
        """An answer is what the worker said, its rows and facts too."""
        self.answers[0] = {
            "ok": True, "columns": ["field", "value"], "rows": [{"field": "ID", "value": 1}],
            "units": {"age": "seconds"}, "connection": {"id": 1},
        }  # fmt: skip
        self.assertEqual(self.ask("show 1"), self.answers[0])

    def test_error(self) -> None:
        """So is an error, which is not logged as a command."""
        self.answers[0] = {"ok": False, "status": 1, "error": "no\nconnection", "details": [7]}
        self.assertEqual(
            self.ask("reset 1"),
            {"ok": False, "status": 1, "error": r"no\nconnection", "details": ["7"]},
        )
        self.assertEqual(self.events, [])

    def test_no_id(self) -> None:
        """What is no id is an error of the master."""
        self.assertEqual(self.ask("show x")["error"], "no connection x; see connections")
        self.assertEqual(self.asked, [])

    def test_not_answered(self) -> None:
        """A worker that is gone, hangs, or says what is no answer has none."""
        expected = "worker 1 does not answer; its connections are not known"
        answers: list[Any] = [
            None, 7, [], {}, {"ok": True, "rows": 7}, {"ok": False}, {"ok": True, "units": [7]},
            {"ok": True, "columns": ["a"], "rows": [{}]},
        ]  # fmt: skip
        for answer in answers:
            self.answers[1] = answer
            self.assertEqual(self.ask("show 2")["error"], expected, answer)
        self.answers[1] = Deferred()
        answered = respond(self.daemon, "show 2", FakeOperatorSession())
        self.reactor.advance(LIMIT)
        self.assertEqual(self.successResultOf(answered)["error"], expected)
        self.reactor.processes[1].end()
        self.assertEqual(self.ask("show 2")["error"], expected)

    def test_connections(self) -> None:
        """The connections of all are one table, by id."""
        for index in (0, 1):
            self.answers[index] = {"ok": True, "rows": ROWS[index::2]}
        found = self.ask("connections")
        self.assertEqual([row["id"] for row in found["rows"]], [1, 2, 3, 4])
        self.assertEqual(found["rows"], ROWS)
        self.assertNotIn("more", found)

    def test_more(self) -> None:
        """No more are listed than of one process, and the rest is counted."""
        for index in (0, 1):
            rows = [ROWS[0] | {"id": 2 * n + index + 1} for n in range(MAX_ROWS)]
            self.answers[index] = {"ok": True, "rows": rows, "more": 7}
        found = self.ask("connections 0")
        self.assertEqual([row["id"] for row in found["rows"]], list(range(1, MAX_ROWS + 1)))
        self.assertEqual((found["more"], found["after"]), (MAX_ROWS + 14, MAX_ROWS))
        self.assertEqual(found["text"], f"{MAX_ROWS + 14} more; write connections {MAX_ROWS}")
        self.assertEqual(self.asked[0][1], {"command": "connections", "after": "0"})
        self.assertFalse(self.ask("connections x")["ok"])

    def test_partly(self) -> None:
        """What is missing is said; what is no row is left out."""
        self.answers = [{"ok": True, "rows": [7, {}, ROWS[0]], "more": "x"}, None]
        found = self.ask("connections")
        self.assertEqual((found["rows"], found["text"]), ([ROWS[0]], "worker 1 does not answer"))

    def test_waiting(self) -> None:
        """Who waits is listed by age."""
        for index in (0, 1):
            self.answers[index] = {"ok": True, "rows": ROWS[index::2]}
        self.assertEqual([row["id"] for row in self.ask("waiting")["rows"]], [2, 4, 3, 1])

    def test_sources(self) -> None:
        """Sources are listed by service, the latest first."""
        columns = ("service", "source", "received", "lost", "late", "duplicate", "silent")
        rows = [
            dict(zip(columns, (service, "192.0.2.1:7", 1, 0, 0, 0, silent)))
            for service, silent in (("shout", 1.0), ("shout", 3.0), ("ack", 9.0), ("shout", 2.0))
        ]
        self.answers = [{"ok": True, "rows": rows[:2]}, {"ok": True, "rows": rows[2:]}]
        found = self.ask("sources")["rows"]
        self.assertEqual([row["silent"] for row in found], [9.0, 1.0, 2.0, 3.0])

    def test_listeners(self) -> None:
        """A port that a protocol has opened in one worker is listed, each other one once."""
        own = self.ask("listeners")["rows"]
        further = {"service": "ack", "listener": "udp 192.0.2.1:50000", "state": "serving"}
        self.answers = [{"ok": True, "rows": [*own, further]}, {"ok": True, "rows": own}]
        self.assertEqual(self.ask("listeners")["rows"], [*own, further])

    def test_ban(self) -> None:
        """A ban is one of all processes; what it has reset is added."""
        self.answers = [{"ok": True, "connections_reset": 2}, {"ok": True, "connections_reset": 1}]
        found = self.ask("ban 192.0.2.1 for 1m")
        self.assertEqual(found["text"], "banned 192.0.2.1/32 for 60 s; 3 connections reset")
        self.assertEqual(len(self.daemon.bans), 1)
        request = {"command": "ban", "source": "192.0.2.1", "duration": "1m"}
        self.assertEqual([one[:2] for one in self.asked], [(0, request), (1, request)])
        self.answers[1] = None
        found = self.ask("unban 192.0.2.1")
        self.assertEqual(
            found["text"],
            "192.0.2.1/32 is no longer banned; worker 1 has not confirmed it yet",
        )
        self.asked.clear()
        self.assertFalse(self.ask("unban 192.0.2.1")["ok"])
        self.assertEqual(self.asked, [])

    def test_log_level(self) -> None:
        """So is the level of the log."""
        self.ask("log-level warn")
        self.assertEqual(self.daemon.event_bus.level.name, "warn")
        self.assertEqual(len(self.asked), 2)

    def test_fault(self) -> None:
        """A fault profile is switched everywhere with the seed that the master has drawn."""
        found = self.ask("fault shout late now")
        seed = found["seed"]
        self.assertEqual(found["connections_switched"], 4)
        self.assertIn(f"seed {seed}; 4 open connections switched", found["text"])
        faults = {"ack": None, "shout": ("late", seed)}
        expected = {"faults": faults, "open_of": "shout"}
        self.assertEqual(self.switched, [expected] * 2)

    def test_figures(self) -> None:
        """What shows figures has them collected before."""
        for line in ("status", "services", "faults"):
            self.assertTrue(self.ask(line)["ok"])
        self.assertEqual((self.refreshed, self.asked), (3, []))
        self.assertTrue(self.ask("bans")["ok"])
        self.assertEqual((self.refreshed, self.asked), (3, []))
