"""
Tests for L{socketd.control.commands}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.control.commands import COMMANDS, CommandError, Reply, execute
from tests.control.fakes import connect, make_daemon, watch

HEADERS = ("ID", "SERVICE", "PEER", "AGE", "MESSAGES", "IN", "OUT", "WAITS")


class Case(SynchronousTestCase):
    """
    A daemon to command.
    """

    def setUp(self) -> None:
        self.daemon = make_daemon()

    def execute(self, line: str) -> Reply:
        """
        Carry a command out.
        """
        return execute(self.daemon, line)

    def refused(self, line: str) -> str:
        """
        Say why a command cannot be carried out.
        """
        return str(self.assertRaises(CommandError, execute, self.daemon, line))


class LineTests(Case):
    """
    Tests for how a line is read.
    """

    def test_unknown(self) -> None:
        """
        What is no command is answered with the nearest one, or all of them.
        """
        known = ", ".join(sorted(COMMANDS))
        expected = {
            "stauts": "stauts is no command; did you mean status?",
            "Status": "Status is no command; did you mean status?",
            "conections 3": "conections is no command; did you mean connections?",
            "xyzzy": f"xyzzy is no command; known are {known}",
            "": f" is no command; known are {known}",
        }
        self.assertEqual({line: self.refused(line) for line in expected}, expected)

    def test_unprintable(self) -> None:
        """
        What was typed is not shown raw.
        """
        self.assertIn(r"\x1b[2J is no command", self.refused("\x1b[2J"))
        self.assertIn(r"no connection \x1b[2J", self.refused("close \x1b[2J"))

    def test_long(self) -> None:
        """
        Nor is it shown at any length.
        """
        self.assertTrue(len(self.refused("x" * 100000)) < 1000)

    def test_arguments(self) -> None:
        """
        A command with too few or too many arguments is answered with its form.
        """
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
        """
        Spaces around a line do not matter.
        """
        self.assertEqual(self.execute("  status \n"), self.execute("status"))

    def test_ids(self) -> None:
        """
        What is not the id of a live connection is said not to be.
        """
        connect(self.daemon)
        for number in ("0", "2", "x", "-1", "+1", "1.0", "1 2", "١", "1" * 19, "9" * 5000):
            for command in ("show", "close", "reset"):
                message = self.refused(f"{command} {number}")
                self.assertTrue(message.startswith(f"no connection {number[:200]}"), message)
                self.assertTrue(message.endswith("; see connections"), message)

    def test_gone(self) -> None:
        """
        Nor has a connection an id when it is gone.
        """
        connection = connect(self.daemon)
        self.execute("show 1")
        connection.leave()
        self.assertEqual(self.refused("show 1"), "no connection 1; see connections")

    def test_table(self) -> None:
        """
        Each command has a sentence for help, and takes the arguments that it names.
        """
        for name, command in COMMANDS.items():
            self.assertTrue(command.help.endswith("."), name)
            self.assertTrue(name.isidentifier() and name.islower(), name)
            self.assertEqual([word.upper() for word in command.arguments], [*command.arguments])

    def test_logged(self) -> None:
        """
        A command that changes something is logged, escaped; others are not, nor
        is one that failed.
        """
        connect(self.daemon)
        seen = watch(self.daemon)
        for line in ("help", "status", "services", "connections", "waiting", "show 1"):
            self.execute(line)
        self.refused("close 7")
        self.assertEqual(seen, [])
        self.execute("reply 1 \x1b[2J")
        self.execute("close 1")
        self.execute("reset 1")
        expected = [r"operator: reply 1 \x1b[2J", "operator: close 1", "operator: reset 1"]
        self.assertEqual(seen, [("operator_command", text) for text in expected])


class LookTests(Case):
    """
    Tests for the commands that change nothing.
    """

    def test_help(self) -> None:
        """
        C{help} lists every command with its arguments.
        """
        reply = self.execute("help")
        self.assertEqual(reply.headers, ("COMMAND", "DOES"))
        self.assertEqual([str(row[0]).split(" ")[0] for row in reply.rows], list(COMMANDS))
        self.assertIn(("reply ID TEXT", "Send a text to one connection."), reply.rows)

    def test_status(self) -> None:
        """
        C{status} says how long the daemon is up, and what it has.
        """
        connect(self.daemon).receive(b"hello")
        connect(self.daemon, "shout")
        self.daemon.reactor.advance(90.4)
        reply = self.execute("status")
        self.assertEqual(reply, Reply("up 90 s, 2 services, 2 connections, 0 waiting"))

    def test_status_waiting(self) -> None:
        """
        C{status} counts who waits.
        """
        connect(self.daemon).receive(b"hello")
        self.assertEqual(
            self.execute("status").text, "up 0 s, 2 services, 1 connections, 1 waiting"
        )

    def test_services(self) -> None:
        """
        C{services} counts what each service did, live connections included.
        """
        gone, live = connect(self.daemon, "shout"), connect(self.daemon, "shout")
        gone.receive(b"abc")
        gone.leave()
        live.receive(b"de")
        live.receive(b"f")
        reply = self.execute("services")
        headers = ("SERVICE", "PROTOCOL", "LISTENS", "OPEN", "TOTAL")
        self.assertEqual(reply.headers, headers + ("MESSAGES", "DATAGRAMS", "IN", "OUT"))
        ack = ["ack", "ack", "", 0, 0, 0, 0, 0, 0]
        self.assertEqual(reply.rows, [ack, ["shout", "upper", "", 1, 2, 3, 0, 6, 6]])

    def test_no_connections(self) -> None:
        """
        C{connections} has headers even if there are none.
        """
        self.assertEqual(self.execute("connections"), Reply(headers=HEADERS, rows=[]))

    def test_connections(self) -> None:
        """
        C{connections} lists the live ones in the order in which they came.
        """
        connect(self.daemon, "ack", "192.0.2.1:7").receive(b"hello")
        self.daemon.reactor.advance(1.25)
        connect(self.daemon, "shout", "[::1]:8")
        self.daemon.reactor.advance(2)
        self.assertEqual(
            self.execute("connections").rows,
            [
                (1, "ack", "192.0.2.1:7", 3.2, 1, 5, 6, "yes"),
                (2, "shout", "[::1]:8", 2.0, 0, 0, 0, "no"),
            ],
        )

    def test_waiting(self) -> None:
        """
        C{waiting} lists those that wait, oldest question first.
        """
        first, second, _ = connect(self.daemon), connect(self.daemon), connect(self.daemon)
        second.receive(b"b")
        first.receive(b"a")
        self.assertEqual([row[0] for row in self.execute("waiting").rows], [2, 1])
        self.assertEqual(self.execute("waiting").headers, HEADERS)

    def test_show(self) -> None:
        """
        C{show} has one row for each fact.
        """
        connect(self.daemon, "shout", "192.0.2.1:7").receive(b"hello")
        reply = self.execute("show 1")
        self.assertEqual(reply.headers, ("FIELD", "VALUE"))
        values = (1, "shout", "192.0.2.1:7", 0.0, 1, 5, 5, "no")
        self.assertEqual(reply.rows, list(zip(HEADERS, values)))


class ActTests(Case):
    """
    Tests for the commands that change something.
    """

    def test_reply_to_one_that_waits(self) -> None:
        """
        C{reply} is the operator's word for a connection that waits, whatever
        its place in the queue.
        """
        first, second = connect(self.daemon), connect(self.daemon)
        first.receive(b"a")
        second.receive(b"b")
        seen = watch(self.daemon)
        self.assertEqual(self.execute("reply 2 thank you,  größer"), Reply("sent to 2"))
        self.assertEqual(second.value(), "b!thank you,  größer".encode())
        self.assertEqual(first.value(), b"a!")
        self.assertEqual([row[0] for row in self.execute("waiting").rows], [1])
        self.assertEqual(
            seen[0],
            ("operator_answered", "operator to 127.0.0.1:50001 (ack 2): thank you,  größer"),
        )

    def test_reply_to_one_that_does_not(self) -> None:
        """
        C{reply} is sent to any other connection as it is.
        """
        connection = connect(self.daemon, "shout")
        self.execute("reply 1 hello")
        self.assertEqual(connection.value(), b"hello")
        self.assertFalse(connection.disconnecting)

    def test_close(self) -> None:
        """
        C{close} closes as a protocol would: what is owed is sent.
        """
        connection = connect(self.daemon)
        self.assertEqual(self.execute("close 1"), Reply("closing 1"))
        self.assertEqual((connection.disconnecting, connection.disconnected), (True, False))

    def test_close_one_that_waits(self) -> None:
        """
        A connection that is closed while it waits leaves the queue when it is gone.
        """
        connection = connect(self.daemon)
        connection.receive(b"a")
        self.execute("close 1")
        connection.leave()
        self.assertEqual(self.daemon.operator.waiting, ())

    def test_reset(self) -> None:
        """
        C{reset} resets.
        """
        connection = connect(self.daemon)
        self.assertEqual(self.execute("reset 1"), Reply("reset 1"))
        self.assertTrue(connection.disconnected)
