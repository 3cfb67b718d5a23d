"""Tests for L{socketd.terminal.operator_prompt} and L{socketd.terminal.operator_prompt}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from socketd.cli.operator.session import ConsoleSession
from socketd.common.commands import COMMANDS
from socketd.control.console import Console
from socketd.terminal.operator_prompt import (
    PROMPT,
    REACTION_TIME,
    IConsole,
    OperatorPrompt,
    complete,
    gone_notice,
    prompt_for,
    sent_as_word,
    waiting_notice,
)


@implementer(IConsole)
class MemoryConsole:
    """Remembers what its prompt has it do; connections are their names."""

    def __init__(self) -> None:
        self.is_begun = False
        self.done: list[object] = []

    def name_of(self, waiting: str) -> str:
        return waiting

    def execute(self, line: str) -> None:
        self.done.append(line)

    def answer(self, waiting: str, word: str) -> None:
        self.done.append((waiting, word))

    def show(self, text: str) -> None:
        self.done.append(text)

    def refresh(self) -> None:
        self.done.append("refreshed")


class OperatorPromptTests(SynchronousTestCase):
    """Tests for L{OperatorPrompt}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.console = MemoryConsole()
        self.prompt: OperatorPrompt[str] = OperatorPrompt(self.console, self.clock)

    def test_interface(self) -> None:
        """Both consoles, and the one here, are what a prompt can use."""
        for console in (MemoryConsole, Console, ConsoleSession):
            verifyClass(IConsole, console)

    def entered(self, line: str) -> list[object]:
        """Enter a line, and return what was done since the last time."""
        self.prompt.enter(line)
        done, self.console.done = self.console.done, []
        return done

    def test_oldest(self) -> None:
        """A line is for the one that waits the longest; the next line, for the next."""
        self.prompt.update(["a", "b"])
        self.assertEqual((self.prompt.text(), self.prompt.text(True)), (prompt_for("a"), PROMPT))
        self.assertEqual(self.entered("word"), [("a", "word")])
        self.assertEqual(self.prompt.text(), "")
        self.prompt.update(["b"])
        self.assertEqual(self.entered(""), [("b", "")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_command(self) -> None:
        """A line is a command behind a slash, or where no connection waits."""
        self.assertEqual(self.entered("status"), ["status"])
        self.assertEqual(self.entered(" "), [])
        self.prompt.update(["a"])
        self.assertEqual(self.entered("/status"), ["status"])
        self.prompt.update(["a"])
        self.assertEqual(self.entered("status x"), [("a", "status x"), sent_as_word("status")])

    def test_begun(self) -> None:
        """The addressee is fixed while a line is begun, be it none, which is told once."""
        self.console.is_begun = True
        self.prompt.update(["a"])
        self.prompt.update(["a", "b"])
        self.assertEqual(self.entered("status"), [waiting_notice("a"), "status"])
        self.console.is_begun = False
        self.prompt.update(["a"])
        self.console.is_begun = True
        self.prompt.update(["b"])
        self.clock.advance(10 * REACTION_TIME)
        self.prompt.update(["b"])
        self.assertEqual(self.prompt.text(True), prompt_for("a"))
        self.assertEqual(self.entered("word"), [gone_notice("a"), "refreshed", gone_notice("a")])

    def test_fixed(self) -> None:
        """It is fixed, too, while the console says so."""
        self.prompt.update(["a"], is_fixed=True)
        self.assertEqual(self.prompt.text(), "")

    def test_gone(self) -> None:
        """One that has gone is replaced when there was time to see that."""
        self.prompt.update(["a", "b"])
        self.prompt.update(["b"])
        self.assertEqual(self.prompt.text(), "")
        self.clock.advance(REACTION_TIME)
        self.assertEqual(self.console.done, ["refreshed"])
        self.prompt.update(["b"])
        self.assertEqual(self.prompt.text(), prompt_for("b"))

    def test_too_late(self) -> None:
        """A line begun before that is for none."""
        self.prompt.update(["a", "b"])
        self.prompt.update(["b"])
        self.assertEqual(self.entered("word"), [gone_notice("a")])

    def test_come_back(self) -> None:
        """A line that was meant for an earlier question is not sent to the same one's next."""
        self.prompt.update(["a"])
        self.console.is_begun = True
        self.prompt.update([])
        self.prompt.update(["a"])
        self.assertEqual(self.entered("word"), [gone_notice("a"), gone_notice("a")])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CompleteTests(SynchronousTestCase):
    """Tests for L{complete}."""

    def test_words(self) -> None:
        """Commands, and the values of their arguments, are completed where they can stand."""
        expected: dict[str, list[str]] = {
            "": list(COMMANDS),
            "/sh": ["/show"],
            "show ": ["7", "72"],
            "/close 72": ["72"],
            "reply 7 7": [],
            "watch a": ["ack"],
            "status ": [],
            "nothing x": [],
            "log-level d": ["debug"],
        }
        values = {"ID": ["7", "72"], "SERVICE": ["ack"]}
        self.assertEqual({text: complete(text, values) for text in expected}, expected)
