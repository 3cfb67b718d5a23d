"""The service tree: bind all listeners or none, serve, reload the differences, drain, stop."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import LogLevel

from socketd.access.bans import Bans
from socketd.common.events import (
    CLOCK_STEPPED,
    DRAIN_ENDED,
    DRAINING,
    LISTENER_UNREACHABLE,
    RELOAD_REFUSED,
    RELOADED,
    RESUMED,
    STOPPING,
    EventBus,
)
from socketd.common.operator_queue import OperatorQueue
from socketd.common.system_clock import ClockWatch
from socketd.common.timer import Timer
from socketd.configuration import Configuration
from socketd.daemon import faults
from socketd.daemon.log import quiet
from socketd.daemon.service import Shared, SocketService
from socketd.daemon.socket_drops import KernelDrops
from socketd.daemon.state import CannotStart, Reloaded, State
from socketd.net.listen import Bound
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import Connection, ConnectionTable, ServiceState
from socketd.net.sockets.rlimit import connection_limit
from socketd.settings import model
from socketd.settings.diagnostics import SettingsError
from socketd.settings.diff import differences

if TYPE_CHECKING:
    from socketd.daemon.reload import Reload
    from socketd.daemon.snapshot import Snapshot

#: Seconds between two periodic checks; each one polls the clock.
CHECK_INTERVAL = 1.0

#: Check the certificate files for changes in every so many periodic checks.
CERTIFICATE_CHECK = 5

#: Check that the files of UNIX sockets exist in every so many periodic checks.
FILE_CHECK = 5

#: Check the machine's own addresses for changes in every so many periodic checks.
ADDRESS_CHECK = 30


@define(eq=False, slots=False)
class Daemon(Service):
    """
    All services of a configuration; L{socketd.daemon.wiring.make_daemon} makes its parts.

    @ivar services: the services, in the order of the configuration.
    @ivar removed: the states of services that reloads have removed, by name, kept for their
        counters.
    @ivar own: the listeners of the daemon itself, which belong to no service.
    @ivar reloads: the numbers of reloads done and refused.
    @ivar file_limit: the descriptor limit of the process; C{None}: not a constraint.
    @ivar configure: reads the configuration again; raises C{SettingsError}.
    @ivar page: the URL of the status page with its token; C{None} if there is none.
    @ivar crew: the L{socketd.workers.crew.Crew} that serves; C{None}: this process does.
    """

    settings: model.Settings
    shared: Shared
    clock_watch: ClockWatch
    services: list[SocketService]
    file_limit: int | None = None
    configure: Callable[[], Configuration] | None = None
    page: str | None = field(default=None, init=False)
    crew: Any = field(default=None, init=False)
    reactor: Any = field(init=False)
    event_bus: EventBus = field(init=False)
    connection_table: ConnectionTable = field(init=False)
    bans: Bans = field(init=False)
    operator: OperatorQueue = field(init=False)
    wall_clock: Callable[[], float] = field(init=False)
    began: float = field(init=False)
    state: State = field(default=State.STARTING, init=False)
    removed: dict[str, ServiceState] = field(factory=dict, init=False)
    own: list[OwnListener] = field(factory=list, init=False)
    reloads: dict[str, int] = field(factory=lambda: {"done": 0, "refused": 0}, init=False)
    _drops: KernelDrops = field(factory=KernelDrops, init=False)
    _missing: dict[tuple[str, str], str] = field(factory=dict, init=False)
    _checks: Timer = field(init=False)
    _drains: list[Any] = field(factory=list, init=False)
    _on_state: list[Callable[[State, str], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        shared, context = self.shared, self.shared.context
        self.reactor, self.event_bus = shared.reactor, shared.event_bus
        self.connection_table, self.bans = shared.connection_table, shared.bans
        self.operator, self.wall_clock = context.operator, context.wall_clock
        self.began = self.reactor.seconds()
        self._checks = Timer(self.reactor)
        self._apply_options()

    def _apply_options(self) -> None:
        """Apply the daemon's own section of the settings."""
        options = self.settings.daemon
        self.shared.capacity.limit = options.max_connections
        if self.file_limit is not None:
            self.shared.capacity.limit = connection_limit(self.settings, self.file_limit)
        self.event_bus.level = LogLevel.levelWithName(options.log_level)
        self.event_bus.quiet = quiet(options.log_quiet)

    @property
    def service_states(self) -> list[ServiceState]:
        """The states of the services, then those of removed services."""
        return [child.service_state for child in self.services] + list(self.removed.values())

    @property
    def is_alive(self) -> bool:
        """Whether all that serves answers, besides the reactor of this process."""
        return True

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self.connection_table)

    def _note_datagram_ports(self) -> None:
        """Update the ports of all datagram listeners after these have changed."""
        socks = [bound.sock for child in self.services for bound in child.bound]
        self.shared.datagram_ports.clear()
        self.shared.datagram_ports.update(
            sock.getsockname()[1]
            for sock in socks
            if sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX
        )

    # State

    def on_state(self, callback: Callable[[State, str], None]) -> None:
        """Call C{callback(state, detail)} whenever the state changes."""
        self._on_state.append(callback)

    def snapshot(self) -> Snapshot:
        """Collect what metrics, status and health show."""
        # Lazy: a start needs no picture of itself.
        from socketd.daemon.snapshot import ServiceSnapshot, Snapshot

        live: dict[ServiceState, list[Connection]] = defaultdict(list)
        for connection in self.connection_table:
            live[connection.service_state].append(connection)
        drops = self._drops.update(
            (child.name, sock)
            for child in self.services
            for bound in child.served
            # The master of a worker counts at its own sockets.
            if not (bound.is_stream or (bound.is_lent and self.shared.handed is not None))
            for sock in bound.socks
        )
        return Snapshot(
            state=self.state,
            health=self._health(),
            uptime=self.reactor.seconds() - self.began,
            services=tuple(
                child.snapshot(live[child.service_state], drops.get(child.name))
                for child in self.services
            ),
            removed=tuple(
                ServiceSnapshot(
                    name=state.name,
                    connections=len(live[state]),
                    counters=state.counters.total(live[state]),
                    kernel_drops=drops.get(state.name),
                )
                for state in self.removed.values()
            ),
            connections=len(self.connection_table),
            waiting=self.operator.count,
            operators=len(self.operator.names),
            bans=len(self.bans.current()),
            reloads=dict(self.reloads),
        )

    @property
    def connection_ids(self) -> Iterable[int]:
        """The ids of connections that an operator may mean."""
        return (connection.connection_id for connection in self.connection_table)

    def find(self, connection_id: int) -> Connection | None:
        """Find an open connection; where others serve, one that waits for the operator."""
        return self.connection_table.get(connection_id)

    def observe(self, connection_id: int) -> Callable[[], object]:
        """
        Have the messages of a connection's service be events.

        @return: ends that.
        """
        connection = self.connection_table.get(connection_id)
        if connection is None:
            return lambda: None
        connection.service_state.observe(1)
        return partial(connection.service_state.observe, -1)

    def refresh(self) -> Deferred[None]:
        """Have L{snapshot} be of now, where others serve; fires then, or when that takes long."""
        return succeed(None)

    def _health(self) -> str:
        if self.state in (State.SERVING, State.RELOADING):
            for name, bound in self.listeners():
                if not bound.is_serving:
                    return f"a listener of {name} is down"
                if bound.missing:
                    return f"{name} cannot be reached at {bound.listener}: {bound.missing}"
            return State.SERVING
        return self.state

    def listeners(self) -> Iterator[tuple[str, Bound]]:
        """List the bound listeners, each with the name of its service or option."""
        for child in self.services:
            yield from ((child.name, bound) for bound in child.served)
        yield from ((own.option, own.bound) for own in self.own if own.bound is not None)

    def _enter(self, state: State, detail: str = "") -> None:
        self.state = state
        for callback in self._on_state:
            callback(state, detail)

    # Start

    def privilegedStartService(self) -> None:
        """
        Bind every listener of every service, before privileges are dropped.

        @raise CannotStart: if one cannot be bound; then all are closed.
        """
        errors = [error for child in self.services for error in child.bind()]
        errors += [*self.shared.inherited.diagnostics, *self.shared.unclaimed(self.settings)]
        if errors:
            for child in self.services:
                child.close()
            raise CannotStart(errors)
        self._note_datagram_ports()
        super().privilegedStartService()

    def startService(self) -> None:
        super().startService()
        for child in self.services:
            faults.follow_file(child, None, self.settings.faults)
            child.serve()
        self._periodic_checks(0)
        self._begin()

    def _begin(self) -> None:
        """Enter the state in which it serves."""
        self._enter(State.SERVING)

    def _periodic_checks(self, turn: int) -> None:
        # Rescheduled first, so that an error does not end the checks.
        self._checks.start(CHECK_INTERVAL, self._periodic_checks, turn + 1)
        if turn % FILE_CHECK == 0:
            self._check_files()
        step = self.clock_watch.poll()
        if step:
            self.event_bus.emit(CLOCK_STEPPED, seconds=round(step, 3))
        outdated = self.bans.sweep() or turn % ADDRESS_CHECK == 0
        for child in self.services:
            if turn % CERTIFICATE_CHECK == 0:
                self._renew_certificates(child)
            if outdated:
                child.forget_sources()

    def _renew_certificates(self, child: SocketService) -> bool:
        return child.renew_certificates()

    def _check_files(self) -> None:
        """Report each UNIX socket whose file is gone, once."""
        reported, self._missing = self._missing, {
            (name, str(bound.listener)): bound.missing
            for name, bound in self.listeners()
            if bound.missing
        }
        for (name, listener), error in self._missing.items():
            if (name, listener) not in reported:
                facts: dict[str, Any] = {"service": name, "listener": listener, "error": error}
                self.event_bus.emit(LISTENER_UNREACHABLE, **facts)

    # Reload, drain and stop

    def reload(self) -> Reloaded:
        """
        Read the configuration again and apply the differences, all or nothing.

        Unchanged services keep their sockets and connections.  A changed access policy is
        applied to live connections again; those of removed services are drained.
        """
        if self.configure is None or self.state != State.SERVING:
            return Reloaded(diagnostics=(f"cannot reload while {self.state}",))
        self._enter(State.RELOADING)
        return self._reload(self.configure)

    def _reload(self, configure: Callable[[], Configuration]) -> Reloaded:
        try:
            reload = self.prepare(configure())
            reload.settle()
            outcome = Reloaded(self.commit(reload))
        except Exception as problem:
            outcome = self._refusal(problem)
        return self._reloaded(outcome)

    def _refusal(self, problem: Exception) -> Reloaded:
        if isinstance(problem, (SettingsError, CannotStart)):
            return Reloaded(diagnostics=tuple(str(problem).splitlines()))
        # The old configuration still serves, and a later reload may succeed.
        self._serve_again("the reload failed")
        raise problem

    def _reloaded(self, outcome: Reloaded) -> Reloaded:
        self.reloads["refused" if outcome.diagnostics else "done"] += 1
        for line in outcome.diagnostics:
            self.event_bus.emit(RELOAD_REFUSED, error=line)
        if not outcome.diagnostics:
            self.event_bus.emit(RELOADED, changes="; ".join(outcome.changes) or "nothing changed")
        self._serve_again("; ".join(outcome.diagnostics[:1]))
        return outcome

    def _serve_again(self, detail: str) -> None:
        if self.state == State.RELOADING:
            self._enter(State.SERVING, detail)

    def prepare(self, configuration: Configuration) -> Reload:
        """
        Bind what a reload needs; nothing that is served changes.

        @raise CannotStart: if a listener cannot be bound; then nothing stays bound.
        """
        # Lazy: a start is no reload.
        from socketd.daemon.reload import Reload

        running = {child.name: child for child in self.services}
        reload = Reload(self.shared, running, self.removed, self.own)
        reload.prepare(configuration)
        return reload

    def commit(self, reload: Reload) -> tuple[str, ...]:
        """Apply what was prepared, and list the changes."""
        changes = differences(self.settings, reload.settings)
        self.settings, self.services = reload.settings, reload.services
        self._apply_options()
        changes += tuple(reload.commit())
        for child in self.services:
            self.removed.pop(child.name, None)
        for child in reload.removed:
            self._remove(child)
        self._note_datagram_ports()
        for child in self.services:
            child.forget_sources()
            # Tools that renew certificates reload the daemon to load them at once.
            self._renew_certificates(child)
        self._check_files()
        return (*changes, *self.snapshot().invalid_certificates)

    def _remove(self, child: SocketService) -> None:
        """Drain the connections of a removed service; reset them after C{drain_timeout}."""
        self.removed[child.name] = child.service_state
        leaving = child.service_state.connections
        for connection in leaving:
            connection.drain_and_close()
        timeout = self.settings.daemon.drain_timeout
        drain = self.reactor.callLater(timeout, _abort, leaving)
        self._drains = [one for one in self._drains if one.active()] + [drain]

    def drain(self) -> None:
        """Stop accepting; existing connections continue."""
        if self.state != State.SERVING:
            return
        for child in self.services:
            child.unbind()
        self.event_bus.emit(DRAINING, connections=self.connection_count)
        self._enter(State.DRAINING)

    def resume(self) -> tuple[str, ...]:
        """
        Accept connections again after L{drain}, on all listeners or on none.

        @return: the errors, one line each; if there are any, nothing has changed.
        """
        if self.state != State.DRAINING:
            return (f"cannot resume while {self.state}",)
        errors = [error for child in self.services for error in child.bind()]
        if errors:
            for child in self.services:
                child.unbind()
            return tuple(errors)
        self._note_datagram_ports()
        for child in self.services:
            child.serve()
        self.event_bus.emit(RESUMED)
        self._enter(State.SERVING)
        return ()

    def stopService(self) -> Deferred[Any]:
        """Shut down gracefully: connections have C{drain_timeout} to receive pending data."""
        super().stopService()
        self.event_bus.emit(STOPPING, connections=self.connection_count)
        self._enter(State.STOPPING, f"{self.connection_count} connections to finish")
        self._checks.stop()
        timeout = self.settings.daemon.drain_timeout
        deadline = self.reactor.callLater(timeout, self.abort)
        for drain in self._drains:
            if drain.active():
                drain.cancel()
        # Connections of services that a reload removed may still be draining.
        waiting = [child.stop() for child in reversed(self.services)]
        waiting += [service_state.when_empty() for service_state in self.removed.values()]
        stopped: Deferred[Any] = gatherResults(waiting)
        stopped.addBoth(self._end, deadline)
        return stopped

    def _end(self, result: Any, deadline: Any) -> Any:
        if deadline.active():
            deadline.cancel()
        self.shared.wheel.stop()
        return result

    def abort(self) -> None:
        """Reset the remaining connections; a worker may have none."""
        if len(self.connection_table):
            self.event_bus.emit(DRAIN_ENDED, connections=len(self.connection_table))
            _abort(self.connection_table)


def _abort(connections: Iterable[Any]) -> None:
    for connection in connections:
        connection.abortConnection()
