"""The operator's session, as commands see it."""

from __future__ import annotations

from typing import Protocol


class IOperatorSession(Protocol):
    """
    One operator: at the daemon's own console, or connected to the control socket.

    @ivar who: how the log names the operator.
    """

    who: str

    def watch(self, service: str | None) -> None:
        """
        Show events from now on.

        @param service: only the events of this service; C{None}: all.
        """

    def attend(self) -> None:
        """
        Show events and the connections that wait for the operator, and count this session as an
        operator.
        """

    def leave(self) -> None:
        """End the session, after the answer to this command."""
