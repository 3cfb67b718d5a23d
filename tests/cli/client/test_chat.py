"""Tests for L{socketd.cli.client.chat}."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.chat import EOF_SECONDS, MAX_LINE, SETTLE_SECONDS, LineDialog
from socketd.cli.client.screen import Screen
from socketd.common.errors import CommandError
from tests.support.client_fakes import (
    CommandTestCase,
    MemoryInput,
    MemoryOutput,
    MemoryTransport,
    Server,
    UpperDatagrams,
)

WAIT = 1


class DialogTestCase(SynchronousTestCase):
    """A dialog over a transport in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.output = MemoryOutput()
        self.begin()

    def begin(
        self, terminal: bool = False, datagrams: bool = False, newline: bool = False
    ) -> None:
        self.source = MemoryInput(terminal)
        self.transport = MemoryTransport(datagrams)
        screen = Screen(self.output, prompts=terminal, encoding="utf-8")
        self.dialog = LineDialog(self.clock, self.source, screen, self.output, WAIT, newline)
        self.transport.connect(self.dialog)

    def lose(self, error: Exception | None = None) -> None:
        """Lose the connection, by default in a clean end."""
        self.dialog.connectionLost(Failure(error or ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def end(self) -> None:
        """Close the connection, and see that the dialog was a success."""
        self.lose()
        self.successResultOf(self.dialog.done)

    def failure(self) -> str:
        """Lose the connection, and return the error that the dialog reports."""
        self.lose(ConnectionAborted())
        return str(self.failureResultOf(self.dialog.done, CommandError).value)


class LinesTests(DialogTestCase):
    """Tests for what L{LineDialog} says, and when."""

    def test_lines(self) -> None:
        """Lines are sent stripped and without their ends, empty ones not at all."""
        self.source.feed(b"  one \r\n\n   \n")
        self.assertEqual(self.transport.sent, [b"one"])

    def test_newline(self) -> None:
        """With the option, a line end follows each line."""
        self.begin(newline=True)
        self.source.feed(b"one\r\n")
        self.assertEqual(self.transport.sent, [b"one\n"])

    def test_waits_for_answer(self) -> None:
        """The next line follows the answer, as soon as that has settled."""
        self.source.feed(b"one\ntwo\n")
        self.clock.advance(WAIT / 2)
        self.dialog.dataReceived(b"an")
        self.clock.advance(SETTLE_SECONDS / 2)
        self.dialog.dataReceived(b"swer")
        self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.transport.sent, [b"one"])
        self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.transport.sent, [b"one", b"two"])
        self.assertEqual(self.output.data, b"answer\n")

    def test_waits_no_longer(self) -> None:
        """Neither a silent peer nor one that never stops holds up the next line for long."""
        self.source.feed(b"one\ntwo\nthree\n")
        self.clock.advance(WAIT)
        self.assertEqual(self.transport.sent, [b"one", b"two"])
        for _ in range(41):
            self.dialog.dataReceived(b"x")
            self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.transport.sent, [b"one", b"two", b"three"])

    def test_datagram_answers(self) -> None:
        """A datagram is a whole answer, after which the next line follows at once."""
        self.begin(datagrams=True)
        self.source.feed(b"one\ntwo\n")
        self.dialog.dataReceived(b"1")
        self.clock.advance(0)
        self.dialog.dataReceived(b"2")
        self.assertEqual(self.transport.sent, [b"one", b"two"])
        self.assertEqual(self.output.data, b"1\n2")

    def test_reads_only_what_it_needs(self) -> None:
        """The input is not read while there are lines to say."""
        self.assertFalse(self.source.is_paused)
        self.source.feed(b"one\ntwo\n")
        self.assertTrue(self.source.is_paused)
        self.clock.pump([WAIT, WAIT])
        self.assertFalse(self.source.is_paused)

    def test_full_peer(self) -> None:
        """Nothing is sent to a peer that does not read."""
        self.transport.producer.pauseProducing()
        self.source.feed(b"one\n")
        self.assertEqual(self.transport.sent, [])
        self.transport.producer.resumeProducing()
        self.assertEqual(self.transport.sent, [b"one"])

    def test_full_output(self) -> None:
        """The peer is not read while the output is full, and is left when that is closed."""
        self.output.producer.pauseProducing()
        self.output.producer.resumeProducing()
        self.output.producer.stopProducing()
        self.assertEqual(self.transport.calls, ["pause", "resume", "abort"])


class EndTests(DialogTestCase):
    """Tests for how a L{LineDialog} ends."""

    def test_end_of_input(self) -> None:
        """The last line needs no end; after its reply comes EOF, and further data is shown."""
        self.source.feed(b"one")
        self.source.end()
        self.assertEqual(self.transport.sent, [b"one"])
        self.assertEqual(self.transport.calls, [])
        self.dialog.dataReceived(b"1")
        self.clock.advance(SETTLE_SECONDS)
        self.assertEqual(self.transport.calls, ["end"])
        self.dialog.dataReceived(b"more")
        self.end()
        self.assertEqual(self.output.data, b"1\nmore\n")

    def test_peer_that_does_not_end(self) -> None:
        """A peer that is silent after our end is left without failure."""
        self.source.end()
        self.clock.advance(EOF_SECONDS - 1)
        self.dialog.dataReceived(b"still")
        self.clock.advance(EOF_SECONDS - 1)
        self.assertEqual(self.transport.calls, ["end"])
        self.clock.advance(1)
        self.assertEqual(self.transport.calls, ["end", "close"])
        self.end()

    def test_peer_ends(self) -> None:
        """The peer's EOF ends the dialog, even if lines are left to send."""
        self.source.feed(b"one\ntwo\n")
        self.dialog.readConnectionLost()
        self.assertEqual(self.transport.calls, ["close"])
        self.clock.advance(0.5)
        self.end()
        self.assertEqual(self.transport.sent, [b"one"])

    def test_lost(self) -> None:
        """A connection that breaks is a failure, and what was half said stays readable."""
        self.source.feed(b"one\n")
        self.dialog.dataReceived(b"hal\xe2")
        self.lose(ConnectionLost())
        self.failureResultOf(self.dialog.done, ConnectionLost)
        self.assertEqual(self.output.data, b"hal\\xe2\n")

    def test_endless_line(self) -> None:
        """Input without line ends is refused before it fills the memory."""
        for data in (b"x" * (MAX_LINE + 1), b"one\n" + b"x" * (MAX_LINE + 1) + b"\n"):
            self.begin()
            self.source.feed(data)
            self.assertEqual((self.transport.sent, self.transport.calls), ([], ["abort"]))
            self.assertIn("longer than", self.failure())

    def test_unreadable_input(self) -> None:
        """An input that cannot be read is a failure."""
        self.dialog.input_failed(CommandError("standard input: Input/output error"))
        self.assertEqual(self.transport.calls, ["abort"])
        self.assertEqual(self.failure(), "standard input: Input/output error")


class TerminalTests(DialogTestCase):
    """Tests for what a L{LineDialog} looks like at a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(terminal=True)

    def test_dialogue(self) -> None:
        """Prompt, line, answer, prompt; an empty line brings the prompt again."""
        self.assertEqual(self.output.take(), b">>: ")
        self.source.feed(b"hello\n")
        self.assertEqual(self.output.take(), b"")
        self.dialog.dataReceived(b"HELLO")
        self.clock.advance(SETTLE_SECONDS)
        self.assertEqual(self.output.take(), b"HELLO\n>>: ")
        self.source.feed(b"\n")
        self.assertEqual(self.output.take(), b">>: ")

    def test_unasked_answer(self) -> None:
        """What comes unasked stands on its own line, and the prompt is written again."""
        self.output.take()
        self.dialog.dataReceived(b"\x1b[2Jnews\n")
        self.assertEqual(self.output.take(), b"\n\\x1b[2Jnews\n>>: ")

    def test_end(self) -> None:
        """After Ctrl-D the shell's prompt stands on a line of its own."""
        self.source.end()
        self.assertEqual(self.output.take(), b">>: \n")


class Upper(Server):
    """Answers in upper case, with a color, and closes at C{bye}."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"\x1b[31m" + data.upper())
        if data == b"bye":
            self.transport.loseConnection()


class CommandTests(CommandTestCase):
    """Tests for C{socketd chat} as a process, with piped input."""

    async def test_stream(self) -> None:
        """Each line has its answer, harmless for a terminal, until the input ends."""
        port = self.listen(Upper)
        outcome = await self.command("chat", f"127.0.0.1:{port}", stdin=b"one\n\n \n  two")
        self.assertEqual(outcome, (b"\\x1b[31mONE\n\\x1b[31mTWO\n", b"", 0))

    async def test_peer_ends(self) -> None:
        """When the peer closes, that is the end, and no failure."""
        port = self.listen(Upper)
        outcome = await self.command("chat", f"127.0.0.1:{port}", stdin=b"bye\nnever\n")
        self.assertEqual(outcome, (b"\\x1b[31mBYE\n", b"", 0))

    async def test_datagrams(self) -> None:
        """Each line is a datagram of its own."""
        port = self.listen_datagrams(UpperDatagrams())
        arguments = ("chat", "--newline", f"udp:127.0.0.1:{port}")
        outcome = await self.command(*arguments, stdin=b"one\ntwo\n")
        self.assertEqual(outcome, (b"ONE\nTWO\n", b"", 0))
