"""The addressee of a line that an operator types: the connection that the prompt names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

PROMPT = "input the word:"

#: Seconds. A line begun this soon after its prompt disappeared is meant for that prompt: longer
#: than a person's reaction time, shorter than deciding on another line takes.
REACTION = 1.0

Question = TypeVar("Question")


def prompt_for(name: str) -> str:
    """
    Return the prompt for one of several connections.

    @param name: the connection's name.
    """
    return f"input the word for {name}:"


def waits(name: str) -> str:
    """
    Return the notice that a connection waits while another line is being typed.

    @param name: the connection's name.
    """
    return f"{name} waits for a word"


def gone(name: str) -> str:
    """
    Return the notice that the line being typed can no longer be sent.

    @param name: the connection's name.
    """
    return f"{name} does not wait any more; what is typed for it is not sent"


def taken_for_word(command: str) -> str:
    """
    Return the warning that a line that looks like a command was sent as a word.

    @param command: the name of the command.
    """
    return f"sent as a word; the command is /{command}"


@define(eq=False)
class Addressee(Generic[Question]):
    """
    Selects the waiting connection that receives the typed line.

    It is the oldest one when the line is begun, and is fixed until the line is entered. If it
    disappears first, a line begun within L{REACTION} still belongs to it, not to another
    connection.

    @ivar clock: schedules the end of L{REACTION}.
    @ivar changed: called at that end.
    @ivar current: the connection; C{None}: the line is a command.
    @ivar is_gone: whether the connection no longer waits.
    """

    clock: IReactorTime
    changed: Callable[[], object]
    current: Question | None = field(default=None, init=False)
    is_gone: bool = field(default=False, init=False)
    _reacting: IDelayedCall | None = field(default=None, init=False)

    def update(self, waiting: Sequence[Question], is_begun: bool) -> None:
        """
        Update the list of waiting connections.

        @param waiting: the waiting connections, oldest first.
        @param is_begun: whether a line is begun, which fixes the current addressee.
        """
        if self.current is not None and not self.is_gone and self.current not in waiting:
            self.is_gone = True
            self._reacting = self.clock.callLater(REACTION, self._over)
        if not is_begun and self._reacting is None:
            self.current, self.is_gone = (waiting[0] if waiting else None), False

    def enter(self) -> tuple[Question | None, bool]:
        """
        Note that a line was entered; the next one goes to the oldest connection again.

        @return: the line's addressee, and whether it no longer waits.
        """
        found = self.current, self.is_gone
        self.stop()
        return found

    def stop(self) -> None:
        """Clear the addressee."""
        reacting, self._reacting = self._reacting, None
        if reacting is not None:
            reacting.cancel()
        self.current, self.is_gone = None, False

    def _over(self) -> None:
        self._reacting = None
        self.changed()
