"""
Where an operator sits, as far as commands need to know.
"""

from __future__ import annotations

from typing import Protocol


class IOperatorSession(Protocol):
    """
    One operator: at the console of the process, or behind the control socket.

    @ivar who: how the log names him.
    """

    who: str

    def watch(self, service: str | None) -> None:
        """
        Show him what happens from now on.

        @param service: only what happens there; C{None}: everything.
        """

    def attend(self) -> None:
        """
        Show him what happens and who waits for a word, and count him as an operator.
        """

    def leave(self) -> None:
        """
        Let the operator go, behind the answer to this command.
        """
