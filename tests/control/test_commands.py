"""Tests for L{socketd.control.commands}."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.bans import BANNED, MAX_BANS
from socketd.common.answers import text_of
from socketd.common.commands import COMMANDS
from socketd.common.errors import CommandError
from socketd.control.commands import FUNCTIONS, answer, execute
from socketd.control.results import JSON, MAX_ROWS, CommandResult
from socketd.daemon.state import Reloaded
from socketd.daemon.state import State
from socketd.settings.networks import parse_networks
from tests.control.fakes import FakeContext, FakeOperatorSession, connect, make_daemon, watch

COLUMNS = ("id", "service", "peer", "age", "messages", "in", "out", "waits")


class Case(SynchronousTestCase):
    """A daemon and an operator's session."""

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.session = FakeOperatorSession()

    def execute(self, line: str) -> CommandResult:
        """Execute a command."""
        result: CommandResult = self.successResultOf(execute(self.daemon, line, self.session))
        return result

    def problem(self, line: str) -> CommandError:
        """Return the error of a command."""
        done = execute(self.daemon, line, self.session)
        problem: CommandError = self.failureResultOf(done, CommandError).value
        return problem

    def refused(self, line: str) -> str:
        """Return why a command fails."""
        return str(self.problem(line))


class LineTests(Case):
    """Tests for the parsing of command lines."""

    def test_unknown(self) -> None:
        """An unknown command suggests a similar one, if there is one."""
        expected = {
            "stauts": "stauts is no command; did you mean status?",
            "Status": "Status is no command; did you mean status?",
            "conections 3": "conections is no command; did you mean connections?",
            "xyzzy": "xyzzy is no command; help lists all",
            "": " is no command; help lists all",
        }
        self.assertEqual({line: self.refused(line) for line in expected}, expected)

    def test_unprintable(self) -> None:
        """Typed text is escaped in errors."""
        self.assertIn(r"\x1b[2J is no command", self.refused("\x1b[2J"))
        self.assertIn(r"no connection \x1b[2J", self.refused("close \x1b[2J"))

    def test_long(self) -> None:
        """Typed text is truncated in errors."""
        self.assertTrue(len(self.refused("x" * 100000)) < 1000)

    def test_arguments(self) -> None:
        """Too few or too many arguments are answered with the usage."""
        expected = {
            "help me": "write help",
            "status now": "write status",
            "show": "write show ID",
            "close": "write close ID",
            "close ": "write close ID",
            "reply": "write reply ID TEXT",
            "reply 1": "write reply ID TEXT",
        }
        self.assertEqual({line: self.refused(line) for line in expected}, expected)

    def test_spaces(self) -> None:
        """Spaces around a line are ignored."""
        self.assertEqual(self.execute("  status \n"), self.execute("status"))

    def test_ids(self) -> None:
        """An ID that no live connection has is an error."""
        connect(self.daemon)
        for number in ("0", "2", "x", "-1", "+1", "1.0", "1 2", "١", "1" * 19, "9" * 5000):
            for command in ("show", "close", "reset"):
                message = self.refused(f"{command} {number}")
                self.assertTrue(message.startswith(f"no connection {number[:200]}"), message)
                self.assertTrue(message.endswith("; see connections"), message)

    def test_gone(self) -> None:
        """A closed connection has no ID."""
        connection = connect(self.daemon)
        self.execute("show 1")
        connection.leave()
        self.assertEqual(self.refused("show 1"), "no connection 1; see connections")

    def test_functions(self) -> None:
        """Every command has a function, and every function a command."""
        self.assertEqual(list(FUNCTIONS), list(COMMANDS))

    def test_statuses(self) -> None:
        """A malformed command has status 2, one that cannot be executed now has status 1."""
        for line in ("stauts", "show", "ban x", "ban 192.0.2.1 10m", "log-level loud"):
            self.assertEqual(self.problem(line).status, 2, line)
        for line in ("show 7", "answer 7", "unban 192.0.2.1", "watch nothing", "drain"):
            self.assertEqual(self.problem(line).status, 1, line)

    def test_logged(self) -> None:
        """Only a command that changes something, and succeeds, is logged, escaped."""
        connect(self.daemon)
        seen = watch(self.daemon)
        for line in ("help", "status", "services", "connections", "waiting", "show 1", "bans"):
            self.execute(line)
        self.refused("close 7")
        self.assertEqual(seen, [])
        self.execute("reply 1 \x1b[2J")
        self.execute("close 1")
        self.execute("reset 1")
        expected = [r"operator: reply 1 \x1b[2J", "operator: close 1", "operator: reset 1"]
        self.assertEqual(seen, [("operator_command", text) for text in expected])


class QueryTests(Case):
    """Tests for the commands that only query."""

    def test_help(self) -> None:
        """C{help} lists every command with its arguments."""
        result = self.execute("help")
        self.assertEqual(result.columns, ("command", "does"))
        self.assertEqual([str(row[0]).split(" ")[0] for row in result.rows], list(COMMANDS))
        self.assertIn(("reply ID TEXT", "send data to a connection"), result.rows)
        # It fits a terminal of 80 columns as a table.
        self.assertEqual(len(text_of(result.answer, 80).splitlines()), len(COMMANDS) + 1)

    def test_status(self) -> None:
        """C{status} shows the uptime and the totals; the wait for a word ends after a minute."""
        connect(self.daemon).receive(b"hello")
        connect(self.daemon, "shout")
        result = self.execute("status")
        self.assertEqual(result, CommandResult("up 0 s, 2 services, 2 connections, 1 waiting"))
        self.daemon.reactor.advance(90.4)
        result = self.execute("status")
        self.assertEqual(result, CommandResult("up 90 s, 2 services, 2 connections, 0 waiting"))

    def test_status_certificates(self) -> None:
        """C{status} counts the invalid certificates."""
        context: Any = FakeContext()
        self.daemon.services[0].context = context
        result = self.execute("status")
        self.assertTrue(result.text.endswith("0 waiting, certificates not valid: 1"), result.text)
        self.assertEqual(result.facts["invalid_certificates"], 1)

    def test_services(self) -> None:
        """C{services} shows the counters of each service, live connections included."""
        gone, live = connect(self.daemon, "shout"), connect(self.daemon, "shout")
        gone.receive(b"abc")
        gone.leave()
        live.receive(b"de")
        live.receive(b"f")
        result = self.execute("services")
        headers = ("service", "protocol", "listens", "open", "total")
        self.assertEqual(result.columns, headers + ("messages", "datagrams", "in", "out"))
        ack = ["ack", "ack", "", 0, 0, 0, 0, 0, 0]
        self.assertEqual(result.rows, [ack, ["shout", "upper", "", 1, 2, 3, 0, 6, 6]])

    def test_datagram_bytes(self) -> None:
        """The bytes of a service include those of datagrams."""
        counters = self.daemon.services[1].service_state.counters
        counters.bytes_received, counters.datagram_bytes_received = 1, 20
        counters.bytes_sent, counters.datagram_bytes_sent = 300, 4000
        self.assertEqual(self.execute("services").rows[1][-2:], [21, 4300])

    def test_listeners(self) -> None:
        """C{listeners} lists what is bound; nothing is, here."""
        result = self.execute("listeners")
        self.assertEqual((result.columns, result.rows), (("service", "listener", "state"), []))

    def test_certificates(self) -> None:
        """C{certificates} lists the days that are left, rounded down, and what is wrong."""
        context: Any = FakeContext()
        self.daemon.services[0].context = context
        result = self.execute("certificates")
        self.assertEqual(result.columns, ("service", "days", "until", "problems"))
        problems = "tls_certificate: expired"
        until = "2027-01-15T08:00:00.000Z"
        self.assertEqual(result.rows, [("ack", 20833, until, problems)])

    def test_web(self) -> None:
        """C{web} tells the URL of the status page, if there is one."""
        self.assertIn("no status page", self.refused("web"))
        self.daemon.page = "http://127.0.0.1:1/#token=x"
        result = self.execute("web")
        self.assertEqual((result.text, result.facts), (self.daemon.page, {"url": result.text}))

    def test_no_connections(self) -> None:
        """Without connections C{connections} shows the headers."""
        self.assertEqual(self.execute("connections"), CommandResult(columns=COLUMNS, rows=[]))

    def test_connections(self) -> None:
        """C{connections} lists the live connections in the order of their IDs."""
        connect(self.daemon, "ack", "192.0.2.1:7").receive(b"hello")
        self.daemon.reactor.advance(1.25)
        connect(self.daemon, "shout", "[::1]:8")
        self.daemon.reactor.advance(2)
        self.assertEqual(
            self.execute("connections").rows,
            [
                (1, "ack", "192.0.2.1:7", 3.2, 1, 5, 6, True),
                (2, "shout", "[::1]:8", 2.0, 0, 0, 0, False),
            ],
        )

    def test_waiting(self) -> None:
        """C{waiting} lists the waiting connections, the oldest first."""
        first, second, _ = connect(self.daemon), connect(self.daemon), connect(self.daemon)
        second.receive(b"b")
        first.receive(b"a")
        self.assertEqual([row[0] for row in self.execute("waiting").rows], [2, 1])
        self.assertEqual(self.execute("waiting").columns, COLUMNS)

    def test_show(self) -> None:
        """C{show} has one row per field."""
        connect(self.daemon, "shout", "192.0.2.1:7").receive(b"hello")
        result = self.execute("show 1")
        self.assertEqual(result.columns, ("field", "value"))
        values = (1, "shout", "192.0.2.1:7", 0.0, 1, 5, 5, False)
        found = dict(zip(COLUMNS, values)) | {"fault": None}
        self.assertEqual(result.rows, [(name.upper(), value) for name, value in found.items()])
        self.assertEqual(result.facts["connection"], found)


class ConnectionTests(Case):
    """Tests for the commands for one connection."""

    def test_half_close(self) -> None:
        """C{half-close} ends the output, and the connection stays."""
        connection = connect(self.daemon, "shout")
        self.assertEqual(self.execute("half-close 1").text, "half-closing 1")
        self.assertEqual((connection.half_closed, connection.disconnecting), (True, False))

    def test_reply_to_one_that_waits(self) -> None:
        """C{reply} answers a waiting connection, wherever it is in the queue."""
        first, second = (connect(self.daemon).receive(data) for data in (b"a", b"b"))
        seen = watch(self.daemon)
        self.assertEqual(self.execute("reply 2 thank you,  größer"), CommandResult("sent to 2"))
        self.assertEqual(second.value(), "b!thank you,  größer".encode())
        self.assertEqual(first.value(), b"a!")
        self.assertEqual([row[0] for row in self.execute("waiting").rows], [1])
        self.assertEqual(
            seen[0],
            ("operator_answered", "operator to 127.0.0.1:50001 (ack 2): thank you,  größer"),
        )

    def test_reply_to_one_that_does_not(self) -> None:
        """C{reply} sends the text to a connection that does not wait, whatever bytes it has."""
        connection = connect(self.daemon, "shout")
        self.execute("reply 1 hello")
        self.execute("reply 1 \udcff  ")
        self.assertEqual(connection.value(), b"hello\xff  ")
        self.assertFalse(connection.disconnecting)

    def test_close(self) -> None:
        """C{close} closes after pending output is sent."""
        connection = connect(self.daemon)
        self.assertEqual(self.execute("close 1"), CommandResult("closing 1"))
        self.assertEqual((connection.disconnecting, connection.disconnected), (True, False))

    def test_close_one_that_waits(self) -> None:
        """A waiting connection leaves the queue once it is closed."""
        connection = connect(self.daemon).receive(b"a")
        self.execute("close 1")
        connection.leave()
        self.assertEqual(self.daemon.operator.waiting, ())

    def test_reset(self) -> None:
        """C{reset} resets the connection."""
        connection = connect(self.daemon)
        self.assertEqual(self.execute("reset 1"), CommandResult("reset 1"))
        self.assertTrue(connection.disconnected)

    def test_answer(self) -> None:
        """C{answer} answers a waiting connection, also with no text."""
        first, second = (connect(self.daemon).receive(data) for data in (b"a", b"b"))
        self.assertEqual(self.execute("answer 2 yes"), CommandResult("answered 2"))
        self.assertEqual(self.execute("answer 1"), CommandResult("answered 1"))
        self.assertEqual((first.value(), second.value()), (b"a!", b"b!yes"))
        self.assertEqual(self.daemon.operator.waiting, ())

    def test_answer_too_late(self) -> None:
        """A second answer is rejected and not sent."""
        connection = connect(self.daemon).receive(b"a")
        self.execute("answer 1 mine")
        self.assertEqual(self.refused("answer 1 late"), "1 does not wait; see waiting")
        self.assertEqual(connection.value(), b"a!mine")

    def test_answer_to_one_that_is_gone(self) -> None:
        """An answer for a closed connection ends its question, and is not logged."""
        connection = connect(self.daemon).receive(b"a")
        (question,) = self.daemon.operator.waiting
        connection.service_state.leave(connection)
        seen = watch(self.daemon)
        answer(self.daemon, question, b"late", "operator")
        self.assertEqual((self.daemon.operator.waiting, seen), ((), []))


class ManyTests(Case):
    """Tests for more connections than one answer lists."""

    def setUp(self) -> None:
        super().setUp()
        for _ in range(MAX_ROWS + 2):
            connect(self.daemon, "shout")

    def test_pages(self) -> None:
        """The answer has the number of those that follow, and the command that lists them."""
        result = self.execute("connections")
        self.assertEqual(len(result.rows), MAX_ROWS)
        self.assertEqual(result.text, f"2 more; write connections {MAX_ROWS}")
        self.assertEqual(dict(result.facts), {"more": 2, "after": MAX_ROWS})
        # The last page has neither.
        result = self.execute(f"connections {MAX_ROWS}")
        self.assertEqual([row[0] for row in result.rows], [MAX_ROWS + 1, MAX_ROWS + 2])
        self.assertEqual((result.text, dict(result.facts)), ("", {}))

    def test_many_waiting(self) -> None:
        """C{waiting} lists the oldest, up to the same limit."""
        for _ in range(MAX_ROWS + 2):
            connect(self.daemon).receive(b"a")
        result = self.execute("waiting")
        self.assertEqual((len(result.rows), result.text), (MAX_ROWS, "2 more"))

    def test_bad_page(self) -> None:
        """A page must follow an ID."""
        self.assertEqual(self.refused("connections x"), "x is no id; write connections [AFTER]")


class SessionTests(Case):
    """Tests for the commands that change the session."""

    def test_watch(self) -> None:
        """C{watch} shows the events of one service, or all; C{attend} makes it an operator's."""
        self.assertEqual(self.execute("watch ack"), CommandResult("watching ack"))
        self.assertEqual(self.execute("watch"), CommandResult("watching everything"))
        self.execute("attend")
        self.assertEqual(self.session.asked, ["ack", None, "attend"])

    def test_unknown_service(self) -> None:
        """An unknown service suggests a similar one."""
        self.assertEqual(self.refused("watch shuot"), "shuot is no service; did you mean shout?")


class BanTests(Case):
    """Tests for C{ban}, C{unban} and C{bans}."""

    def admitted(self, host: str, service: int = 0) -> str | None:
        """Return why a service rejects a host, if it does."""
        policy = self.daemon.services[service].service_state.policy
        return policy.admit_connection(2, (host, 50000))[0]

    def test_ban(self) -> None:
        """Every service rejects a banned source, and its connections are reset."""
        banned = [connect(self.daemon, "ack", "192.0.2.7:1"), connect(self.daemon, "shout",
                  "192.0.2.9:1")]  # fmt: skip
        other = connect(self.daemon, "ack", "192.0.3.7:1")
        local = connect(self.daemon, "ack", "unix /run/x")
        result = self.execute("ban 192.0.2.0/24")
        self.assertEqual(result.text, "banned 192.0.2.0/24; 2 connections reset")
        self.assertEqual([one.disconnected for one in banned], [True, True])
        self.assertEqual([one.disconnected for one in (other, local)], [False, False])
        for service in (0, 1):
            self.assertEqual(self.admitted("192.0.2.200", service), BANNED)
            self.assertEqual(self.admitted("192.0.3.7", service), None)

    def test_mapped(self) -> None:
        """An IPv4-mapped peer is banned by its IPv4 address."""
        peer = connect(self.daemon, "ack", "[::ffff:192.0.2.7]:1")
        self.execute("ban 192.0.2.7")
        self.assertTrue(peer.disconnected)

    def test_for_a_while(self) -> None:
        """A ban expires after its duration."""
        result = self.execute("ban 192.0.2.7 for 10m")
        self.assertEqual(result.text, "banned 192.0.2.7/32 for 600 s; 0 connections reset")
        self.daemon.reactor.advance(599)
        self.assertEqual(self.execute("bans").rows, [("192.0.2.7/32", 1.0)])
        self.assertEqual(self.admitted("192.0.2.7"), BANNED)
        self.daemon.reactor.advance(1)
        self.assertEqual(self.execute("bans").rows, [])
        self.assertEqual(self.admitted("192.0.2.7"), None)

    def test_forgets(self) -> None:
        """Each change discards the cached verdicts of the datagram guards."""
        forgotten: list[str] = []
        for service in self.daemon.services:
            self.patch(service, "forget_sources", lambda name=service.name: forgotten.append(name))
        for line in ("ban 192.0.2.7", "unban 192.0.2.7"):
            self.execute(line)
            self.assertEqual(forgotten, ["ack", "shout"])
            forgotten.clear()

    def test_unban(self) -> None:
        """C{unban} lifts the ban of exactly that network."""
        self.execute("ban 192.0.2.0/24")
        self.assertEqual(self.refused("unban 192.0.2.7"), "192.0.2.7/32 is not banned; see bans")
        lifted = "192.0.2.0/24 is no longer banned"
        self.assertEqual(self.execute("unban 192.0.2.0/24").text, lifted)
        self.assertEqual(self.admitted("192.0.2.7"), None)

    def test_list(self) -> None:
        """C{bans} lists the bans, also those that do not expire."""
        self.execute("ban 2001:db8::/32")
        self.execute("ban 192.0.2.7 for 1h")
        result = self.execute("bans")
        self.assertEqual(result.columns, ("source", "seconds"))
        self.assertEqual(result.rows, [("2001:db8::/32", None), ("192.0.2.7/32", 3600.0)])

    def test_wrong(self) -> None:
        """Anything but one network, and a network of all sources, is rejected."""
        for line in (
            "ban x", "ban any", "ban loopback", "ban 0.0.0.0/0", "ban ::/0", "ban 192.0.2.1/24",
            "ban 192.0.2.1,192.0.2.2", "ban 192.0.2.1 10m", "ban 192.0.2.1 for", "ban ,",
            "ban 192.0.2.1 for ever", "ban 192.0.2.1 for 0s", "ban \x1b[2J", "ban fe80::1%lo",
        ):
            message = self.refused(line)
            self.assertTrue(message.isprintable() and len(message) < 300, message)
            self.assertEqual(len(self.daemon.bans), 0, line)

    def test_full(self) -> None:
        """A full table rejects another ban, and keeps those that it has."""
        for number in range(MAX_BANS):
            (network,) = parse_networks(f"10.0.{number // 256}.{number % 256}")
            self.daemon.bans.add(network)
        self.assertEqual(
            self.refused("ban 192.0.2.1"), f"there are {MAX_BANS} bans already; unban one first"
        )
        self.execute("ban 10.0.0.1 for 1s")
        self.assertEqual(len(self.daemon.bans), MAX_BANS)


class DaemonTests(Case):
    """Tests for the commands that change the daemon."""

    def reloads(self, outcome: Any) -> None:
        """Set the result of a reload."""
        self.patch(self.daemon, "reload", lambda: outcome)

    def test_reload(self) -> None:
        """C{reload} shows the changes, or says that there are none."""
        self.reloads(Reloaded(changes=("echo: added", "ack: removed")))
        result = self.execute("reload")
        self.assertEqual(result.text, "reloaded\necho: added\nack: removed")
        self.assertEqual(dict(result.facts), {"changes": ["echo: added", "ack: removed"]})
        self.reloads(Reloaded())
        self.assertEqual(self.execute("reload").text, "reloaded; nothing changed")

    def test_reload_of_a_bad_file(self) -> None:
        """An invalid file has status 78, and all its diagnostics as details."""
        diagnostics = ("x.ini:1: bad", "x.ini:2: worse")
        self.reloads(Reloaded(diagnostics=diagnostics))
        problem = self.problem("reload")
        self.assertEqual(str(problem), "reload failed, configuration unchanged")
        self.assertEqual((problem.status, problem.details), (78, diagnostics))

    def test_drain(self) -> None:
        """C{drain} stops accepting, and C{status} shows it."""
        self.daemon.state = State.SERVING
        connect(self.daemon)
        expected = "draining; 1 connections continue; resume undoes it"
        self.assertEqual(self.execute("drain").text, expected)
        self.assertEqual(self.daemon.state, State.DRAINING)
        status = self.execute("status")
        self.assertTrue(status.text.endswith(" waiting, draining"), status.text)
        self.assertEqual(status.facts["state"], State.DRAINING)

    def test_resume(self) -> None:
        """C{resume} accepts again, or fails with the reason."""
        self.assertEqual(str(self.problem("resume")), "cannot resume while starting")
        self.daemon.state = State.SERVING
        self.execute("drain")
        why = ("[ack] cannot listen at x: Address already in use",)
        self.patch(self.daemon, "resume", lambda: why)
        problem = self.problem("resume")
        self.assertEqual((str(problem), problem.details), ("still draining", why))
        self.daemon.state = State.SERVING
        self.patch(self.daemon, "resume", lambda: ())
        self.assertEqual(self.execute("resume").text, "accepting connections again")

    def test_log_level(self) -> None:
        """C{log-level} sets the lowest level that is logged."""
        self.execute("log-level debug")
        self.assertIs(self.daemon.event_bus.level, LogLevel.debug)
        self.assertEqual(self.refused("log-level wran"), "wran is no level; did you mean warn?")
        self.assertIs(self.daemon.event_bus.level, LogLevel.debug)

    def test_failure(self) -> None:
        """An exception of a command's function is the command's failure."""
        def fail() -> None:
            raise RuntimeError("why")

        self.patch(self.daemon, "reload", fail)
        self.failureResultOf(execute(self.daemon, "reload", self.session), RuntimeError)


class ResultTests(SynchronousTestCase):
    """Tests for L{CommandResult}."""

    def test_json(self) -> None:
        """Its JSON is one line, with plain numbers and their units."""
        result = CommandResult(
            "2 more", ("a", "in"), [(True, 2048), (None, 0)], {"more": 2}, {"in": "bytes"}
        )
        expected = '{"ok": true, "text": "2 more", "columns": ["a", "in"], '
        expected += '"rows": [{"a": true, "in": 2048}, {"a": null, "in": 0}], '
        expected += '"units": {"in": "bytes"}, "more": 2}'
        self.assertEqual(JSON.write(result.answer), expected)
