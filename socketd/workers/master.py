"""The daemon of a master: it binds and keeps the sockets that its workers serve."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, gatherResults

from socketd.common.events import STEERING_FAILED
from socketd.daemon.daemon import Daemon
from socketd.daemon.reload import Reloaded
from socketd.daemon.snapshot import Snapshot
from socketd.daemon.state import CannotStart, State
from socketd.daemon.wiring import make_daemon
from socketd.net.sockets.group import Sharing
from socketd.workers.crew import Crew, Task
from socketd.workers.messages import pack


@define(eq=False, slots=False)
class MasterDaemon(Daemon):
    """
    A daemon whose services hold their sockets and serve nothing.

    @ivar crew: the workers.
    """

    crew: Crew = field(init=False)

    def privilegedStartService(self) -> None:
        """
        Bind every listener for all workers.

        @raise CannotStart: if one cannot be bound, or options of a protocol cannot be sent.
        """
        try:
            pack(self.settings)
        except Exception as problem:
            raise CannotStart([f"workers = 1 only: {problem}"]) from None
        super().privilegedStartService()

    def task(self, index: int) -> Task:
        """Return what a worker has to serve: the settings, and its sockets by service."""
        handed, socks = [], []
        for child in self.services:
            found = child.hand(index)
            handed.append((child.name, [listener for listener, _ in found]))
            socks += [sock for _, sock in found]
        values = {"settings": pack(self.settings), "handed": handed, "limit": self.file_limit}
        return values, socks

    def _begin(self) -> None:
        """Start the workers; the daemon serves as soon as all of them do."""
        if why := self.shared.sharing.unsteered:
            self.event_bus.emit(STEERING_FAILED, error=why)
        self.crew.start()

    def steer_again(self) -> None:
        """Steer sources anew, after workers may have stopped listening for a while (C{accept})."""
        for child in self.services:
            for bound in child.bound:
                bound.steer_again()

    def serving(self) -> None:
        """Say that all workers serve."""
        if self.state == State.STARTING:
            self._enter(State.SERVING)

    @property
    def is_alive(self) -> bool:
        return self.crew.is_alive

    @property
    def connection_count(self) -> int:
        return self.crew.connections

    def snapshot(self) -> Snapshot:
        return evolve(super().snapshot(), worker_deaths=self.crew.deaths)

    def reload(self) -> Reloaded:
        """Refuse: the workers would keep the old configuration."""
        return Reloaded(diagnostics=("cannot reload with workers; start the daemon again",))

    def drain(self) -> None:
        """Do nothing: the workers would go on."""

    def stopService(self) -> Deferred[Any]:
        """Stop the workers, which drain their connections."""
        ended = self.crew.stop(self.settings.daemon.drain_timeout)
        return gatherResults([super().stopService(), ended])

    def abort(self) -> None:
        """Have the workers reset the remaining connections."""
        self.crew.tell("abort")


def make_master(reactor: Any, sharing: Sharing, *parts: Any) -> MasterDaemon:
    """
    Make a daemon whose workers serve.

    @param reactor: Twisted's own, without the ports that only workers have.
    @param parts: as L{make_daemon} takes them.
    """
    made: Any = partial(make_daemon, sharing=sharing, make=MasterDaemon)
    daemon: MasterDaemon = made(*parts)
    bus, task, ready = daemon.event_bus, daemon.task, daemon.serving
    daemon.crew = Crew(reactor, bus, sharing.workers, task, ready)
    return daemon
