"""
One service of the configuration: bound, served, closed, or handed on to another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from socketd.access.datagram_guard import LocalAddresses
from socketd.access.policy import make_guard
from socketd.access.rates import Bans
from socketd.common.events import (
    CERTIFICATE_INVALID,
    CERTIFICATE_LOADED,
    CERTIFICATE_REFUSED,
    LISTENER_SKIPPED,
    LISTENING,
)
from socketd.net.datagram.port import DatagramPort, DatagramTerms
from socketd.net.layers import make_context, wrap_factory
from socketd.net.listen import Bound, CannotListen, bind, inherit, look_up
from socketd.net.service_state import ServiceState
from socketd.net.sockets.activation import Inherited
from socketd.protocols.spec import ProtocolContext
from socketd.settings import model
from socketd.settings.listeners import Listener, Place, place_of

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext


class StreamFactory(Factory):
    """
    Makes the protocol of each connection, as its file declares it.
    """

    noisy = False

    def __init__(self, service: model.Service, context: ProtocolContext) -> None:
        self._make = service.declared.stream
        self._options = service.options
        self._surroundings = context

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Make one more.
        """
        return self._make(self._options, self._surroundings)


@frozen(eq=False)
class Shared:
    """
    What the services of a daemon share.

    @ivar reactor: runs them.
    @ivar context: what protocols are lent.
    @ivar own_ports: gives the ports of all datagram listeners.
    @ivar interfaces: the addresses of this machine.
    @ivar inherited: what systemd has handed over.
    @ivar bans: whom an operator has banned.
    """

    reactor: Any
    context: ProtocolContext
    own_ports: Callable[[], Collection[int]]
    interfaces: LocalAddresses
    inherited: Inherited
    bans: Bans


class SocketService(Service):
    """
    One service of the configuration, at all its listeners.

    @ivar settings: what the configuration says of it.
    @ivar service_state: what its ports and connections share.
    @ivar bound: its listeners, once they are bound.
    @ivar skipped: the optional ones that this machine had no address for.
    @ivar context: what it shows of itself in TLS; C{None} if it does not speak it.
    """

    def __init__(
        self, shared: Shared, settings: model.Service, service_state: ServiceState
    ) -> None:
        self.setName(settings.name)
        self.settings = settings
        self.service_state = service_state
        self.bound: list[Bound] = []
        self.skipped: list[Listener] = []
        clocks = shared.context.wall_clock, shared.reactor.seconds
        self.context = make_context(settings, *clocks)
        self._shared = shared
        self._handed_on = False
        self._told: list[tuple[str, str]] = []

    @property
    def lost(self) -> list[Listener]:
        """
        The listeners that nobody finds any more: a file is gone, or a socket.
        """
        return [bound.listener for bound in self.bound if not bound.is_reachable]

    def bind(self, pool: Pool | None = None) -> list[str]:
        """
        Bind every listener, and read the certificates.

        @param pool: sockets that are bound already, to be taken as they are: see
            L{settle}.
        @return: for each listener that could not be bound, the reason.
        """
        reasons = [f"[{self.name}] {option}: {text}" for option, text in self._load()]
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
                    reasons.append(problem.line(f"[{self.name}]", listener, place))
        return reasons

    def _load(self) -> Iterable[tuple[str, str]]:
        return () if self.context is None else self.context.load()

    def _bind(self, listener: Listener, pool: Pool | None) -> list[Bound]:
        if listener.is_inherited:
            return self._inherit(listener)
        options = self.settings.sockets
        if pool is None:
            return [bind(listener, options)]
        held, within = pool.take(listener), pool.take_within(listener)
        kept = [
            one.for_listener(evolve(listener, interface=one.listener.interface), options)
            for one in within
        ]
        if held is not None:
            return [held.for_listener(listener, options), *kept]
        return [bind(listener, options, [*within, *pool.beside(listener)]), *kept]

    def settle(self) -> list[str]:
        """
        Give the sockets that were taken what the settings say of them.

        @return: what cannot be changed on a live socket, one line each.
        """
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

    def startService(self) -> None:
        """
        Serve what is bound.
        """
        super().startService()
        self.serve()

    def serve(self) -> None:
        """
        Serve what is bound.
        """
        for bound in self.bound:
            self._serve(bound)
        # Whoever waits for these lines may stop the daemon with a signal, which
        # only a running reactor takes.
        self._shared.reactor.callLater(0, self._announce)

    def stopService(self) -> Deferred[Any] | None:
        """
        Serve no new peer, answer what has come, and close every connection.

        @return: fires when the last connection has ended; C{None} where another
            service goes on.
        """
        super().stopService()
        if self._handed_on:
            return None
        self.close()
        for connection in self.service_state.connections:
            connection.drain_and_close()
        return self.service_state.when_empty()

    def close(self) -> None:
        """
        Close the listeners, after what has come to them is served.
        """
        bound, self.bound = self.bound, []
        for one in bound:
            one.finish()
            one.close()

    def withdraw(self) -> None:
        """
        Close the listeners so that L{bind} can have them again: what systemd handed over
        stays open, as it does with systemd, for there is no other one.
        """
        bound, self.bound = self.bound, []
        self.skipped.clear()
        for one in bound:
            one.release() if one.listener.is_inherited else one.close()

    def hand_on(self) -> list[Bound]:
        """
        Serve no longer, though nothing is closed: another service goes on.

        @return: the listeners, which that one may take or close.
        """
        self._handed_on = True
        bound, self.bound = self.bound, []
        for one in bound:
            one.release()
        return bound

    def _announce(self) -> None:
        for bound in self.bound:
            self.service_state.emit(LISTENING, listener=str(bound))

    def _serve(self, bound: Bound) -> None:
        reactor, settings = self._shared.reactor, self.settings
        if bound.is_stream:
            factory = StreamFactory(settings, self._shared.context)
            layers = (factory, bound.listener, settings, self.context, reactor)
            speaker, stream_terms = wrap_factory(*layers)
            bound.serve(reactor, speaker, self.service_state, stream_terms)
            return
        declared, options = settings.declared, settings.options
        shared = self._shared
        around = (reactor, shared.own_ports, shared.interfaces, shared.bans)
        guard = make_guard(settings, bound.sock, *around)
        terms = DatagramTerms(guard, declared.reply_floor(options), declared.timestamped)
        speaker = declared.datagram(options, self._shared.context)
        bound.serve(reactor, speaker, self.service_state, terms)

    def invalid_certificates(self) -> list[tuple[str, str]]:
        """
        List the certificates in use that are not valid now: each option, and why.
        """
        return [] if self.context is None else self.context.invalid()

    def succeed(self, former: SocketService) -> None:
        """
        Go on for a service of the same name, and take what its clients count on.
        """
        if self.context is not None and former.context is not None:
            self.context.inherit(former.context)

    def renew_certificates(self) -> None:
        """
        Take certificates that have changed, or say what is wrong with them; and say once
        which of those in use are not valid now.
        """
        if self.context is None:
            return
        if self.context.changed():
            self._take_certificates(self.context)
        self.context.rotate()
        told, self._told = self._told, self.invalid_certificates()
        for option, text in self._told:
            if (option, text) not in told:
                self.service_state.emit(CERTIFICATE_INVALID, option=option, error=text)

    def _take_certificates(self, context: ServerContext) -> None:
        diagnostics = context.load()
        for option, text in diagnostics:
            self.service_state.emit(CERTIFICATE_REFUSED, option=option, error=text)
        if not diagnostics:
            until = datetime.fromtimestamp(context.not_after, UTC)
            self.service_state.emit(CERTIFICATE_LOADED, until=f"{until:%Y-%m-%d %H:%M:%S} UTC")

    def forget_sources(self) -> None:
        """
        Have the guards judge every source anew.
        """
        for bound in self.bound:
            if isinstance(bound.port, DatagramPort):
                bound.port.forget()


class Pool:
    """
    Sockets that are bound already, and may be taken for listeners of their address.
    """

    def __init__(self, bounds: Iterable[Bound] = (), wanted: Iterable[Listener] = ()) -> None:
        """
        @param wanted: the listeners that will ask.
        """
        self._all = list(bounds)
        own = [bound for bound in self._all if not bound.listener.is_inherited]
        self._left = {bound: bound.place for bound in own if not bound.is_down}
        self._at: dict[Place, list[Bound]] = {}
        for bound, place in self._left.items():
            for known in {place, place_of(bound.listener)}:
                self._at.setdefault(known, []).append(bound)
        self._wanted = {place_of(one) for one in wanted if not one.is_inherited}

    def take(self, listener: Listener) -> Bound | None:
        """
        Take one that is bound where a listener is to be.
        """
        # A host name is looked up where that is of use only.
        for find in (place_of, look_up):
            for bound in self._at.get(find(listener), ()):
                if bound in self._left and bound.is_reachable:
                    del self._left[bound]
                    return bound
        return None

    def take_within(self, listener: Listener) -> list[Bound]:
        """
        Take those that are bound at one address of a listener at all addresses: there
        the kernel prefers them, so that what comes is served by them without a gap.
        """
        if place_of(listener).host:
            return []
        found = [one for one in self.beside(listener) if self._left[one] not in self._wanted]
        for bound in found:
            del self._left[bound]
        return found

    def beside(self, listener: Listener) -> list[Bound]:
        """
        List those that are left and in the way of a listener: at one of its addresses,
        or at all where it has one.
        """
        place = place_of(listener)
        if not place.port:
            return []
        return [
            bound
            for bound, other in self._left.items()
            if evolve(other, host=place.host) == place and "" in (other.host, place.host)
        ]

    def lent(self, bound: Bound) -> bool:
        """
        Say whether a listener's socket is one of the pool.
        """
        return any(bound.sock is one.sock for one in self._all)

    def __iter__(self) -> Iterator[Bound]:
        """
        List those that nobody has taken.
        """
        return iter(list(self._left))
