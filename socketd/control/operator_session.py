"""The operator's session, as commands see it."""

from __future__ import annotations

from zope.interface import Attribute, Interface


class IOperatorSession(Interface):
    """One operator: at the daemon's own console, or connected to the control socket."""

    who: str = Attribute("How the log names the operator.")

    def watch(service: str | None) -> None:
        """Show events from now on, of one service only unless it is C{None}."""

    def attend() -> None:
        """
        Show events and the connections that wait for the operator, and count this session as an
        operator.
        """

    def leave() -> None:
        """End the session, after the answer to this command."""
