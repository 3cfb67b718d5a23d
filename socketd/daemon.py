"""
The service tree: bind everything or nothing, serve, drain, stop.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel

from socketd.admission import Capacity
from socketd.clock import ClockWatch, read_kernel
from socketd.events import CERTIFICATE_LOADED, CERTIFICATE_REFUSED, CLOCK_STEPPED, DRAIN_ENDED
from socketd.events import LISTENER_SKIPPED, LISTENING, STOPPING, Journal
from socketd.net.datagram import DatagramPort, DatagramTerms
from socketd.net.door import make_door, make_guard
from socketd.net.guard import LocalAddresses
from socketd.net.interfaces import Interfaces
from socketd.net.inherit import Inherited
from socketd.net.layers import layered, make_context
from socketd.net.listen import Bound, CannotListen, bind, inherit
from socketd.net.site import Roster, Site
from socketd.net.wheel import Wheel
from socketd.operator import OperatorQueue
from socketd.protocols.declaration import Surroundings
from socketd.settings import model
from socketd.settings.listeners import Listener


#: Seconds between two looks at the clock.
LOOK_INTERVAL = 1.0

#: Every so many looks the files of certificates may have changed.
CERTIFICATE_LOOK = 5

#: Every so many looks the machine's own addresses may have changed.
SURVEY = 30


class CannotStart(Exception):
    """
    Listeners that could not be bound, one line each.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class StreamFactory(Factory):
    """
    Makes the protocol of each connection, as its file declares it.
    """

    noisy = False

    def __init__(self, service: model.Service, surroundings: Surroundings) -> None:
        self._make = service.declared.stream
        self._options = service.options
        self._surroundings = surroundings

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Make one more.
        """
        return self._make(self._options, self._surroundings)


class SocketService(Service):
    """
    One service of the configuration, at all its listeners.

    @ivar settings: what the configuration says of it.
    @ivar site: what its ports and connections share.
    @ivar bound: its listeners, once they are bound.
    @ivar context: what it shows of itself in TLS; C{None} if it does not speak it.
    """

    def __init__(
        self,
        reactor: Any,
        settings: model.Service,
        site: Site,
        surroundings: Surroundings,
        own_ports: Callable[[], Collection[int]],
        interfaces: LocalAddresses,
        inherited: Inherited,
    ) -> None:
        self.setName(settings.name)
        self.settings = settings
        self.site = site
        self.bound: list[Bound] = []
        self._reactor = reactor
        self._surroundings = surroundings
        self._own_ports = own_ports
        self._interfaces = interfaces
        self._inherited = inherited
        self.context = make_context(settings, surroundings.wall_clock)

    def bind(self) -> list[str]:
        """
        Bind every listener.

        @return: for each one that could not be bound, the reason.
        """
        reasons = [f"[{self.name}] {option}: {text}" for option, text in self._load()]
        for listener in self.settings.listeners:
            try:
                self.bound += self._bind(listener)
            except CannotListen as problem:
                if listener.optional and problem.absent:
                    self.site.emit(LISTENER_SKIPPED, listener=str(listener), error=str(problem))
                else:
                    reasons.append(f"[{self.name}] cannot listen at {listener}: {problem}")
        return reasons

    def _load(self) -> Iterable[tuple[str, str]]:
        return () if self.context is None else self.context.load()

    def _bind(self, listener: Listener) -> list[Bound]:
        if not listener.is_inherited:
            return [bind(listener, self.settings.sockets)]
        found = self._inherited.named(listener.name)
        if not found:
            names = ", ".join(self._inherited.names()) or "none"
            raise CannotListen(
                f"no such socket was handed over (there is {names}); twistd must not fork"
            )
        return [inherit(listener, one, self.settings.declared) for one in found]

    def startService(self) -> None:
        """
        Serve what is bound.
        """
        super().startService()
        for bound in self.bound:
            self._serve(bound)
        # Whoever waits for these lines may stop the daemon with a signal, which
        # only a running reactor takes.
        self._reactor.callLater(0, self._announce)

    def stopService(self) -> Deferred[Any]:
        """
        Serve no new peer, and close every connection.

        @return: fires when the last connection has ended.
        """
        super().stopService()
        self.close()
        for connection in self.site.connections:
            connection.hang_up()
        return self.site.when_empty()

    def close(self) -> None:
        """
        Close the listeners.
        """
        bound, self.bound = self.bound, []
        for one in bound:
            one.close()

    def _announce(self) -> None:
        for bound in self.bound:
            self.site.emit(LISTENING, listener=str(bound))

    def _serve(self, bound: Bound) -> None:
        declared, options = self.settings.declared, self.settings.options
        if bound.is_stream:
            factory = StreamFactory(self.settings, self._surroundings)
            layers = (factory, bound.listener, self.settings, self.context, self._reactor)
            speaker, stream_terms = layered(*layers)
            bound.serve(self._reactor, speaker, self.site, stream_terms)
            return
        guard = make_guard(
            self.settings, bound.sock, self._reactor, self._own_ports, self._interfaces
        )
        terms = DatagramTerms(guard, declared.reply_floor(options), declared.timestamped)
        speaker = declared.datagram(options, self._surroundings)
        bound.serve(self._reactor, speaker, self.site, terms)

    def renew_certificates(self) -> None:
        """
        Take certificates that have changed, or say what is wrong with them.
        """
        if self.context is None or not self.context.changed():
            return
        complaints = self.context.load()
        for option, text in complaints:
            self.site.emit(CERTIFICATE_REFUSED, option=option, error=text)
        if not complaints:
            until = datetime.fromtimestamp(self.context.not_after, UTC)
            self.site.emit(CERTIFICATE_LOADED, until=f"{until:%Y-%m-%d %H:%M:%S} UTC")

    def forget_sources(self) -> None:
        """
        Have the guards judge every source anew.
        """
        for bound in self.bound:
            if isinstance(bound.port, DatagramPort):
                bound.port.forget()


@define(eq=False, slots=False)
class Daemon(MultiService):
    """
    All services of a configuration, and what they share.

    @ivar reactor: runs them.
    @ivar settings: the configuration.
    @ivar wall_clock: the time of day, in seconds since 1970.
    @ivar inherited: what systemd has handed over.
    @ivar capacity: how many connections there may be.
    @ivar clock_watch: what the kernel knows of its clock.
    """

    reactor: Any
    settings: model.Settings
    wall_clock: Any
    max_connections: int | None = None
    inherited: Inherited = Inherited()
    began: float = field(init=False)
    journal: Journal = field(init=False)
    roster: Roster = field(factory=Roster, init=False)
    operator: OperatorQueue = field(init=False)
    capacity: Capacity = field(init=False)
    clock_watch: ClockWatch = field(init=False)
    _wheel: Wheel = field(init=False)
    _interfaces: Interfaces = field(init=False)
    _datagram_ports: frozenset[int] | None = field(default=None, init=False)
    _watching: Any = field(default=None, init=False)

    def __attrs_pre_init__(self) -> None:
        MultiService.__init__(self)

    def __attrs_post_init__(self) -> None:
        level = LogLevel.levelWithName(self.settings.daemon.log_level)
        self.began = self.reactor.seconds()
        self.journal = Journal(self.reactor, level)
        self.operator = OperatorQueue(self.reactor)
        self.capacity = Capacity(self.max_connections)
        self._wheel = Wheel(self.reactor)
        self._interfaces = Interfaces(self.reactor.seconds)
        self.clock_watch = ClockWatch(read_kernel, self.wall_clock, self.reactor.seconds)
        for service in self.settings.services:
            self._add(service)

    def _add(self, service: model.Service) -> None:
        surroundings = Surroundings(
            self.wall_clock, self.operator, lambda: self.clock_watch.state
        )
        site = Site(
            service.name,
            self.journal,
            self.roster,
            service.common.log_connections,
            service.common.log_messages,
            make_door(service.door, self.capacity, self.reactor, service.tls.handshake_timeout),
            self._wheel,
        )
        around = (surroundings, self.datagram_ports, self._interfaces, self.inherited)
        SocketService(self.reactor, service, site, *around).setServiceParent(self)

    @property
    def socket_services(self) -> list[SocketService]:
        """
        The services of the configuration, in its order.
        """
        return [child for child in self if isinstance(child, SocketService)]

    def datagram_ports(self) -> frozenset[int]:
        """
        List the ports of all datagram listeners: what comes from one of these
        would be answered for ever.
        """
        if self._datagram_ports is None:
            socks = [bound.sock for child in self.socket_services for bound in child.bound]
            self._datagram_ports = frozenset(
                sock.getsockname()[1]
                for sock in socks
                if sock.type == socket.SOCK_DGRAM and sock.family != socket.AF_UNIX
            )
        return self._datagram_ports

    def startService(self) -> None:
        """
        Serve, and look at the clock once a second.
        """
        super().startService()
        self._look_around(0)

    def _look_around(self, turn: int) -> None:
        """
        See to what may change under a daemon: the clock, and the machine's addresses.
        """
        step = self.clock_watch.poll()
        if step:
            self.journal.emit(CLOCK_STEPPED, seconds=round(step, 3))
        if turn % CERTIFICATE_LOOK == 0:
            for child in self.socket_services:
                child.renew_certificates()
        if turn % SURVEY == 0:
            for child in self.socket_services:
                child.forget_sources()
        self._watching = self.reactor.callLater(LOOK_INTERVAL, self._look_around, turn + 1)

    def privilegedStartService(self) -> None:
        """
        Bind every listener of every service, while privileges last.

        @raise CannotStart: if one cannot be bound; then none stays bound.
        """
        reasons = [reason for service in self.socket_services for reason in service.bind()]
        reasons += self.inherited.complaints
        claimed = {listener.name for s in self.settings.services for listener in s.listeners}
        for one in self.inherited.unclaimed(claimed):
            reasons.append(f"no service names the inherited socket {one.name} ({one.describe()})")
        if reasons:
            for service in self.socket_services:
                service.close()
            raise CannotStart(reasons)
        super().privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        """
        Stop, and give the connections C{drain_timeout} to take what they are owed.
        """
        self.journal.emit(STOPPING, connections=len(self.roster))
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        deadline = self.reactor.callLater(self.settings.daemon.drain_timeout, self._abort)
        stopped: Deferred[Any] = super().stopService()
        stopped.addBoth(self._end, deadline)
        return stopped

    def _end(self, result: Any, deadline: Any) -> Any:
        if deadline.active():
            deadline.cancel()
        self._wheel.stop()
        return result

    def _abort(self) -> None:
        self.journal.emit(DRAIN_ENDED, connections=len(self.roster))
        for connection in self.roster:
            connection.abortConnection()
