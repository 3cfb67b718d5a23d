"""Tests for L{socketd.terminal.operator_prompt} and L{socketd.terminal.operator_prompt}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.commands import COMMANDS
from socketd.terminal.operator_prompt import (
    PROMPT,
    REACTION_TIME,
    OperatorConsole,
    complete,
    gone_notice,
    prompt_for,
    sent_as_word,
    waiting_notice,
)
from socketd.terminal.view import PlainView


class BegunView(PlainView):
    """A view whose line is begun when the test says so."""

    is_begun = False


class MemoryConsole(OperatorConsole):
    """Remembers what is to be done; connections are their names."""

    def __init__(self, clock: Clock) -> None:
        self.done: list[object] = []
        self.view = BegunView(self.done.append)
        super().__init__(self.view, clock)

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


class OperatorConsoleTests(SynchronousTestCase):
    """Tests for L{OperatorConsole}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.console = MemoryConsole(self.clock)

    def entered(self, line: str) -> list[object]:
        """Enter a line, and return what was done since the last time."""
        self.console.enter(line)
        done, self.console.done = self.console.done, []
        return done

    def test_oldest(self) -> None:
        """A line is for the one that waits the longest; the next line, for the next."""
        self.console.update_prompt(["a", "b"])
        self.assertEqual(self.console.prompt(), prompt_for("a"))
        self.assertEqual(self.console.prompt(is_only=True), PROMPT)
        self.assertEqual(self.entered("word"), [("a", "word")])
        self.assertEqual(self.console.prompt(), "")
        self.console.update_prompt(["b"])
        self.assertEqual(self.entered(""), [("b", "")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_command(self) -> None:
        """A line is a command behind a slash, or where no connection waits."""
        self.assertEqual(self.entered("status"), ["status"])
        self.assertEqual(self.entered(" "), [])
        self.console.update_prompt(["a"])
        self.assertEqual(self.entered("/status"), ["status"])
        self.console.update_prompt(["a"])
        self.assertEqual(self.entered("status x"), [("a", "status x"), sent_as_word("status")])

    def test_begun(self) -> None:
        """The addressee is fixed while a line is begun, be it none, which is told once."""
        self.console.view.is_begun = True
        self.console.update_prompt(["a"])
        self.console.update_prompt(["a", "b"])
        self.assertEqual(self.entered("status"), [waiting_notice("a"), "status"])
        self.console.view.is_begun = False
        self.console.update_prompt(["a"])
        self.console.view.is_begun = True
        self.console.update_prompt(["b"])
        self.clock.advance(10 * REACTION_TIME)
        self.console.update_prompt(["b"])
        self.assertEqual(self.console.prompt(True), prompt_for("a"))
        self.assertEqual(self.entered("word"), [gone_notice("a"), "refreshed", gone_notice("a")])

    def test_fixed(self) -> None:
        """It is fixed, too, while the console says so."""
        self.console.update_prompt(["a"], is_fixed=True)
        self.assertEqual(self.console.prompt(), "")

    def test_gone(self) -> None:
        """One that has gone is replaced when there was time to see that."""
        self.console.update_prompt(["a", "b"])
        self.console.update_prompt(["b"])
        self.assertEqual(self.console.prompt(), "")
        self.clock.advance(REACTION_TIME)
        self.assertEqual(self.console.done, ["refreshed"])
        self.console.update_prompt(["b"])
        self.assertEqual(self.console.prompt(), prompt_for("b"))

    def test_too_late(self) -> None:
        """A line begun before that is for none."""
        self.console.update_prompt(["a", "b"])
        self.console.update_prompt(["b"])
        self.assertEqual(self.entered("word"), [gone_notice("a")])

    def test_come_back(self) -> None:
        """A line that was meant for an earlier question is not sent to the same one's next."""
        self.console.update_prompt(["a"])
        self.console.view.is_begun = True
        self.console.update_prompt([])
        self.console.update_prompt(["a"])
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
