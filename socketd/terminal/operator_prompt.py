"""The prompt for the operator's word, the destination of each line, and its completion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime

from socketd.common.commands import COMMANDS
from socketd.common.timer import Timer
from socketd.terminal.view import View

#: Connections offered for completion; Tab is of no use in a longer list.
MAX_IDS = 1000

PROMPT = "input the word:"

#: Seconds. A line begun this soon after its prompt disappeared is meant for that prompt: longer
#: than a person's reaction time, shorter than deciding on another line takes.
REACTION_TIME = 1.0

#: The prompt for one of several connections, by its name.
prompt_for = "input the word for {}:".format

#: What is shown when a connection waits while another line is being typed.
waiting_notice = "{} waits for a word".format

#: What is shown when the line being typed can no longer be sent.
gone_notice = "{} does not wait any more; what is typed for it is not sent".format

#: What is shown when a line that looks like a command was sent as a word.
sent_as_word = "sent as a word; the command is /{}".format


def complete(before: str, values: Mapping[str, Iterable[str]]) -> list[str]:
    """
    Complete the last word of a line before the cursor, whose first one may have a slash in front.

    @param values: what there is for an argument, by its name in L{COMMANDS}.
    """
    *words, word = before.removeprefix("/").split(" ")
    slash = "/" * (before.startswith("/") and not words)
    return [slash + one for one in _choices(words, values) if one.startswith(word)]


def _choices(words: list[str], values: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """List what may follow these words."""
    if not words:
        return COMMANDS
    command = COMMANDS.get(words[0])
    if command is None or len(words) > len(command.arguments):
        return ()
    argument = command.arguments[len(words) - 1]
    return values.get(argument.name, argument.choices)


class OperatorConsole(ABC):
    """
    The base of consoles: selects the waiting connection that receives the typed line.

    It is the oldest one when the line is begun, and is fixed until the line is entered. If it
    disappears first, a line begun within L{REACTION_TIME} still belongs to it, not to another
    connection. Without one the line is a command, as is one that begins with a slash.
    """

    def __init__(self, view: View, clock: IReactorTime) -> None:
        """@param clock: schedules the end of L{REACTION_TIME}."""
        self._view = view
        self._addressee: Any = None
        self._name = ""
        self._is_gone = False
        self._has_told = False
        self._reacting = Timer(clock)

    @abstractmethod
    def name_of(self, waiting: Any) -> str:
        """Return the name of a connection."""

    @abstractmethod
    def execute(self, line: str) -> None:
        """Execute a command."""

    @abstractmethod
    def answer(self, waiting: Any, word: str) -> None:
        """Send the word to a connection."""

    @abstractmethod
    def refresh(self) -> None:
        """Call L{update_prompt}, and show the prompt."""

    def show(self, text: str) -> None:
        """Show lines, and the prompt below them."""
        self._view.show(text)

    def update_prompt(self, waiting: Sequence[Any], is_fixed: bool = False) -> None:
        """
        Take the waiting connections, oldest first, and tell of changes while a line is begun.

        @param is_fixed: whether the addressee stays, even if no line is begun.
        """
        is_begun = self._view.is_begun
        if self._addressee is not None and not self._is_gone and self._addressee not in waiting:
            self._is_gone = True
            self._reacting.start(REACTION_TIME, self.refresh)
            if is_begun:
                self.show(gone_notice(self._name))
        if not is_begun:
            self._has_told = False
            if not is_fixed and not self._reacting.is_running:
                self._select(waiting)
        elif self._addressee is None and waiting and not self._has_told:
            self._has_told = True
            self.show(waiting_notice(self.name_of(waiting[0])))

    def prompt(self, is_only: bool = False) -> str:
        """
        Return the prompt, empty if the next line is a command; the only connection needs no name.
        """
        if self._addressee is None or (self._is_gone and not self._view.is_begun):
            return ""
        return PROMPT if is_only and not self._is_gone else prompt_for(self._name)

    def enter(self, line: str) -> None:
        """Process a line; the next one goes to the oldest connection again."""
        addressee, is_gone = self._addressee, self._is_gone
        self.forget()
        if line.startswith("/"):
            self.execute(line[1:])
        elif addressee is None:
            if line.strip():
                self.execute(line)
        elif not is_gone:
            self.answer(addressee, line)
            word = line.split(" ")[0]
            if word in COMMANDS:
                self.show(sent_as_word(word))
        elif line:
            self.show(gone_notice(self._name))

    def forget(self) -> None:
        """Clear the addressee."""
        self._reacting.stop()
        self._addressee, self._is_gone = None, False

    def _select(self, waiting: Sequence[Any]) -> None:
        self._is_gone = False
        if not waiting:
            self._addressee = None
        elif self._addressee != waiting[0]:
            self._addressee = waiting[0]
            self._name = self.name_of(waiting[0])
