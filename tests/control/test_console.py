"""
Tests for L{socketd.control.console}.
"""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from socketd.control.console import MAX_LINE, PROMPT, Console
from tests.control.fakes import connect, make_daemon

ERASE = "\r\x1b[K"


class Case(SynchronousTestCase):
    """
    A console at a terminal, and its daemon.
    """

    is_terminal = True

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.terminal = StringTransport()
        self.console = Console(self.daemon, self.is_terminal)
        self.console.makeConnection(self.terminal)

    def shown(self) -> str:
        """
        Take what was shown since the last time.
        """
        text = self.terminal.value().decode()
        self.terminal.clear()
        return str(text)

    def type(self, line: str) -> None:
        """
        Type a line.
        """
        self.console.dataReceived(line.encode() + b"\n")


class ConsoleTests(Case):
    """
    Tests for L{Console} where no connection waits.
    """

    def test_ready(self) -> None:
        """
        It says that it is there, and counts as an operator.
        """
        self.assertEqual(self.shown(), "console ready; help lists the commands\n")
        self.assertTrue(self.daemon.operator.attended)

    def test_gone(self) -> None:
        """
        When its terminal is closed it looks on no more.
        """
        self.console.connectionLost()
        self.assertFalse(self.daemon.operator.attended)
        self.assertFalse(self.daemon.journal.watched)

    def test_events(self) -> None:
        """
        It shows what happens, whether that is logged or not.
        """
        self.shown()
        connection = connect(self.daemon, "shout")
        connection.receive(b"hello")
        connection.leave()
        self.assertEqual(
            self.shown(),
            "connection from 127.0.0.1:50001 (shout 1)\n"
            "127.0.0.1:hello\n"
            "connection from 127.0.0.1:50001 (shout 1) closed: 5 bytes in, 5 out\n",
        )

    def test_escaped(self) -> None:
        """
        What a peer says cannot act on the terminal.
        """
        self.shown()
        connect(self.daemon, "shout").receive(b"\x1b[2J\r\n\xff{host}" + b"x" * 1000)
        line = self.shown().split("\n")[1]
        self.assertTrue(line.startswith(r"127.0.0.1:\x1b[2J\r\n\xff{host}xxx"), line)
        self.assertTrue(line.endswith("... (1013 bytes)"), line)

    def test_command(self) -> None:
        """
        A line is a command, with or without a slash.
        """
        for line in ("status", "/status", " status", "status\r"):
            self.shown()
            self.type(line)
            self.assertEqual(self.shown(), "up 0 s, 2 services, 0 connections, 0 waiting\n", line)

    def test_table(self) -> None:
        """
        Rows are shown as a table.
        """
        connect(self.daemon, "shout")
        self.shown()
        self.type("connections")
        lines = self.shown().split("\n")
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0].split()[:3], ["ID", "SERVICE", "PEER"])
        self.assertEqual(lines[1].split()[:3], ["1", "shout", "127.0.0.1:50001"])

    def test_wrong_command(self) -> None:
        """
        A command that cannot be carried out is answered with the reason.
        """
        self.shown()
        self.type("stats")
        self.assertEqual(self.shown(), "stats is no command; did you mean status?\n")

    def test_empty_line(self) -> None:
        """
        An empty line does nothing.
        """
        self.shown()
        for line in ("", "  ", "\r"):
            self.type(line)
        self.assertEqual(self.shown(), "")

    def test_no_text(self) -> None:
        """
        Bytes that are no text are no command, and are shown escaped.
        """
        self.shown()
        self.console.dataReceived(b"\xff\x1b\n")
        text = self.shown()
        self.assertIn("is no command", text)
        self.assertNotIn("\x1b", text)


class WordTests(Case):
    """
    Tests for L{Console} where connections wait for the operator's word.
    """

    def setUp(self) -> None:
        super().setUp()
        self.connection = connect(self.daemon)
        self.connection.receive(b"hello")

    def test_prompt(self) -> None:
        """
        The word is asked for, below what has happened.
        """
        self.assertTrue(self.shown().endswith(f"127.0.0.1:hello\n{PROMPT}"))

    def test_word(self) -> None:
        """
        The typed line goes to the connection, without its end, and the prompt is gone.
        """
        self.shown()
        self.type("ok")
        self.assertEqual(self.connection.value(), b"hello!ok")
        self.assertEqual(self.shown(), "operator to 127.0.0.1:50001 (ack 1): ok\n")

    def test_bytes(self) -> None:
        """
        A word is the bytes that were typed, whatever they are.
        """
        self.console.dataReceived(b" \xff status \r\n")
        self.assertEqual(self.connection.value(), b"hello! \xff status ")

    def test_empty_word(self) -> None:
        """
        An empty line sends nothing, and the connection goes on.
        """
        self.type("")
        self.assertEqual(self.connection.value(), b"hello!")
        self.assertEqual(self.daemon.operator.waiting, ())

    def test_oldest(self) -> None:
        """
        Words go to the connections in the order in which they asked.
        """
        second = connect(self.daemon)
        second.receive(b"b")
        self.console.dataReceived(b"one\ntwo\nstatus\n")
        self.assertEqual((self.connection.value(), second.value()), (b"hello!one", b"b!two"))
        self.assertIn("0 waiting", self.shown())

    def test_next(self) -> None:
        """
        While another one waits, it is asked for again.
        """
        connect(self.daemon).receive(b"b")
        self.shown()
        self.type("one")
        text = self.shown()
        self.assertTrue(text.endswith(f"operator to 127.0.0.1:50001 (ack 1): one\n{PROMPT}"))

    def test_slash(self) -> None:
        """
        A line with a slash is a command even then; the word is still asked for.
        """
        self.shown()
        self.type("/status")
        text = self.shown()
        self.assertEqual(text, f"up 0 s, 2 services, 1 connections, 1 waiting\n{PROMPT}")
        self.assertEqual(self.connection.value(), b"hello!")

    def test_line_behind_prompt(self) -> None:
        """
        What happens then takes the place of the prompt, which comes again below.
        """
        self.shown()
        connect(self.daemon, "shout")
        self.assertEqual(
            self.shown(), f"{ERASE}connection from 127.0.0.1:50001 (shout 2)\n{PROMPT}"
        )

    def test_withdrawn(self) -> None:
        """
        The prompt goes when the connection does.
        """
        self.shown()
        self.connection.leave()
        text = self.shown()
        self.assertTrue(text.startswith(ERASE))
        self.assertFalse(text.endswith(PROMPT))
        self.shown()
        self.type("status")
        self.assertTrue(self.shown().startswith("up"))

    def test_timeout(self) -> None:
        """
        The prompt goes when the time is over.
        """
        self.shown()
        self.daemon.reactor.advance(60)
        self.assertEqual(self.shown(), ERASE)

    def test_reply(self) -> None:
        """
        A connection further behind can be answered by its id.
        """
        second = connect(self.daemon)
        second.receive(b"b")
        self.type("/reply 2 you first")
        self.assertEqual((self.connection.value(), second.value()), (b"hello!", b"b!you first"))


class PipeTests(Case):
    """
    Tests for L{Console} where standard output is no terminal.
    """

    is_terminal = False

    def test_no_escapes(self) -> None:
        """
        The prompt ends with its line; nothing is erased.
        """
        first = connect(self.daemon)
        first.receive(b"a")
        self.shown()
        connect(self.daemon, "shout")
        made = "connection from 127.0.0.1:50001 (shout 2)"
        self.assertEqual(self.shown(), f"\n{made}\n{PROMPT}")
        self.daemon.reactor.advance(60)
        self.assertEqual(self.shown(), "\n")


class LongLineTests(Case):
    """
    Tests for lines that no terminal would send.
    """

    refusal = f"a line is at most {MAX_LINE} bytes long; it was not used\n"

    def test_longest(self) -> None:
        """
        The longest line is used.
        """
        connection = connect(self.daemon)
        connection.receive(b"a")
        self.type("x" * MAX_LINE)
        self.assertEqual(connection.value(), b"a!" + b"x" * MAX_LINE)

    def test_too_long(self) -> None:
        """
        A longer one is used for nothing.
        """
        connection = connect(self.daemon)
        connection.receive(b"a")
        self.shown()
        self.type("x" * (MAX_LINE + 1))
        self.assertIn(self.refusal, self.shown())
        self.assertEqual(connection.value(), b"a!")
        self.type("ok")
        self.assertEqual(connection.value(), b"a!ok")

    def test_in_pieces(self) -> None:
        """
        Nor is its end, when it comes later; that is said once.
        """
        for pieces in (1, 2, 5):
            connection = connect(self.daemon)
            connection.receive(b"a")
            self.shown()
            for _ in range(pieces):
                self.console.dataReceived(b"x" * (MAX_LINE + 1))
            self.console.dataReceived(b"rest\n")
            self.assertEqual(connection.value(), b"a!")
            self.assertEqual(self.shown().count(self.refusal), 1)
            self.type("ok")
            self.assertEqual(connection.value(), b"a!ok")


class FullTests(Case):
    """
    Tests for a terminal that takes nothing.
    """

    def test_left_out(self) -> None:
        """
        It costs lines, not memory, and says how many.
        """
        self.assertIdentical(self.terminal.producer, self.console)
        self.shown()
        self.console.pauseProducing()
        for _ in range(3):
            connect(self.daemon, "shout")
        self.assertEqual(self.shown(), "")
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "3 lines were left out\n")
        connect(self.daemon, "shout")
        self.assertEqual(self.shown(), "connection from 127.0.0.1:50001 (shout 4)\n")

    def test_nothing_left_out(self) -> None:
        """
        It says nothing where there is nothing to say.
        """
        self.shown()
        self.console.pauseProducing()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "")

    def test_prompt(self) -> None:
        """
        The word is asked for when the terminal takes it again.
        """
        self.console.pauseProducing()
        connection = connect(self.daemon)
        connection.receive(b"a")
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), f"2 lines were left out\n{PROMPT}")

    def test_prompt_alone(self) -> None:
        """
        So it is where nothing but the prompt was held back.
        """
        connection = connect(self.daemon)
        self.console.pauseProducing()
        connection.protocol.dataReceived(b"a")
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), PROMPT)

    def test_gone_meanwhile(self) -> None:
        """
        It is not where nobody waits any more.
        """
        connection = connect(self.daemon)
        self.console.pauseProducing()
        connection.protocol.dataReceived(b"a")
        self.daemon.reactor.advance(60)
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "")

    def test_typing(self) -> None:
        """
        What is typed is done all the same.
        """
        connection = connect(self.daemon)
        connection.receive(b"a")
        self.console.pauseProducing()
        self.type("ok")
        self.assertEqual(connection.value(), b"a!ok")
