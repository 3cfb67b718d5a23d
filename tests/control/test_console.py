"""Tests for L{socketd.control.console}."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import LISTENING
from socketd.control.commands import answer
from socketd.control.console import Console
from socketd.terminal.operator_prompt import (
    PROMPT,
    REACTION_TIME,
    gone_notice,
    prompt_for,
    waiting_notice,
)
from socketd.terminal.view import MAX_LINE
from tests.control.fakes import connect, make_daemon

COLUMNS = 80

#: Takes the prompt away.
ERASE = "\r" + " " * len(PROMPT) + "\r"

FIRST, SECOND = "ack 1 (127.0.0.1:50001)", "ack 2 (127.0.0.1:50001)"


class Case(SynchronousTestCase):
    """A console at a terminal, and its daemon."""

    is_terminal = True

    def setUp(self) -> None:
        self.daemon = make_daemon()
        self.terminal = StringTransport()
        self.console = Console(self.daemon, (lambda: COLUMNS) if self.is_terminal else None)
        self.console.makeConnection(self.terminal)

    def shown(self) -> str:
        """Take what was shown since the last time."""
        text = self.terminal.value().decode()
        self.terminal.clear()
        return str(text)

    def type(self, line: str) -> None:
        """Type a line."""
        self.console.dataReceived(line.encode() + b"\n")

    def answered(self, line: str) -> str:
        """Type a line, and take what is shown behind it and its echo."""
        self.shown()
        self.type(line)
        text = self.shown()
        echo = f"{line}\n" if self.is_terminal else ""
        self.assertTrue(text.startswith(echo), text)
        return text.removeprefix(echo)


class ConsoleTests(Case):
    """Tests for L{Console} where no connection waits."""

    def test_ready(self) -> None:
        """It says that it is there, and counts as an operator."""
        self.assertEqual(self.shown(), "console ready; help lists the commands\n")
        self.assertTrue(self.daemon.operator.attended)

    def test_gone(self) -> None:
        """When its terminal is closed it looks on no more."""
        self.console.connectionLost()
        self.assertFalse(self.daemon.operator.attended)
        self.assertFalse(self.daemon.event_bus.watched)

    def test_events(self) -> None:
        """It shows what happens, whether that is logged or not."""
        self.shown()
        connection = connect(self.daemon, "shout").receive(b"hello")
        connection.leave()
        self.assertEqual(
            self.shown(),
            "connection from 127.0.0.1:50001 (shout 1)\n"
            "127.0.0.1:hello\n"
            "connection from 127.0.0.1:50001 (shout 1) closed: 5 bytes in, 5 out\n",
        )

    def test_escaped(self) -> None:
        """What a peer says cannot act on the terminal."""
        self.shown()
        connect(self.daemon, "shout").receive(b"\x1b[2J\r\n\xff{host}" + b"x" * 1000)
        line = self.shown().split("\n")[1]
        self.assertTrue(line.startswith(r"127.0.0.1:\x1b[2J\r\n\xff{host}xxx"), line)
        self.assertTrue(line.endswith("... (1013 bytes)"), line)

    def test_command(self) -> None:
        """
        A line is a command, with or without a slash; one that cannot be carried out is answered
        with the reason. An empty line does nothing.
        """
        expected = dict.fromkeys(
            ("status", "/status", " status"), "up 0 s, 2 services, 0 connections, 0 waiting\n"
        )
        expected |= {"stats": "stats is no command; did you mean status?\n", "": "", "  ": ""}
        self.assertEqual({line: self.answered(line) for line in expected}, expected)

    def test_table(self) -> None:
        """Rows are shown as a table."""
        connect(self.daemon, "shout")
        self.shown()
        self.type("connections")
        lines = self.shown().split("\n")[1:]
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0].split()[:3], ["ID", "SERVICE", "PEER"])
        self.assertEqual(lines[1].split()[:3], ["1", "shout", "127.0.0.1:50001"])

    def test_no_text(self) -> None:
        """Keys that are no text do nothing, or what they do in a shell."""
        self.shown()
        self.console.dataReceived(b"\x1b[2J\x00stauts\x7f\x7f\x1b[D\x05\x15status\r")
        text = self.shown()
        self.assertTrue(text.endswith("\nup 0 s, 2 services, 0 connections, 0 waiting\n"), text)
        self.assertNotIn("\x1b", text)

    def test_completion(self) -> None:
        """Tab completes a command and its arguments."""
        self.console.dataReceived(b"log\t")
        self.assertTrue(self.shown().endswith("log-level "))
        self.console.dataReceived(b"\x15/ser\t")
        self.assertTrue(self.shown().endswith("/services "))
        self.console.dataReceived(b"\x15fault sho\to\t")
        self.assertTrue(self.shown().endswith("fault shout off "))

    def test_begun(self) -> None:
        """Events are shown above the line that is begun, which is kept."""
        self.console.dataReceived(b"sta")
        self.shown()
        connect(self.daemon, "shout")
        made = "connection from 127.0.0.1:50001 (shout 1)"
        self.assertEqual(self.shown(), f"\r   \r{made}\nsta")
        self.console.dataReceived(b"tus\n")
        self.assertTrue(self.shown().startswith("tus\nup 0 s"))

    def test_end(self) -> None:
        """After Ctrl-D no operator is here; what is typed then does nothing."""
        self.console.dataReceived(b"\x04drain\n")
        self.assertFalse(self.daemon.operator.attended)
        self.assertTrue(self.shown().endswith("end of input; the daemon keeps running\n"))
        self.console.dataReceived(b"drain\n")
        self.assertEqual((self.shown(), self.daemon.state), ("", "starting"))

    def test_quit(self) -> None:
        """C{quit}, or C{exit}, leaves; the daemon keeps running, and events are shown."""
        for command in ("quit", "exit"):
            self.setUp()
            self.assertEqual(self.answered(command), "leaving; the daemon keeps running\n")
            self.daemon.reactor.advance(0)
            self.assertFalse(self.daemon.operator.attended)
            self.assertEqual(self.shown(), "end of input; the daemon keeps running\n")
            connect(self.daemon, "shout")
            self.assertIn("connection from", self.shown())

    def test_redraw(self) -> None:
        """After another program has had the terminal, the line stands there again."""
        self.console.dataReceived(b"sta")
        self.shown()
        self.console.redraw()
        self.assertEqual(self.shown(), "sta")


class WordTests(Case):
    """Tests for L{Console} where connections wait for the operator's word."""

    def setUp(self) -> None:
        super().setUp()
        self.connection = connect(self.daemon).receive(b"hello")

    def test_prompt(self) -> None:
        """The word is asked for, below what has happened."""
        self.assertTrue(self.shown().endswith(f"127.0.0.1:hello\n{PROMPT}"))

    def test_word(self) -> None:
        """The typed line goes to the connection, without its end, and the prompt is gone."""
        expected = "operator to 127.0.0.1:50001 (ack 1): ok\n"
        self.assertEqual(self.answered("ok"), expected)
        self.assertEqual(self.connection.value(), b"hello!ok")

    def test_empty_word(self) -> None:
        """An empty line sends nothing, and the connection stays."""
        self.type("")
        self.assertEqual(self.connection.value(), b"hello!")
        self.assertEqual(self.daemon.operator.waiting, ())

    def test_oldest(self) -> None:
        """Words go to the connections in the order in which they asked."""
        second = connect(self.daemon).receive(b"b")
        self.console.dataReceived(b"one\ntwo\nstatus\n")
        self.assertEqual((self.connection.value(), second.value()), (b"hello!one", b"b!two"))
        self.assertIn("0 waiting", self.shown())

    def test_named(self) -> None:
        """
        Where there are several connections, or operators, the prompt names the one whose
        word is asked for.
        """
        connect(self.daemon).receive(b"b")
        text = self.shown()
        self.assertTrue(text.endswith(f"\n{prompt_for(FIRST)}"), text)
        self.assertEqual(text.count(PROMPT), 1)
        self.type("one")
        text = self.shown()
        word = "operator to 127.0.0.1:50001 (ack 1): one\n"
        self.assertTrue(text.endswith(word + prompt_for(SECOND)), text)
        self.connection.leave()
        self.assertTrue(self.shown().endswith(f"\n{PROMPT}"))
        self.daemon.operator.attach(lambda: None)
        self.console.show("x")
        self.type("/status")
        self.assertTrue(self.shown().endswith(f"\n{prompt_for(SECOND)}"))

    def test_slash(self) -> None:
        """A line with a slash is a command even then; the word is still asked for."""
        text = self.answered("/status")
        self.assertEqual(text, f"up 0 s, 2 services, 1 connections, 1 waiting\n{PROMPT}")
        self.assertEqual(self.connection.value(), b"hello!")

    def test_line_behind_prompt(self) -> None:
        """What happens then takes the place of the prompt, which comes again below."""
        self.shown()
        self.daemon.event_bus.emit(LISTENING, service="x", listener="y")
        self.assertEqual(self.shown(), f"{ERASE}x listens on y\n{PROMPT}")

    def test_withdrawn(self) -> None:
        """The prompt goes when the connection does, and a little later commands need no slash."""
        self.shown()
        self.connection.leave()
        text = self.shown()
        self.assertIn(ERASE, text)
        self.assertFalse(text.endswith(PROMPT))
        self.daemon.reactor.advance(REACTION_TIME)
        self.assertTrue(self.answered("status").startswith("up"))

    def test_timeout(self) -> None:
        """The prompt goes when the time is over."""
        self.shown()
        self.daemon.reactor.advance(60)
        self.assertEqual(self.shown(), ERASE)

    def test_reply(self) -> None:
        """A connection further behind can be answered by its id."""
        second = connect(self.daemon).receive(b"b")
        self.type("/reply 2 you first")
        self.assertEqual((self.connection.value(), second.value()), (b"hello!", b"b!you first"))


class AddresseeTests(Case):
    """
    Tests that a line goes to the connection that the prompt named when it was begun, and
    to no other.
    """

    def test_half_typed_command(self) -> None:
        """A command that is begun when a client arrives stays one; then the word is asked for."""
        self.console.dataReceived(b"sta")
        first = connect(self.daemon).receive(b"hello")
        self.assertTrue(self.shown().endswith(f"{waiting_notice(FIRST)}\nsta"))
        second = connect(self.daemon).receive(b"hello")
        self.assertNotIn("waits", self.shown())
        self.console.dataReceived(b"tus\n")
        text = self.shown()
        self.assertTrue(text.startswith("tus\nup 0 s"), text)
        self.assertTrue(text.endswith(prompt_for(FIRST)), text)
        self.assertEqual((first.value(), second.value()), (b"hello!", b"hello!"))

    def test_half_typed_word(self) -> None:
        """A word that is begun when its client goes is sent to no other."""
        first, second = (connect(self.daemon).receive(b"hello") for _ in range(2))
        self.console.dataReceived(b"dra")
        self.shown()
        first.leave()
        self.assertTrue(self.shown().endswith(f"{gone_notice(FIRST)}\n{prompt_for(FIRST)}dra"))
        self.daemon.reactor.advance(2 * REACTION_TIME)
        self.console.dataReceived(b"in\n")
        self.assertTrue(self.shown().endswith(f"{gone_notice(FIRST)}\n{PROMPT}"))
        self.assertEqual((second.value(), self.daemon.state), (b"hello!", "starting"))
        self.type("ok")
        self.assertEqual(second.value(), b"hello!ok")

    def test_two_operators(self) -> None:
        """
        A connection that another operator has answered gets no second word, nor does the
        next one, nor the same at its next message.
        """
        first, second = (connect(self.daemon).receive(b"hello") for _ in range(2))
        self.console.dataReceived(b"mine")
        answer(self.daemon, self.daemon.operator.waiting[0], b"theirs", "uid 7")
        first.receive(b"again")
        self.type("")
        self.assertEqual(first.value(), b"hello!theirsagain!")
        self.assertEqual(second.value(), b"hello!")

    def test_gone_operator(self) -> None:
        """An operator who has gone leaves nothing behind."""
        connection = connect(self.daemon).receive(b"hello")
        connection.leave()
        self.console.connectionLost()
        self.shown()
        self.daemon.reactor.advance(REACTION_TIME)
        self.assertEqual(self.shown(), "")


class PipeTests(Case):
    """Tests for L{Console} where standard output is no terminal."""

    is_terminal = False

    def test_no_escapes(self) -> None:
        """The prompt ends with its line; nothing is erased."""
        connect(self.daemon).receive(b"a")
        self.shown()
        self.daemon.event_bus.emit(LISTENING, service="x", listener="y")
        self.assertEqual(self.shown(), f"\nx listens on y\n{PROMPT}")
        self.daemon.reactor.advance(60)
        self.assertEqual(self.shown(), "\n")

    def test_bytes(self) -> None:
        """A word is the bytes that came, whatever they are."""
        connection = connect(self.daemon).receive(b"a")
        self.console.dataReceived(b" \xff\x1b status \r\n")
        self.assertEqual(connection.value(), b"a! \xff\x1b status ")
        self.assertIn(r"(ack 1):  \xff\x1b status", self.shown())

    def test_too_long(self) -> None:
        """A line that no terminal would send is neither a command nor a word."""
        connection = connect(self.daemon).receive(b"a")
        self.type("x" * (MAX_LINE + 1))
        self.assertIn(f"a line is at most {MAX_LINE} bytes long; it was not used\n", self.shown())
        self.type("ok")
        self.assertEqual(connection.value(), b"a!ok")

    def test_pieces(self) -> None:
        """A line that comes in pieces is for the one whose prompt stood there at first."""
        self.console.dataReceived(b"sta")
        connection = connect(self.daemon).receive(b"a")
        self.assertEqual(self.answered("tus")[:2], "up")
        self.assertEqual(connection.value(), b"a!")


class FullTests(Case):
    """Tests for a terminal that takes nothing."""

    def test_left_out(self) -> None:
        """It costs lines, not memory, and says how many."""
        self.assertIdentical(self.terminal.producer, self.console)
        self.shown()
        self.console.pauseProducing()
        for _ in range(3):
            connect(self.daemon, "shout")
        self.type("")
        self.assertEqual(self.shown(), "")
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "3 lines were left out\n")
        connect(self.daemon, "shout")
        self.assertEqual(self.shown(), "connection from 127.0.0.1:50001 (shout 4)\n")

    def test_nothing_left_out(self) -> None:
        """It says nothing where there is nothing to say."""
        self.shown()
        self.console.pauseProducing()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "")

    def test_prompt(self) -> None:
        """The word is asked for when the terminal takes it again."""
        self.console.pauseProducing()
        connect(self.daemon).receive(b"a")
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), f"2 lines were left out\n{PROMPT}")

    def test_prompt_alone(self) -> None:
        """So it is where nothing but the prompt was held back."""
        connection = connect(self.daemon)
        self.console.pauseProducing()
        connection.protocol.dataReceived(b"a")
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), PROMPT)

    def test_gone_meanwhile(self) -> None:
        """It is not when no connection waits any more."""
        connection = connect(self.daemon)
        self.console.pauseProducing()
        connection.protocol.dataReceived(b"a")
        self.daemon.reactor.advance(60)
        self.shown()
        self.console.resumeProducing()
        self.assertEqual(self.shown(), "")

    def test_typing(self) -> None:
        """What is typed is done all the same."""
        connection = connect(self.daemon).receive(b"a")
        self.console.pauseProducing()
        self.type("ok")
        self.assertEqual(connection.value(), b"a!ok")
