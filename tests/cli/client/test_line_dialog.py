"""Tests for L{socketd.cli.client.line_dialog}."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.client.line_dialog import FAREWELL_SECONDS, SETTLE_SECONDS, Conversation
from socketd.cli.client.lines import MAX_LINE
from socketd.cli.client.screen import Screen
from tests.support.client_fakes import MemoryInput, MemoryLink, MemoryOutput

WAIT = 1


class ConversationTestCase(SynchronousTestCase):
    """What the tests of conversations share."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.output = MemoryOutput()
        self.begin()

    def begin(
        self, terminal: bool = False, messages: bool = False, newline: bool = False
    ) -> None:
        """
        Start a conversation.

        @param terminal: whether somebody types.
        @param messages: whether the link is one of datagrams.
        @param newline: whether line ends are sent.
        """
        self.source = MemoryInput(terminal)
        self.link = MemoryLink(messages)
        screen = Screen(self.output, prompts=terminal, encoding="utf-8")
        self.talk = Conversation(self.clock, self.source, screen, WAIT, newline)
        self.talk.start(self.link, self.output)

    def lose(self, error: Exception | None = None) -> BaseException | None:
        """
        Lose the peer.

        @param error: why; a clean end by default.
        @return: the failure that the conversation reports.
        """
        self.talk.lost(Failure(error or ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return self.successResultOf(self.talk.done)


class LinesTests(ConversationTestCase):
    """Tests for what L{Conversation} says, and when."""

    def test_lines(self) -> None:
        """Lines are sent stripped and without their ends, empty ones not at all."""
        self.source.feed(b"  one \r\n\n   \n")
        self.assertEqual(self.link.sent, [b"one"])

    def test_newline(self) -> None:
        """With the option, a line end follows each line."""
        self.begin(newline=True)
        self.source.feed(b"one\r\n")
        self.assertEqual(self.link.sent, [b"one\n"])

    def test_waits_for_answer(self) -> None:
        """The next line follows the answer, as soon as that has settled."""
        self.source.feed(b"one\ntwo\n")
        self.clock.advance(WAIT / 2)
        self.talk.answered(b"an")
        self.clock.advance(SETTLE_SECONDS / 2)
        self.talk.answered(b"swer")
        self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.link.sent, [b"one"])
        self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.link.sent, [b"one", b"two"])
        self.assertEqual(self.output.data, b"answer\n")

    def test_waits_no_longer(self) -> None:
        """Neither a silent peer nor one that never stops holds up the next line for long."""
        self.source.feed(b"one\ntwo\nthree\n")
        self.clock.advance(WAIT)
        self.assertEqual(self.link.sent, [b"one", b"two"])
        for _ in range(41):
            self.talk.answered(b"x")
            self.clock.advance(SETTLE_SECONDS / 2)
        self.assertEqual(self.link.sent, [b"one", b"two", b"three"])

    def test_datagram_answers(self) -> None:
        """A datagram is a whole answer, after which the next line follows at once."""
        self.begin(messages=True)
        self.source.feed(b"one\ntwo\n")
        self.talk.answered(b"1")
        self.clock.advance(0)
        self.talk.answered(b"2")
        self.assertEqual(self.link.sent, [b"one", b"two"])
        self.assertEqual(self.output.data, b"1\n2")

    def test_reads_only_what_it_needs(self) -> None:
        """The input is not read while there are lines to say."""
        self.assertFalse(self.source.is_paused)
        self.source.feed(b"one\ntwo\n")
        self.assertTrue(self.source.is_paused)
        self.clock.pump([WAIT, WAIT])
        self.assertFalse(self.source.is_paused)

    def test_full_peer(self) -> None:
        """Nothing is said to a peer that does not take it."""
        assert self.link.valve is not None
        self.link.valve.pauseProducing()
        self.source.feed(b"one\n")
        self.assertEqual(self.link.sent, [])
        self.link.valve.resumeProducing()
        self.assertEqual(self.link.sent, [b"one"])

    def test_full_output(self) -> None:
        """The peer is not read while the output is full, and is left when that is closed."""
        self.output.producer.pauseProducing()
        self.output.producer.resumeProducing()
        self.output.producer.stopProducing()
        self.assertEqual(self.link.calls, ["pause", "resume", "abort"])


class EndTests(ConversationTestCase):
    """Tests for how a L{Conversation} ends."""

    def test_end_of_input(self) -> None:
        """
        The last line needs no end; after its answer the end is told, and what still comes shown.
        """
        self.source.feed(b"one")
        self.source.end()
        self.assertEqual(self.link.sent, [b"one"])
        self.assertEqual(self.link.calls, [])
        self.talk.answered(b"1")
        self.clock.advance(SETTLE_SECONDS)
        self.assertEqual(self.link.calls, ["end"])
        self.talk.answered(b"more")
        self.assertIsNone(self.lose())
        self.assertEqual(self.output.data, b"1\nmore\n")

    def test_peer_that_does_not_end(self) -> None:
        """A peer that is silent after our end is left without failure."""
        self.source.end()
        self.clock.advance(FAREWELL_SECONDS - 1)
        self.talk.answered(b"still")
        self.clock.advance(FAREWELL_SECONDS - 1)
        self.assertEqual(self.link.calls, ["end"])
        self.clock.advance(1)
        self.assertEqual(self.link.calls, ["end", "close"])
        self.assertIsNone(self.lose())

    def test_peer_ends(self) -> None:
        """The end of the peer ends the conversation, whatever was still to be said."""
        self.source.feed(b"one\ntwo\n")
        self.talk.peer_ended()
        self.assertEqual(self.link.calls, ["close"])
        self.clock.advance(0.5)
        self.assertIsNone(self.lose())
        self.assertEqual(self.link.sent, [b"one"])

    def test_lost(self) -> None:
        """A connection that breaks is a failure, and what was half said stays readable."""
        self.source.feed(b"one\n")
        self.talk.answered(b"hal\xe2")
        self.assertIsInstance(self.lose(ConnectionLost()), ConnectionLost)
        self.assertEqual(self.output.data, b"hal\\xe2\n")

    def test_endless_line(self) -> None:
        """Input without line ends is refused before it fills the memory."""
        self.source.feed(b"x" * (MAX_LINE + 1))
        self.assertEqual(self.link.calls, ["abort"])
        self.assertIn("longer than", str(self.lose()))

    def test_unreadable_input(self) -> None:
        """An input that cannot be read is a failure."""
        self.talk.input_failed(OSError(5, "Input/output error"))
        self.assertEqual(self.link.calls, ["abort"])
        self.assertEqual(str(self.lose()), "standard input: Input/output error")


class TerminalTests(ConversationTestCase):
    """Tests for what a L{Conversation} looks like to somebody who types."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(terminal=True)

    def test_dialogue(self) -> None:
        """Prompt, line, answer, prompt; an empty line brings the prompt again."""
        self.assertEqual(self.output.take(), b">>: ")
        self.source.feed(b"hello\n")
        self.assertEqual(self.output.take(), b"")
        self.talk.answered(b"HELLO")
        self.clock.advance(SETTLE_SECONDS)
        self.assertEqual(self.output.take(), b"HELLO\n>>: ")
        self.source.feed(b"\n")
        self.assertEqual(self.output.take(), b">>: ")

    def test_unasked_answer(self) -> None:
        """What comes unasked stands on its own line, and the prompt is written again."""
        self.output.take()
        self.talk.answered(b"\x1b[2Jnews\n")
        self.assertEqual(self.output.take(), b"\n\\x1b[2Jnews\n>>: ")

    def test_end(self) -> None:
        """After Ctrl-D the shell's prompt stands on a line of its own."""
        self.source.end()
        self.assertEqual(self.output.take(), b">>: \n")
