"""A listener of the daemon itself: the control socket, or the HTTP server of metrics."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.net.listen import Bound, bind
from socketd.net.service_state import ServiceState
from socketd.net.sockets.bind import CannotListen
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions


class OwnListener:
    """
    A listener that belongs to the daemon and to no configured service.

    @ivar option: the daemon's option that sets its address.
    @ivar place: where it is configured.
    """

    def __init__(
        self,
        option: str,
        listener: Listener,
        place: str,
        reactor: Any,
        factory: IProtocolFactory,
        service_state: ServiceState,
    ) -> None:
        self.option = option
        self.listener = listener
        self.place = place
        self.bound: Bound | None = None
        self._next: Bound | None = None
        self._served_by = reactor, factory, service_state

    def bind(self) -> list[str]:
        """Bind the socket; return the error in one line, if there is one."""
        self.bound, reasons = self._bind()
        return reasons

    def _bind(self) -> tuple[Bound | None, list[str]]:
        try:
            return bind(self.listener, SocketOptions()), []
        except CannotListen as problem:
            return None, [problem.line(f"[socketd] {self.option}:", self.listener, self.place)]

    def serve(self) -> None:
        """Start serving, if bound."""
        if self.bound is not None:
            self.bound.serve(*self._served_by)

    def close(self) -> None:
        """Close the socket, and remove its file."""
        bound, self.bound = self.bound, None
        if bound is not None:
            bound.close()

    # Reload

    def prepare(self) -> list[str]:
        """
        Bind a new socket if peers cannot reach this one (its file was removed).

        @return: the error, in one line; empty on success.
        """
        if self.bound is None or self.bound.is_reachable:
            return []
        self._next, reasons = self._bind()
        return reasons

    def roll_back(self) -> None:
        """Close the new socket and keep the current one."""
        fresh, self._next = self._next, None
        if fresh is not None:
            fresh.close()

    def commit(self) -> list[str]:
        """
        Serve on the new socket and close the current one.

        @return: the change, in one line; empty if nothing changed.
        """
        if self.bound is None or self._next is None:
            return []
        before, self.bound, self._next = self.bound, self._next, None
        self.serve()
        before.finish()
        before.close()
        return [f"[socketd] {self.option} listens at {self.listener} again"]
