"""The daemon of a master: it binds and keeps the sockets that its workers serve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred

from socketd.common.events import STEERING_FAILED
from socketd.configuration import Configuration
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import switches
from socketd.daemon.reload import Reload
from socketd.daemon.service import SocketService
from socketd.daemon.snapshot import Snapshot, WorkerSnapshot
from socketd.daemon.state import CannotStart, Reloaded, State
from socketd.daemon.wiring import make_daemon
from socketd.net.sockets.group import Sharing
from socketd.settings.model import Settings
from socketd.workers.certificates import pack_certificates
from socketd.workers.crew import Crew, Task, Worker
from socketd.workers.figures import Figures, take
from socketd.workers.queue import CrewQueue
from socketd.workers.task import pack, share_out, standing

#: How long the figures of workers may take (seconds); those of one that takes longer are the last
#: that it told.
FIGURES = 1.0


@define(eq=False, slots=False)
class MasterDaemon(Daemon):
    """
    A daemon whose services hold their sockets and serve nothing.

    @ivar crew: the workers.
    @ivar figures: what these have counted.
    """

    crew: Crew = field(init=False)
    figures: Figures = field(init=False)
    operator: CrewQueue = field(init=False)
    _is_attended: bool = field(default=False, init=False)
    _again: list[Deferred[Reloaded]] = field(factory=list, init=False)

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
        values, socks = _hand(self.services, index)
        values |= self._settings(self.settings, self.services, index)
        values |= {"limit": self.file_limit, "is_draining": self.state == State.DRAINING}
        return values | {"standing": standing(self), "attended": self.operator.attended}, socks

    def _settings(
        self, settings: Settings, services: Iterable[SocketService], index: int
    ) -> dict[str, Any]:
        shared = share_out(settings, self.shared.sharing, index, self.file_limit)
        return {"settings": pack(shared), "certificates": pack_certificates(services)}

    def _renew_certificates(self, child: SocketService) -> bool:
        is_renewed = super()._renew_certificates(child)
        if is_renewed:
            self.crew.tell("certify", certificates=pack_certificates([child]))
        return is_renewed

    def prepare(self, configuration: Configuration) -> Reload:
        """Bind what a reload needs, if each worker may have one connection at least."""
        settings, workers = configuration.settings, self.shared.sharing.workers
        most = settings.daemon.max_connections
        if most is not None and most < workers:
            message = f"is less than the {workers} workers; start the daemon again for that"
            place = settings.place("max_connections")
            raise CannotStart([f"{place}: [socketd] max_connections = {most}: {message}"])
        return super().prepare(configuration)

    def _begin(self) -> None:
        """Start the workers; the daemon serves as soon as all of them do."""
        if why := self.shared.sharing.unsteered:
            self.event_bus.emit(STEERING_FAILED, error=why)
        self.crew.start()
        self.operator.watch(self._tell_attended)

    def _tell_attended(self) -> None:
        if self._is_attended != self.operator.attended:
            self._is_attended = self.operator.attended
            self.crew.tell("attend", attended=self._is_attended)

    def steer_again(self) -> None:
        """Steer sources again: workers may have stopped listening for a while (C{accept})."""
        for child in self.services:
            for bound in child.bound:
                bound.steer_again()

    def serving(self) -> None:
        """Note that one more worker serves."""
        if self.state == State.STARTING and self.crew.is_alive:
            self._enter(State.SERVING)

    @property
    def is_alive(self) -> bool:
        # Workers that have ended before the others do so for good.
        return self.state == State.STOPPING or self.crew.is_alive

    @property
    def connection_count(self) -> int:
        # Of those that wait it knows at once, of the others after a second.
        return max(self.figures.connections, self.operator.count)

    def snapshot(self) -> Snapshot:
        workers = tuple(
            WorkerSnapshot(
                one.index,
                one.pid,
                one.is_serving,
                self.figures.connections_of(one.index),
                self.figures.lag(one.index),
            )
            for one in self.crew.workers
        )
        found = self.figures.add(super().snapshot())
        return evolve(found, worker_deaths=self.crew.deaths, workers=workers)

    def refresh(self) -> Deferred[None]:
        asked = [self._ask_figures(one) for one in self.crew.workers if one.is_serving]
        refreshed: Deferred[None] = Deferred()
        refreshed.addTimeout(FIGURES, self.crew.reactor, lambda late, timeout: None)
        # Once it is late, that is ignored.
        gatherResults(asked).addCallback(lambda told: refreshed.callback(None))
        return refreshed

    def _ask_figures(self, worker: Worker) -> Deferred[None]:
        asked: Deferred[Any] = self.crew.ask_one(worker, "snapshot")
        asked.addCallback(self._take_figures, worker.index)
        return asked.addErrback(lambda failure: worker.refuse(failure.getErrorMessage()))

    def _take_figures(self, told: dict[str, Any] | None, index: int) -> None:
        if told is not None:
            names = {state.name for state in self.service_states}
            self.figures.note(index, take(**told), names)

    def find(self, connection_id: int) -> Any:
        return self.operator.connection(connection_id)

    @property
    def connection_ids(self) -> list[int]:
        return [question.transport.connection_id for question in self.operator.waiting]

    def observe(self, connection_id: int) -> Callable[[], object]:
        tell = partial(self._tell_owner, connection_id, "observe_connection")
        tell(count=1)
        return partial(tell, count=-1)

    def _tell_owner(self, connection_id: int, about: str, **values: Any) -> None:
        self.crew.owner(connection_id).tell(about, number=connection_id, **values)

    def say(self, connection_id: int, asked: float, reply: bytes) -> None:
        """Have the worker of a connection that has waited since then answer it."""
        self._tell_owner(connection_id, "word", asked=asked, reply=reply)

    def queued(self, worker: Worker, count: Any, oldest: Any) -> None:
        """Take what a worker tells of its queue."""
        services = {state.name: state for state in self.service_states}
        self.operator.tell(worker.index, count, oldest, services)

    def bury(self, worker: Worker) -> None:
        """Forget what is over with a worker that has died, and keep what it has counted."""
        self.figures.bury(worker.index)
        self.operator.tell(worker.index, 0, [], {})

    def _periodic_checks(self, turn: int) -> None:
        super()._periodic_checks(turn)
        self.refresh()

    def _health(self) -> str:
        health = super()._health()
        down = [one.index for one in self.crew.workers if not one.is_serving]
        return f"worker {down[0]} does not serve" if health == State.SERVING and down else health

    def reload(self) -> Any:
        """
        Reload everywhere or nowhere; during a reload, later, once for all that ask meanwhile.

        @return: a Deferred of the outcome, or the outcome.
        """
        if self.state != State.RELOADING:
            return super().reload()
        again: Deferred[Reloaded] = Deferred()
        self._again.append(again)
        return again

    def _reload(self, configure: Callable[[], Configuration]) -> Any:
        return Deferred.fromCoroutine(self._reload_all(configure)).addBoth(self._reload_again)

    def _reload_again(self, result: Any) -> Any:
        asked, self._again = self._again, []

        def tell(outcome: Any) -> None:
            for one in asked:
                one.callback(outcome)

        if asked:
            maybeDeferred(self.reload).addBoth(tell)
        return result

    async def _reload_all(self, configure: Callable[[], Configuration]) -> Reloaded:
        self.crew.hold()
        try:
            outcome = Reloaded(await self._apply(self.prepare(configure())))
        except Exception as problem:
            outcome = self._refusal(problem)
        finally:
            self.crew.release()
        return self._reloaded(outcome)

    async def _apply(self, reload: Reload) -> tuple[str, ...]:
        def task(index: int) -> Task:
            values, socks = _hand(reload.incoming, index)
            return values | self._settings(reload.settings, reload.incoming, index), socks

        refused = await self.crew.prepare(task)
        if self.state != State.RELOADING:
            refused = [f"cannot reload while {self.state}"]
        if refused:
            reload.roll_back()
            await self.crew.have("roll_back")
            raise CannotStart(refused)
        reload.settle()
        # The workers close their copies of sockets that go at last, when nothing more can come.
        changes = self.commit(reload)
        await self.crew.have("commit")
        # With the seeds that were drawn here.
        self.crew.tell("switch", faults=switches(self.services))
        return changes

    def drain(self) -> Any:
        """Stop accepting; the Deferred fires as soon as no worker does."""
        if self.state != State.SERVING:
            return None
        return self.refresh().addCallback(lambda _: self._drain())

    def _drain(self) -> Any:
        super().drain()
        return self.crew.have("drain")

    def resume(self) -> Any:
        """Accept connections again; return the errors, or a Deferred of none."""
        if errors := super().resume():
            return errors
        return self.crew.have("resume", partial(_hand, self.services)).addCallback(lambda _: ())

    def stopService(self) -> Deferred[Any]:
        """Stop the workers, which drain the connections that they have then."""
        return self.refresh().addCallback(lambda _: self._stop())

    def _stop(self) -> Deferred[Any]:
        ended = self.crew.stop(self.settings.daemon.drain_timeout)
        return gatherResults([super().stopService(), ended])

    def abort(self) -> None:
        """Have the workers reset the remaining connections."""
        self.crew.tell("abort")


def _hand(services: Iterable[SocketService], index: int) -> Task:
    """List the sockets that services have for a worker."""
    handed, socks = [], []
    for child in services:
        found = child.hand(index)
        handed.append((child.name, [listener for listener, _ in found]))
        socks += [sock for _, sock in found]
    return {"handed": handed}, socks


def make_master(reactor: Any, sharing: Sharing, *parts: Any) -> MasterDaemon:
    """
    Make a daemon whose workers serve.

    @param reactor: Twisted's own, without the ports that only workers have.
    @param parts: as L{make_daemon} takes them.
    """
    make: Any = partial(make_daemon, sharing=sharing, make=MasterDaemon)
    daemon: MasterDaemon = make(*parts)
    daemon.figures = Figures(sharing.workers)
    daemon.operator = CrewQueue(daemon.reactor, daemon.say)
    daemon.crew = Crew(reactor, daemon.event_bus, sharing.workers, daemon)
    return daemon
