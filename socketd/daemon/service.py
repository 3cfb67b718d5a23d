"""One service of the configuration: bind, serve, close, or hand over to a successor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from errno import EADDRNOTAVAIL, EMFILE
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory

from socketd.access.bans import Bans
from socketd.access.capacity import Capacity
from socketd.access.datagram_guard import LocalAddresses
from socketd.access.policy import make_guard, make_policy
from socketd.common.events import (
    CERTIFICATE_INVALID,
    CERTIFICATE_LOADED,
    CERTIFICATE_REFUSED,
    LISTENER_SKIPPED,
    LISTENING,
    EventBus,
)
from socketd.daemon.socket_pool import SocketPool
from socketd.net.datagram.batch_port import BatchedDatagramPort
from socketd.net.datagram.port import DatagramTerms
from socketd.net.layers import wrap_factory
from socketd.net.listen import Bound, bind, inherit
from socketd.net.service_state import Connection, ConnectionTable, ServiceState
from socketd.net.sockets.activation import Inherited
from socketd.net.sockets.bind import CannotListen
from socketd.net.sockets.group import Sharing
from socketd.net.timer_wheel import TimerWheel
from socketd.protocols.spec import ProtocolContext
from socketd.settings import model
from socketd.settings.listeners import Listener

if TYPE_CHECKING:
    from socketd.daemon.snapshot import ServiceSnapshot
    from socketd.net.tls.context import ServerContext


@define(eq=False, slots=False)
class StreamFactory(Factory):
    """Creates the protocol of each connection from the service's protocol specification."""

    noisy = False

    _service: model.ServiceSettings
    _context: ProtocolContext

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._service.declared.stream(self._service.options, self._context)


@frozen(eq=False)
class Shared:
    """
    What all services of a daemon share.

    @ivar capacity: the limit of connections for the whole daemon.
    @ivar inherited: the sockets passed by systemd.
    @ivar sharing: how workers share the listeners; one worker is this process itself, and more
        are others, which serve in its place.
    @ivar handed: in a worker, the sockets that its master has handed over for each service, which
        are served in place of own ones.
    @ivar datagram_ports: the ports of all datagram listeners: replying to a datagram from
        one of them could start an endless loop.
    @ivar further_ports: those that protocols have opened beside their listeners; an opened port
        is in it once for each address.
    """

    reactor: Any
    event_bus: EventBus
    connection_table: ConnectionTable
    capacity: Capacity
    bans: Bans
    wheel: TimerWheel
    context: ProtocolContext
    interfaces: Callable[[], LocalAddresses]
    inherited: Inherited = Inherited()
    sharing: Sharing = Sharing()
    handed: dict[str, list[Bound]] | None = None
    datagram_ports: set[int] = field(factory=set)
    further_ports: list[int] = field(factory=list)

    def own_ports(self) -> Collection[int]:
        """Return the ports of all datagram sockets of the daemon."""
        further = self.further_ports
        return self.datagram_ports.union(further) if further else self.datagram_ports

    def make_state(self, settings: model.ServiceSettings) -> ServiceState:
        """Make the state of a new service."""
        timeout = settings.tls.handshake_timeout
        return ServiceState(
            settings.name,
            self.event_bus,
            self.connection_table,
            settings.common.log_connections,
            settings.common.log_messages,
            make_policy(settings.policy, self.capacity, self.reactor, timeout, self.bans),
            self.wheel,
            self.context.operator.awaits,
        )

    def unclaimed(self, settings: model.Settings) -> list[str]:
        """Report inherited sockets that no service names: peers would connect to them in vain."""
        claimed = {listener.name for s in settings.services for listener in s.listeners}
        return [
            f"no service names the inherited socket {one.name} ({one.describe()})"
            for one in self.inherited.unclaimed(claimed)
        ]


@define(eq=False, slots=False)
class SocketService:
    """
    One service of the configuration, with all its listeners.

    @ivar context: its TLS context; C{None} without TLS.
    @ivar skipped: the optional listeners whose address this machine does not have.
    """

    _shared: Shared
    settings: model.ServiceSettings
    service_state: ServiceState
    context: ServerContext | None = None
    bound: list[Bound] = field(factory=list, init=False)
    skipped: list[Listener] = field(factory=list, init=False)
    _further: list[Bound] = field(factory=list, init=False)
    _reported: list[tuple[str, str]] = field(factory=list, init=False)
    _protocol_context: ProtocolContext = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._protocol_context = evolve(
            self._shared.context,
            service=self.name,
            record=self.service_state,
            references=self.settings.references,
            open_port=self._open_port,
        )

    @property
    def name(self) -> str:
        """Its name, that of the section."""
        return self.settings.name

    @property
    def lost(self) -> list[Listener]:
        """The unreachable listeners: the file or the socket is gone."""
        return [bound.listener for bound in self.bound if not bound.is_reachable]

    def bind(self, pool: SocketPool | None = None) -> list[str]:
        """
        Bind every listener.

        @param pool: bound sockets to reuse as they are; L{settle} sets their options.
        @return: the errors, one line each.
        """
        errors: list[str] = []
        if self._shared.handed is not None:
            self.bound = self._shared.handed.pop(self.name, [])
            return errors
        for listener in self.settings.listeners:
            try:
                self.bound += self._bind(listener, pool)
            except CannotListen as problem:
                if listener.optional and problem.absent:
                    self.skipped.append(listener)
                    self.service_state.emit(
                        LISTENER_SKIPPED, listener=str(listener), error=str(problem)
                    )
                else:
                    place = self.settings.place("listen")
                    errors.append(problem.line(f"[{self.name}]", listener, place))
        return errors

    def _bind(self, listener: Listener, pool: SocketPool | None) -> list[Bound]:
        if listener.is_inherited:
            return self._inherit(listener)
        options = self.settings.sockets
        spread = self._shared.sharing.spread(self.settings, listener)
        if pool is None:
            return [bind(listener, options, spread=spread)]
        held, within = pool.take(listener), pool.take_within(listener)
        kept = [
            one.for_listener(evolve(listener, interface=one.listener.interface), options, spread)
            for one in within
        ]
        if held is not None:
            return [held.for_listener(listener, options, spread), *kept]
        return [bind(listener, options, [*within, *pool.beside(listener)], spread), *kept]

    def settle(self) -> list[str]:
        """Apply the socket options to reused sockets, and list those that cannot be changed."""
        refused = [text for bound in self.bound for text in bound.settle(self.settings.sockets)]
        lines = [f"[{self.name}] {text} (from the next start on)" for text in refused]
        return list(dict.fromkeys(lines))

    def _inherit(self, listener: Listener) -> list[Bound]:
        inherited = self._shared.inherited
        found = inherited.named(listener.name)
        if not found:
            names = ", ".join(inherited.names()) or "none"
            raise CannotListen(
                f"no such socket was handed over (there is {names}); twistd must not fork"
            )
        return [inherit(listener, one, self.settings.declared) for one in found]

    def serve(self) -> None:
        """Serve the bound listeners, or leave that to workers, and log them."""
        self.service_state.draining = False
        for bound in self.bound:
            if self._shared.sharing.workers == 1:
                self._serve(bound)
            else:
                bound.is_handed = True
        # A program that waits for these lines may then send a signal, which is handled
        # only once the reactor runs.
        self._shared.reactor.callLater(0, self._announce)

    def hand(self, index: int) -> list[tuple[Listener, socket.socket]]:
        """List what a worker is to serve of it, by the worker's number."""
        if index >= self._shared.sharing.count(self.settings):
            return []
        return [(bound.listener, bound.socks[index % len(bound.socks)]) for bound in self.bound]

    def stop(self) -> Deferred[None]:
        """Close the listeners, drain and close every connection, and wait for the last."""
        self.close()
        for connection in self.service_state.connections:
            connection.drain_and_close()
        return self.service_state.when_empty()

    def close(self) -> None:
        """Serve what has arrived at the listeners, then close them."""
        for one in self.bound:
            one.finish()
            one.close()
        # What was served may have opened a port.
        self._give_up()

    def unbind(self) -> None:
        """
        Close the listeners so that L{bind} can bind them again. Sockets from systemd stay
        open, here as at systemd, since they cannot be created again.
        """
        self.service_state.draining = True
        self.skipped.clear()
        for one in self._give_up():
            one.release() if one.is_irreplaceable else one.close()

    def detach(self) -> list[Bound]:
        """Stop serving, and return the listeners, still open, for the successor."""
        bound = self._give_up()
        for one in bound:
            one.release()
        return bound

    def _give_up(self) -> list[Bound]:
        """Close the ports that its protocol has opened, and forget the listeners."""
        for one in list(self._further):
            self._close_port(one)
        bound, self.bound = self.bound, []
        return bound

    def _announce(self) -> None:
        for bound in self.bound:
            self.service_state.emit(LISTENING, listener=str(bound))

    def _serve(self, bound: Bound) -> None:
        reactor, settings = self._shared.reactor, self.settings
        if bound.is_stream:
            factory = StreamFactory(settings, self._protocol_context)
            layers = (factory, bound.listener, settings, self.context, reactor)
            speaker, stream_terms = wrap_factory(*layers)
            bound.serve(reactor, speaker, self.service_state, stream_terms)
            return
        speaker = settings.declared.datagram(settings.options, self._protocol_context)
        self._serve_datagrams(bound, speaker)

    def _serve_datagrams(self, bound: Bound, speaker: DatagramProtocol) -> None:
        reactor, settings = self._shared.reactor, self.settings
        declared, options, shared = settings.declared, settings.options, self._shared
        guard = make_guard(
            settings, bound.sock, reactor, shared.own_ports, shared.interfaces, shared.bans
        )
        floor = declared.reply_floor(options)
        terms = DatagramTerms(guard, floor, declared.timestamped, declared.ip_header)
        bound.serve(reactor, speaker, self.service_state, terms)

    @property
    def served(self) -> list[Bound]:
        """Its listeners, and the ports that its protocol has opened."""
        return [*self.bound, *(one for one in self._further if not one.is_down)]

    def _open_port(self, speaker: DatagramProtocol, host: str, port: int) -> Callable[[], None]:
        """Open a further port, as C{open_port} of the protocol's context declares."""
        if len(self._further) >= model.MAX_FURTHER:
            raise OSError(EMFILE, "the service has opened as many ports as it may")
        kind = "udp6" if ":" in host else "udp"
        try:
            bound = bind(Listener(kind, host, port), self.settings.sockets)
        except CannotListen as problem:
            raise OSError(EADDRNOTAVAIL, str(problem)) from None
        self._further.append(bound)
        self._shared.further_ports.append(port)
        self._serve_datagrams(bound, speaker)
        return partial(self._close_port, bound)

    def _close_port(self, bound: Bound) -> None:
        if bound in self._further:
            self._further.remove(bound)
            self._shared.further_ports.remove(bound.listener.port)
            bound.close()

    def snapshot(self, live: Sequence[Connection], kernel_drops: int | None) -> ServiceSnapshot:
        """Collect what metrics and status show; C{live} are its open connections."""
        # Lazy: a start needs no picture of itself.
        from socketd.daemon.snapshot import CertificatesSnapshot, FaultSnapshot, ServiceSnapshot

        return ServiceSnapshot(
            name=self.name,
            connections=len(live),
            counters=self.service_state.counters.total(live),
            protocol=self.settings.protocol,
            listeners=tuple(map(str, self.served)),
            certificates=CertificatesSnapshot.of(self.context),
            kernel_drops=kernel_drops,
            fault=FaultSnapshot.of(self.service_state.faults),
        )

    def succeed(self, former: SocketService) -> None:
        """Take over the TLS state of a former service of the same name that clients rely on."""
        if self.context is not None and former.context is not None:
            self.context.inherit(former.context)

    def renew_certificates(self) -> bool:
        """
        Load changed certificates, or report errors; report each invalid one in use, once.

        @return: whether others are in use now.
        """
        if self.context is None:
            return False
        before = self.context.parts
        if self.context.changed():
            self._load_certificates(self.context)
        self.context.rotate()
        reported, self._reported = self._reported, self.context.invalid()
        for option, text in self._reported:
            if (option, text) not in reported:
                self.service_state.emit(CERTIFICATE_INVALID, option=option, error=text)
        return self.context.parts is not before

    def _load_certificates(self, context: ServerContext) -> None:
        diagnostics = context.load()
        for option, text in diagnostics:
            self.service_state.emit(CERTIFICATE_REFUSED, option=option, error=text)
        if not diagnostics:
            until = datetime.fromtimestamp(context.not_after, UTC)
            self.service_state.emit(CERTIFICATE_LOADED, until=f"{until:%Y-%m-%d %H:%M:%S} UTC")

    def forget_sources(self) -> None:
        """Drop the cached verdicts of the datagram guards: each source is checked again."""
        for bound in self.served:
            if isinstance(bound.port, BatchedDatagramPort):
                bound.port.forget()
