"""The service tree: bind all listeners or none, serve, reload the differences, drain, stop."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogLevel

from socketd.access.bans import Bans
from socketd.access.capacity import Capacity
from socketd.access.policy import make_policy
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
from socketd.common.system_clock import ClockWatch, read_kernel
from socketd.daemon.log import quiet
from socketd.daemon.reload import Change
from socketd.daemon.service import Shared, SocketService
from socketd.daemon.snapshot import ServiceSnapshot, Snapshot
from socketd.daemon.socket_drops import KernelDrops
from socketd.daemon.state import CannotStart, State
from socketd.net.listen import Bound
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import Connection, ConnectionTable, ServiceState
from socketd.net.sockets.activation import Inherited
from socketd.net.sockets.local_addresses import Interfaces
from socketd.net.sockets.rlimit import most_connections
from socketd.net.timer_wheel import TimerWheel
from socketd.protocols.spec import ProtocolContext
from socketd.settings import model
from socketd.settings.diagnostics import SettingsError
from socketd.settings.diff import differences

#: Seconds between two periodic checks; each one polls the clock.
LOOK_INTERVAL = 1.0

#: Check the certificate files for changes in every so many periodic checks.
CERTIFICATE_LOOK = 5

#: Check that the files of UNIX sockets exist in every so many periodic checks.
FILE_LOOK = 5

#: Check the machine's own addresses for changes in every so many periodic checks.
ADDRESS_CHECK = 30


@frozen
class Reloaded:
    """
    The result of a reload.

    @ivar changes: the changes, one line each.
    @ivar diagnostics: the errors, one line each; if there are any, nothing has changed.
    """

    changes: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()


@define(eq=False, slots=False)
class Daemon(MultiService):
    """
    All services of a configuration, and their shared state.

    @ivar reactor: the reactor that runs the services.
    @ivar settings: the configuration.
    @ivar wall_clock: returns the time of day, in seconds since 1970.
    @ivar file_limit: the descriptor limit of the process; C{None}: not a constraint.
    @ivar inherited: the sockets passed by systemd.
    @ivar configure: reads the configuration again; raises C{SettingsError}.
    @ivar capacity: the limit of connections for the whole daemon.
    @ivar bans: the sources that operators have banned.
    @ivar clock_watch: the kernel's view of its clock.
    @ivar state: the state of the daemon, such as C{serving}.
    @ivar former: the states of removed services, by name, kept for their counters.
    @ivar own: the listeners of the daemon itself, which belong to no service.
    @ivar reloads: the numbers of reloads done and refused.
    """

    reactor: Any
    settings: model.Settings
    wall_clock: Any
    file_limit: int | None = None
    inherited: Inherited = Inherited()
    configure: Callable[[], model.Settings] | None = None
    began: float = field(init=False)
    event_bus: EventBus = field(init=False)
    connection_table: ConnectionTable = field(factory=ConnectionTable, init=False)
    operator: OperatorQueue = field(init=False)
    capacity: Capacity = field(init=False)
    bans: Bans = field(init=False)
    clock_watch: ClockWatch = field(init=False)
    state: State = field(default=State.STARTING, init=False)
    reloads: dict[str, int] = field(factory=lambda: {"done": 0, "refused": 0}, init=False)
    former: dict[str, ServiceState] = field(factory=dict, init=False)
    own: list[OwnListener] = field(factory=list, init=False)
    _missing: dict[tuple[str, str], str] = field(factory=dict, init=False)
    _drops: KernelDrops = field(factory=KernelDrops, init=False)
    _shared: Shared = field(init=False)
    _wheel: TimerWheel = field(init=False)
    _datagram_ports: frozenset[int] | None = field(default=None, init=False)
    _watching: Any = field(default=None, init=False)
    _drains: list[Any] = field(factory=list, init=False)
    _on_state: list[Callable[[str, str], None]] = field(factory=list, init=False)

    def __attrs_pre_init__(self) -> None:
        MultiService.__init__(self)

    def __attrs_post_init__(self) -> None:
        self.began = self.reactor.seconds()
        self.event_bus = EventBus(self.reactor)
        self.operator = OperatorQueue(self.reactor)
        self.capacity = Capacity(None)
        self._apply()
        self.bans = Bans(self.reactor.seconds)
        self._wheel = TimerWheel(self.reactor)
        self.clock_watch = ClockWatch(read_kernel, self.wall_clock, self.reactor.seconds)
        self._shared = Shared(
            self.reactor,
            ProtocolContext(self.wall_clock, self.operator, lambda: self.clock_watch.state),
            self.datagram_ports,
            Interfaces(self.reactor.seconds),
            self.inherited,
            self.bans,
        )
        for service in self.settings.services:
            self._make(service, self._make_site(service)).setServiceParent(self)

    def _most(self) -> int | None:
        if self.file_limit is None:
            return self.settings.daemon.max_connections
        return most_connections(self.settings, self.file_limit)

    def _make(self, service: model.Service, service_state: ServiceState) -> SocketService:
        return SocketService(self._shared, service, service_state)

    def _make_site(self, service: model.Service) -> ServiceState:
        timeout = service.tls.handshake_timeout
        return ServiceState(
            service.name,
            self.event_bus,
            self.connection_table,
            service.common.log_connections,
            service.common.log_messages,
            make_policy(service.policy, self.capacity, self.reactor, timeout, self.bans),
            self._wheel,
            self.operator.awaits,
        )

    @property
    def socket_services(self) -> list[SocketService]:
        """The services, in the order of the configuration."""
        return [child for child in self if isinstance(child, SocketService)]

    @property
    def service_states(self) -> list[ServiceState]:
        """The states of the services, then those of removed services."""
        return [child.service_state for child in self.socket_services] + list(self.former.values())

    def datagram_ports(self) -> frozenset[int]:
        """
        List the ports of all datagram listeners: replying to a datagram from one of them
        could start an endless loop.
        """
        if self._datagram_ports is None:
            socks = [bound.sock for child in self.socket_services for bound in child.bound]
            self._datagram_ports = frozenset(
                sock.getsockname()[1]
                for sock in socks
                if sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX
            )
        return self._datagram_ports

    # State

    def on_state(self, callback: Callable[[str, str], None]) -> None:
        """Call C{callback(state, detail)} whenever the state changes."""
        self._on_state.append(callback)

    def snapshot(self) -> Snapshot:
        """Collect what metrics, status and health show."""
        live: dict[ServiceState, list[Connection]] = defaultdict(list)
        for connection in self.connection_table:
            live[connection.service_state].append(connection)
        drops = self._drops.update(
            (child.settings.name, bound.sock)
            for child in self.socket_services
            for bound in child.bound
            if not bound.is_stream
        )
        return Snapshot(
            state=self.state,
            health=self._health(),
            uptime=self.reactor.seconds() - self.began,
            services=tuple(
                child.snapshot(live[child.service_state], drops.get(child.settings.name))
                for child in self.socket_services
            ),
            removed=tuple(
                ServiceSnapshot(
                    name=state.name,
                    connections=len(live[state]),
                    counters=state.counters.total(live[state]),
                    kernel_drops=drops.get(state.name),
                )
                for state in self.former.values()
            ),
            connections=len(self.connection_table),
            waiting=len(self.operator.waiting),
            operators=self.operator.operators,
            bans=len(self.bans.current()),
            reloads=dict(self.reloads),
        )

    def _health(self) -> str:
        if self.state in (State.SERVING, State.RELOADING):
            for name, bound in self._listeners():
                if bound.port is None or bound.is_down:
                    return f"a listener of {name} is down"
                if bound.missing:
                    return f"{name} cannot be reached at {bound.listener}: {bound.missing}"
            return State.SERVING
        return self.state

    def _listeners(self) -> Iterator[tuple[str, Bound]]:
        """List the bound listeners, each with the name of its service or option."""
        for child in self.socket_services:
            yield from ((child.settings.name, bound) for bound in child.bound)
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
        reasons = [reason for service in self.socket_services for reason in service.bind()]
        reasons += [*self.inherited.diagnostics, *self._unclaimed(self.settings)]
        if reasons:
            for service in self.socket_services:
                service.close()
            raise CannotStart(reasons)
        super().privilegedStartService()

    def startService(self) -> None:
        """Serve, and start the periodic checks."""
        super().startService()
        self._periodic_checks(0)
        self._enter(State.SERVING)

    def _periodic_checks(self, turn: int) -> None:
        """
        Check the clock, the files of certificates and UNIX sockets, expired bans and the
        machine's addresses.
        """
        # Rescheduled first, so that an error does not end the checks.
        self._watching = self.reactor.callLater(LOOK_INTERVAL, self._periodic_checks, turn + 1)
        if turn % FILE_LOOK == 0:
            self._look_for_files()
        step = self.clock_watch.poll()
        if step:
            self.event_bus.emit(CLOCK_STEPPED, seconds=round(step, 3))
        outdated = self.bans.sweep() or turn % ADDRESS_CHECK == 0
        for child in self.socket_services:
            if turn % CERTIFICATE_LOOK == 0:
                child.renew_certificates()
            if outdated:
                child.forget_sources()

    def _look_for_files(self) -> None:
        """Report each UNIX socket whose file is gone, once."""
        told, self._missing = self._missing, {
            (name, str(bound.listener)): bound.missing
            for name, bound in self._listeners()
            if bound.missing
        }
        for (name, listener), error in self._missing.items():
            if (name, listener) not in told:
                facts: dict[str, Any] = {"service": name, "listener": listener, "error": error}
                self.event_bus.emit(LISTENER_UNREACHABLE, **facts)

    # Reload

    def reload(self) -> Reloaded:
        """
        Read the configuration again and apply the differences, all or nothing.

        Unchanged services keep their sockets and connections.  A changed access policy is
        applied to live connections again; those of removed services are drained.
        """
        if self.configure is None or self.state != State.SERVING:
            return Reloaded(diagnostics=(f"cannot reload while {self.state}",))
        self._enter(State.RELOADING)
        try:
            outcome = Reloaded(self._change(self.configure()))
        except (SettingsError, CannotStart) as problem:
            outcome = Reloaded(diagnostics=tuple(str(problem).splitlines()))
        except Exception:
            # The old configuration still serves, and a later reload may succeed.
            self._enter(State.SERVING, "the reload failed")
            raise
        self.reloads["refused" if outcome.diagnostics else "done"] += 1
        for line in outcome.diagnostics:
            self.event_bus.emit(RELOAD_REFUSED, error=line)
        if not outcome.diagnostics:
            self.event_bus.emit(RELOADED, changes="; ".join(outcome.changes) or "nothing changed")
        self._enter(State.SERVING, "; ".join(outcome.diagnostics[:1]))
        return outcome

    def _change(self, settings: model.Settings) -> tuple[str, ...]:
        """
        Bind the new listeners, then switch over; a failure before that changes nothing.

        @raise CannotStart: if a listener cannot be bound or an inherited socket is unused.
        """
        before = {child.settings.name: child for child in self.socket_services}
        change = Change(before, self.former, self.own)
        reasons = change.prepare(settings.services, self._successor)
        unclaimed = self._unclaimed(settings)
        if unclaimed and not reasons:
            change.withdraw()
        if reasons or unclaimed:
            raise CannotStart([*reasons, *unclaimed])
        lines = [*differences(self.settings, settings), *change.regained]
        self.settings = settings
        self._apply()
        later = change.carry_out(self._let_go, self._take_on, self.reactor)
        for child in change.gone:
            self.former[child.settings.name] = child.service_state
            self._drain_service(child)
        self.services.sort(key=lambda child: _position(change.after, child))
        self._datagram_ports = None
        for child in change.after:
            child.forget_sources()
            # Tools that renew certificates reload the daemon to load them at once.
            child.renew_certificates()
        self._look_for_files()
        return (*lines, *later, *self.snapshot().invalid_certificates)

    def _apply(self) -> None:
        """Apply the daemon's own section of the settings."""
        options = self.settings.daemon
        self.capacity.limit = self._most()
        self.event_bus.level = LogLevel.levelWithName(options.log_level)
        self.event_bus.quiet = quiet(options.log_quiet)

    def _successor(self, service: model.Service) -> SocketService:
        """Make a service that reuses the state of a current or removed one of its name."""
        known = {child.settings.name: child for child in self.socket_services}
        before = known.get(service.name)
        service_state = before.service_state if before else self.former.get(service.name)
        made = self._make(service, service_state or self._make_site(service))
        if before:
            made.succeed(before)
        return made

    def _take_on(self, child: SocketService) -> None:
        self.former.pop(child.settings.name, None)
        child.setServiceParent(self)

    def _unclaimed(self, settings: model.Settings) -> list[str]:
        """
        Report inherited sockets that no service names: peers would connect to them and
        never be accepted.
        """
        claimed = {listener.name for s in settings.services for listener in s.listeners}
        return [
            f"no service names the inherited socket {one.name} ({one.describe()})"
            for one in self.inherited.unclaimed(claimed)
        ]

    def _let_go(self, child: SocketService) -> None:
        """Remove a child without stopping it, as C{removeService} would."""
        self.services.remove(child)
        del self.namedServices[child.name]
        child.parent = None

    def _drain_service(self, child: SocketService) -> None:
        """
        Drain and close the connections of a removed service, and abort them after
        C{drain_timeout}.
        """
        leaving = child.service_state.connections
        for connection in leaving:
            connection.drain_and_close()
        timeout = self.settings.daemon.drain_timeout
        drain = self.reactor.callLater(timeout, _abort, leaving)
        self._drains = [one for one in self._drains if one.active()] + [drain]

    # Drain and stop

    def drain(self) -> None:
        """Stop accepting; existing connections continue."""
        if self.state != State.SERVING:
            return
        for child in self.socket_services:
            child.withdraw()
        self.event_bus.emit(DRAINING, connections=len(self.connection_table))
        self._enter(State.DRAINING)

    def resume(self) -> tuple[str, ...]:
        """
        Accept connections again after L{drain}, on all listeners or on none.

        @return: the errors, one line each; if there are any, nothing has changed.
        """
        if self.state != State.DRAINING:
            return (f"cannot resume while {self.state}",)
        reasons = [reason for child in self.socket_services for reason in child.bind()]
        self._datagram_ports = None
        for child in self.socket_services:
            if reasons:
                child.withdraw()
            else:
                child.serve()
        if not reasons:
            self.event_bus.emit(RESUMED)
            self._enter(State.SERVING)
        return tuple(reasons)

    def stopService(self) -> Deferred[Any]:
        """Shut down gracefully: connections have C{drain_timeout} to receive pending data."""
        self.event_bus.emit(STOPPING, connections=len(self.connection_table))
        self._enter(State.STOPPING, f"{len(self.connection_table)} connections to finish")
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        timeout = self.settings.daemon.drain_timeout
        deadline = self.reactor.callLater(timeout, self.abort)
        for drain in self._drains:
            if drain.active():
                drain.cancel()
        # Connections of services that a reload removed may still be draining.
        waiting = [
            super().stopService(),
            *(service_state.when_empty() for service_state in self.former.values()),
        ]
        stopped: Deferred[Any] = gatherResults(waiting)
        stopped.addBoth(self._end, deadline)
        return stopped

    def _end(self, result: Any, deadline: Any) -> Any:
        if deadline.active():
            deadline.cancel()
        self._wheel.stop()
        return result

    def abort(self) -> None:
        """Reset the remaining connections."""
        self.event_bus.emit(DRAIN_ENDED, connections=len(self.connection_table))
        _abort(self.connection_table)


def _abort(connections: Iterable[Any]) -> None:
    for connection in connections:
        connection.abortConnection()


def _position(after: list[SocketService], child: Any) -> int:
    return after.index(child) if child in after else -1
