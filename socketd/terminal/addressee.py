"""
For whom a line is that an operator types: what the prompt names, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

PROMPT = "input the word:"

REACTION = 1.0
"""
Seconds. A line that is begun so soon after its prompt has gone is meant for that prompt: longer
than a person takes to see it, shorter than to think of something else.
"""

Question = TypeVar("Question")


def prompt_for(name: str) -> str:
    """
    Ask for the word for one of several connections.

    @param name: that of the connection.
    """
    return f"input the word for {name}:"


def waits(name: str) -> str:
    """
    Say that a connection waits, while something else is typed.

    @param name: that of the connection.
    """
    return f"{name} waits for a word"


def gone(name: str) -> str:
    """
    Say that what is typed can be sent no more.

    @param name: that of the connection.
    """
    return f"{name} does not wait any more; what is typed for it is not sent"


def taken_for_word(command: str) -> str:
    """
    Say that what looks like a command was sent as a word.

    @param command: the name of the command.
    """
    return f"sent as a word; the command is /{command}"


@define(eq=False)
class Addressee(Generic[Question]):
    """
    Which of the connections that wait gets the line that is typed.

    It is the oldest when the line is begun, and stays so until the line is entered. When it
    goes by itself, nothing that is typed within L{REACTION} is for another, nor a command.

    @ivar clock: measures that time.
    @ivar changed: called when it is over.
    @ivar current: the connection; C{None} for none: the line is a command.
    @ivar is_gone: whether it does not wait any more.
    """

    clock: IReactorTime
    changed: Callable[[], object]
    current: Question | None = field(default=None, init=False)
    is_gone: bool = field(default=False, init=False)
    _reacting: IDelayedCall | None = field(default=None, init=False)

    def update(self, waiting: Sequence[Question], is_begun: bool) -> None:
        """
        Take note of who waits now.

        @param waiting: the oldest first.
        @param is_begun: whether the current addressee has to stay, because a line is begun.
        """
        if self.current is not None and not self.is_gone and self.current not in waiting:
            self.is_gone = True
            self._reacting = self.clock.callLater(REACTION, self._over)
        if not is_begun and self._reacting is None:
            self.current, self.is_gone = (waiting[0] if waiting else None), False

    def enter(self) -> tuple[Question | None, bool]:
        """
        Have a line entered; the next one is for the oldest again.

        @return: for whom it is, and whether that one does not wait any more.
        """
        found = self.current, self.is_gone
        self.stop()
        return found

    def stop(self) -> None:
        """
        Name no one.
        """
        reacting, self._reacting = self._reacting, None
        if reacting is not None:
            reacting.cancel()
        self.current, self.is_gone = None, False

    def _over(self) -> None:
        self._reacting = None
        self.changed()
