"""Tests for L{socketd.control.session}."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.events import EVENTS_LEFT_OUT, STOPPING
from socketd.common.operator_queue import TOLD_WAITING
from socketd.control import session as sessions
from socketd.control.requests import IOperatorSession
from socketd.control.server import MAX_SESSIONS, SessionFactory
from socketd.control.session import IDLE, MAX_LINE, Refusal, Session
from socketd.daemon.state import Reloaded
from tests.control.fakes import connect, make_daemon, watch

STATUS = "up 0 s, 2 services, 0 connections, 0 waiting\n\n"


#: When all happens here.
CLOCK = time.strftime("%H:%M:%S", time.localtime(0))


class Client(StringTransport):
    """A client of the control socket, in memory."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._daemon = case.daemon
        self.session: Any = case.factory.buildProtocol(None)
        self.session.makeConnection(self)

    def say(self, *lines: str) -> str:
        """Send lines at once, and return the output."""
        self.session.dataReceived("".join(f"{line}\n" for line in lines).encode())
        return self.taken()

    def taken(self) -> str:
        """Return the output since the last call."""
        for _ in range(50):
            self._daemon.reactor.advance(0)
        text = self.value().decode()
        self.clear()
        return str(text)

    def objects(self) -> list[dict[str, Any]]:
        """Return it as JSON objects, one per line."""
        return [json.loads(line) for line in self.taken().splitlines()]

    def leave(self) -> None:
        """Close the connection."""
        self.session.connectionLost()


class Case(SynchronousTestCase):
    """A daemon, its session factory and one client."""

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.names = iter(f"operator uid 1000 gid 1000 pid {pid}" for pid in range(1, 100))
        self.patch(sessions, "describe_peer", lambda transport: next(self.names))
        self.factory = SessionFactory(self.daemon)
        self.client = Client(self)


class FramingTests(Case):
    """Tests for lines and answers."""

    def test_interfaces(self) -> None:
        """A session provides the interfaces that its transport and the commands use."""
        session: Any = self.factory.buildProtocol(None)
        verifyObject(IOperatorSession, session)
        verifyObject(IHalfCloseableProtocol, session)
        verifyObject(IPushProducer, session)

    def test_text(self) -> None:
        """A text answer ends with an empty line; an error begins with C{error:}."""
        self.assertEqual(self.client.say("status"), STATUS)
        table = self.client.say("connections")
        self.assertTrue(table.startswith("ID ") and table.endswith("WAITING\n\n"), table)
        error = "error: stauts is no command; did you mean status?\n\n"
        self.assertEqual(self.client.say("stauts"), error)

    def test_complaints(self) -> None:
        """The answer has every diagnostic of a configuration."""
        self.patch(self.daemon, "reload", lambda: Reloaded(diagnostics=("a", "b")))
        text = "error: reload failed, configuration unchanged\na\nb\n\n"
        self.assertEqual(self.client.say("reload"), text)
        self.client.say("json reload")
        answer = {"ok": False, "status": 78, "error": "reload failed, configuration unchanged"}
        self.client.session.dataReceived(b"json reload\n")
        self.assertEqual(self.client.objects(), [answer | {"details": ["a", "b"]}])

    def test_json(self) -> None:
        """With C{json} before the command the answer is one line, an object."""
        connect(self.daemon, "shout", "192.0.2.1:7")
        self.client.session.dataReceived(b"json status\njson connections\njson show 7\n")
        status, table, error = self.client.objects()
        self.assertEqual((status["ok"], status["connections"], status["waiting"]), (True, 1, 0))
        (row,) = table["rows"]
        self.assertEqual((row["id"], row["peer"], row["waits"]), (1, "192.0.2.1:7", False))
        expected = {"ok": False, "status": 1, "error": "no connection 7; see connections"}
        self.assertEqual(error, expected)

    def test_object(self) -> None:
        """A request may be a JSON object; its answer is one."""
        connection = connect(self.daemon, "shout")
        self.client.session.dataReceived(b'{"command": "reply", "id": 1, "data": "AAr/"}\n')
        self.assertEqual(self.client.objects(), [{"ok": True, "text": "sent to 1"}])
        self.assertEqual(connection.value(), b"\0\n\xff")
        self.client.session.dataReceived(b'{"command": "close"}\n')
        expected = {"ok": False, "status": 2, "error": "write close ID"}
        self.assertEqual(self.client.objects(), [expected])

    def test_pieces(self) -> None:
        """A line may arrive in pieces."""
        for byte in b"status\r\n":
            self.client.session.dataReceived(bytes([byte]))
        self.assertEqual(self.client.taken(), STATUS)

    def test_one_by_one(self) -> None:
        """Many lines are answered in order, one per reactor iteration; reading is paused."""
        self.client.session.dataReceived(b"status\n" * 3)
        self.assertEqual(self.client.value().decode(), STATUS)
        self.assertEqual(self.client.producerState, "paused")
        self.assertEqual(self.client.taken(), STATUS * 3)
        self.assertEqual(self.client.producerState, "producing")

    def test_empty(self) -> None:
        """An empty line has no answer."""
        self.assertEqual(self.client.say("", "  ", "\r"), "")

    def test_long(self) -> None:
        """An overlong line is rejected once, and the next line is executed."""
        refused = f"error: a line is at most {MAX_LINE} bytes long; it was not used\n\n"
        self.assertEqual(self.client.say("x" * (MAX_LINE + 1), "status"), refused + STATUS)
        for _ in range(100):
            self.client.session.dataReceived(b"x" * MAX_LINE)
        self.assertEqual(self.client.say("", "status"), refused + STATUS)
        # The longest line is executed.
        connect(self.daemon, "shout")
        line = "reply 1 ".ljust(MAX_LINE, "x")
        self.assertEqual(self.client.say(line), "sent to 1\n\n")

    def test_garbage(self) -> None:
        """Each line of garbage has a printable error, and no other effect."""
        garbage = b"\0\xff\x1b[2J\njson\njson {\njson json status\n\xed\xa0\x80\njson \xff\n"
        self.client.session.dataReceived(garbage)
        text = self.client.taken()
        self.assertEqual((text.count("is no command"), text.count("no JSON object")), (5, 1))
        self.assertTrue(text.replace("\n", "").isprintable(), text)
        self.client.session.dataReceived(os.urandom(10000) + b"\n")
        self.client.taken()
        self.assertEqual(self.client.say("status"), STATUS)

    def test_end_of_input(self) -> None:
        """At EOF the remaining lines are answered, the last one without a line end, too."""
        self.client.session.dataReceived(b"status\nstatus")
        self.client.session.readConnectionLost()
        self.assertFalse(self.client.disconnecting)
        self.assertEqual(self.client.taken(), STATUS * 2)
        self.assertTrue(self.client.disconnecting)

    def test_later_answer(self) -> None:
        """The next line waits for the previous answer."""
        later: Deferred[Reloaded] = Deferred()
        self.patch(self.daemon, "reload", lambda: later)
        self.assertEqual(self.client.say("reload", "status"), "")
        later.callback(Reloaded())
        self.assertEqual(self.client.taken(), "reloaded; nothing changed\n\n" + STATUS)

    def test_gone_meanwhile(self) -> None:
        """A late answer is dropped if the connection is closed."""
        later: Deferred[Reloaded] = Deferred()
        self.patch(self.daemon, "reload", lambda: later)
        self.client.say("reload", "status")
        self.client.leave()
        later.callback(Reloaded())
        self.assertEqual(self.client.taken(), "")

    def test_failure(self) -> None:
        """An internal error of a command is answered and logged."""

        def fail() -> Reloaded:
            raise RuntimeError("why")

        self.patch(self.daemon, "reload", fail)
        seen = watch(self.daemon)
        client = Client(self)
        self.assertEqual(
            client.say("reload", "status"),
            "error: internal error; the log has it\n\n" + STATUS,
        )
        self.assertEqual([name for name, _ in seen], ["operator_came", "protocol_failed"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class QuitTests(Case):
    """Tests for C{quit} in a session."""

    def test_quit(self) -> None:
        """The session ends after the answer, and no later command is executed."""
        self.client.session.dataReceived(b"quit\ndrain\n")
        self.client.session.dataReceived(b"drain\n")
        self.daemon.reactor.advance(0)
        self.assertEqual(self.client.taken(), "leaving; the daemon keeps running\n\n")
        self.assertTrue(self.client.disconnecting)
        self.assertNotEqual(self.daemon.state, "draining")


class WatchTests(Case):
    """Tests for watching sessions."""

    def test_events(self) -> None:
        """Each event is one line, escaped, between answers."""
        self.assertEqual(self.client.say("watch"), "watching everything\n\n")
        connect(self.daemon, "shout").receive(b"\x1b[2J\nhello")
        self.assertEqual(
            self.client.say("status").splitlines(),
            [
                f"{CLOCK} connection from 127.0.0.1:50001 (shout 1)",
                rf"{CLOCK} message from 127.0.0.1:50001 (shout 1): \x1b[2J\nhello",
                "up 0 s, 2 services, 1 connections, 0 waiting",
                "",
            ],
        )

    def test_json(self) -> None:
        """In JSON it is an object with the name, the line and the facts."""
        self.client.say("json watch")
        connect(self.daemon, "shout")
        (event,) = self.client.objects()
        self.assertEqual(event["event"], "connection_made")
        self.assertEqual(event["line"], "connection from 127.0.0.1:50001 (shout 1)")
        facts = {"service": "shout", "peer": "127.0.0.1:50001", "connection": 1}
        self.assertEqual(event["facts"], facts)
        self.assertEqual(event["time"], "1970-01-01T00:00:00.000Z")

    def test_message(self) -> None:
        """A message has its log line, and a summary with its service and connection, if any."""
        self.client.say("json watch shout")
        self.daemon.services[1].service_state.message("192.0.2.1", b"hi", "192.0.2.1:7", None)
        connect(self.daemon, "shout").receive(b"hello")
        datagram, _, stream = self.client.objects()
        self.assertEqual(stream["line"], "127.0.0.1:hello")
        self.assertEqual(stream["summary"], "message from 127.0.0.1:50001 (shout 1): hello")
        self.assertEqual(stream["facts"]["connection"], 1)
        self.assertEqual(datagram["summary"], "message from 192.0.2.1:7 (shout): hi")

    def test_one_service(self) -> None:
        """Only the events of the given service are shown."""
        self.client.say("watch ack")
        connect(self.daemon, "shout")
        self.daemon.event_bus.emit(STOPPING, connections=1)
        connect(self.daemon, "ack")
        self.assertEqual(self.client.taken(), f"{CLOCK} connection from 127.0.0.1:50001 (ack 2)\n")

    def test_again(self) -> None:
        """The last C{watch} counts."""
        self.client.say("watch ack", "json watch shout")
        connect(self.daemon, "ack")
        connect(self.daemon, "shout")
        self.assertEqual([one["facts"]["service"] for one in self.client.objects()], ["shout"])

    def test_after_the_input(self) -> None:
        """A watching session stays open after EOF."""
        self.client.session.dataReceived(b"watch\n")
        self.client.session.readConnectionLost()
        self.client.taken()
        connect(self.daemon, "shout")
        self.assertIn("connection from", self.client.taken())
        self.assertFalse(self.client.disconnecting)

    def test_gone(self) -> None:
        """A closed session neither watches nor attends."""
        self.client.say("attend")
        self.assertTrue(self.daemon.event_bus.watched and self.daemon.operator.attended)
        self.client.leave()
        self.assertFalse(self.daemon.event_bus.watched or self.daemon.operator.attended)
        self.assertEqual(self.daemon.reactor.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """Events that a client does not read are counted, and the count is reported."""
        self.client.say("watch")
        self.client.session.pauseProducing()
        for _ in range(3):
            connect(self.daemon, "shout")
        self.assertEqual(self.client.taken(), "")
        self.client.session.resumeProducing()
        self.assertEqual(self.client.taken(), "3 events were left out\n")
        connect(self.daemon, "shout")
        self.assertIn("(shout 4)", self.client.taken())

    def test_slow_json(self) -> None:
        """The count is reported in JSON, too."""
        self.client.say("json watch")
        self.client.session.pauseProducing()
        connect(self.daemon, "shout")
        self.client.session.resumeProducing()
        self.assertEqual(self.client.objects(), [{"event": "left_out", "count": 1}])

    def test_slow_workers(self) -> None:
        """Those of a service that a worker has left out are told to who watches it, and added."""
        self.client.say("watch shout")
        for service, count in (("shout", 5), ("ack", 7)):
            self.daemon.event_bus.emit(EVENTS_LEFT_OUT, False, service=service, count=count)
        self.assertIn(" 5 events of a worker were left out\n", self.client.taken())
        self.client.session.pauseProducing()
        self.daemon.event_bus.emit(EVENTS_LEFT_OUT, False, service="shout", count=5)
        connect(self.daemon, "shout")
        self.client.session.resumeProducing()
        self.assertEqual(self.client.taken(), "6 events were left out\n")

    def test_slow_commands(self) -> None:
        """While a client does not read, no command is executed, and reading is paused."""
        self.client.session.pauseProducing()
        self.assertEqual(self.client.say(*["status"] * 100), "")
        self.assertEqual(self.client.producerState, "paused")
        self.client.session.resumeProducing()
        self.assertTrue(self.client.taken().startswith(STATUS * 10))


class AttendTests(Case):
    """Tests for attending sessions."""

    def test_queue(self) -> None:
        """The queue is shown at first and at each change."""
        asking = connect(self.daemon).receive(b"hello")
        self.client.session.dataReceived(b"json attend\n")
        answer, queue = self.client.objects()
        self.assertEqual(answer, {"ok": True, "text": "attending"})
        told = {"id": 1, "service": "ack", "peer": "127.0.0.1:50001", "said": "hello"}
        told["left"] = 60.0
        operators = [self.client.session.who]
        expected = {"event": "waiting", "count": 1, "oldest": [told], "operators": operators}
        self.assertEqual(queue, expected)
        self.client.session.dataReceived(b"json answer 1 yes\n")
        events = self.client.objects()
        expected |= {"count": 0, "oldest": []}
        self.assertIn(expected, events)
        self.assertEqual(asking.value(), b"hello!yes")

    def test_late_answer(self) -> None:
        """What is shown comes after the answer, which the workers may delay."""
        late: Deferred[dict[str, Any]] = Deferred()

        def respond(daemon: Any, line: str, session: Session) -> Deferred[dict[str, Any]]:
            session.attend()
            return late

        self.patch(sessions, "respond", respond)
        self.client.session.dataReceived(b"json attend\n")
        connect(self.daemon).receive(b"hello")
        self.assertEqual(self.client.taken(), "")
        late.callback({"ok": True, "text": "attending"})
        answer, queue = self.client.objects()
        self.assertEqual((answer["text"], queue["count"]), ("attending", 1))

    def test_text(self) -> None:
        """In text the queue is one line."""
        self.client.say("attend")
        connect(self.daemon).receive(b"hello")
        oldest = "ack 1 (127.0.0.1:50001): answer 1 TEXT"
        self.assertIn(f"1 waiting; the oldest is {oldest}\n", self.client.taken())

    def test_bounded(self) -> None:
        """Only the oldest connections are listed."""
        for _ in range(TOLD_WAITING + 5):
            connect(self.daemon).receive(b"hello")
        self.client.session.dataReceived(b"json attend\n")
        queue = self.client.objects()[1]
        self.assertEqual((queue["count"], len(queue["oldest"])), (TOLD_WAITING + 5, TOLD_WAITING))

    def test_slow(self) -> None:
        """After backpressure the current queue is shown, once."""
        self.client.say("json attend")
        self.client.session.pauseProducing()
        for _ in range(3):
            connect(self.daemon).receive(b"hello")
        self.client.session.resumeProducing()
        self.assertEqual([one["event"] for one in self.client.objects()], ["left_out", "waiting"])

    def test_two(self) -> None:
        """Operators see each other's answers; a connection is answered once."""
        one, two = self.client, Client(self)
        one.say("attend")
        two.say("attend")
        asking = connect(self.daemon).receive(b"hello")
        one.taken()
        two.taken()
        self.assertIn("answered 1\n\n", one.say("answer 1 mine"))
        seen = two.taken()
        expected = "operator uid 1000 gid 1000 pid 1 to 127.0.0.1:50001 (ack 1): mine\n"
        self.assertIn(expected, seen)
        self.assertIn("no connection waits for the operator\n", seen)
        self.assertIn("error: 1 does not wait; see waiting", two.say("answer 1 late"))
        self.assertEqual(asking.value(), b"hello!mine")

    def test_switch(self) -> None:
        """C{watch} ends the attendance."""
        self.client.say("attend", "attend", "watch")
        self.assertFalse(self.daemon.operator.attended)


class AuditTests(Case):
    """Tests for the audit log."""

    def test_who(self) -> None:
        """Each command that changes something is logged with its operator."""
        connect(self.daemon, "shout")
        seen = watch(self.daemon)
        client = Client(self)
        client.say("status", "reply 1 hello", "ban 192.0.2.1 for 1m")
        client.say("json close 1", "log-level warn")
        client.leave()
        who = "operator uid 1000 gid 1000 pid 2"
        self.assertEqual(
            [text for _, text in seen],
            [
                f"{who} connected to the control socket",
                f"{who}: reply 1 hello",
                f"{who}: ban 192.0.2.1 for 1m",
                f"{who}: close 1",
                f"{who}: log-level warn",
                f"{who} disconnected from the control socket",
            ],
        )


class LimitTests(Case):
    """Tests for the number of sessions, and their idle time."""

    def test_ninth(self) -> None:
        """A session over the limit gets one line and is closed; the log has it."""
        clients = [self.client, *(Client(self) for _ in range(MAX_SESSIONS - 1))]
        seen = watch(self.daemon)
        ninth = Client(self)
        self.assertIsInstance(ninth.session, Refusal)
        self.assertEqual(ninth.taken(), f"error: there are {MAX_SESSIONS} sessions already\n\n")
        self.assertTrue(ninth.disconnecting)
        self.assertEqual([name for name, _ in seen], ["operator_refused"])
        clients[3].leave()
        self.assertIsInstance(Client(self).session, Session)

    def test_idle(self) -> None:
        """An idle session is closed."""
        self.daemon.reactor.advance(IDLE - 1)
        self.client.say("status")
        self.daemon.reactor.advance(IDLE - 1)
        self.assertFalse(self.client.disconnecting)
        self.daemon.reactor.advance(1)
        self.assertTrue(self.client.disconnecting)

    def test_idle_watcher(self) -> None:
        """A watching session stays open while its client can still send."""
        self.client.say("watch")
        self.daemon.reactor.advance(IDLE * 3)
        self.assertFalse(self.client.disconnecting)
        self.client.session.readConnectionLost()
        self.daemon.reactor.advance(IDLE - 1)
        connect(self.daemon)
        self.daemon.reactor.advance(IDLE - 1)
        self.assertFalse(self.client.disconnecting)
        self.daemon.reactor.advance(1)
        self.assertTrue(self.client.disconnecting)
