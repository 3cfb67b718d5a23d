"""
A listener of the daemon itself: that of operators, or of those who read its figures.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from socketd.net.listen import Bound, CannotListen, bind
from socketd.net.service_state import ServiceState
from socketd.settings.listeners import Listener
from socketd.settings.model import SocketOptions


class OwnListener:
    """
    A listener that no service of the configuration has.

    @ivar option: the option of the daemon that names it.
    @ivar listener: where it is.
    @ivar place: where it is configured.
    @ivar bound: its socket, once it is bound.
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
        """
        Bind it.

        @return: why that cannot be done, in one line.
        """
        self.bound, reasons = self._bind()
        return reasons

    def _bind(self) -> tuple[Bound | None, list[str]]:
        try:
            return bind(self.listener, SocketOptions()), []
        except CannotListen as problem:
            return None, [problem.line(f"[socketd] {self.option}:", self.listener, self.place)]

    def serve(self) -> None:
        """
        Serve whoever comes.
        """
        if self.bound is not None:
            self.bound.serve(*self._served_by)

    def close(self) -> None:
        """
        Close the socket, and remove its file.
        """
        bound, self.bound = self.bound, None
        if bound is not None:
            bound.close()

    # Reload

    def prepare(self) -> list[str]:
        """
        Bind another socket where the file of this one is gone.

        @return: why that cannot be done, in one line.
        """
        if self.bound is None or self.bound.is_reachable:
            return []
        self._next, reasons = self._bind()
        return reasons

    def withdraw(self) -> None:
        """
        Leave it as it was.
        """
        fresh, self._next = self._next, None
        if fresh is not None:
            fresh.close()

    def carry_out(self) -> list[str]:
        """
        Serve at the other socket, and close this one.

        @return: what has changed, in one line.
        """
        if self.bound is None or self._next is None:
            return []
        before, self.bound, self._next = self.bound, self._next, None
        self.serve()
        before.finish()
        before.close()
        return [f"[socketd] {self.option} listens at {self.listener} again"]
