"""
The service tree: bind everything or nothing, serve, drain, stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel

from socketd.events import DRAIN_ENDED, LISTENER_SKIPPED, LISTENING, STOPPING, Journal
from socketd.net.listen import Bound, CannotListen, bind
from socketd.net.site import Roster, Site
from socketd.operator import OperatorQueue
from socketd.protocols.declaration import Surroundings
from socketd.settings import model


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
    """

    def __init__(
        self, reactor: Any, settings: model.Service, site: Site, surroundings: Surroundings
    ) -> None:
        self.setName(settings.name)
        self.settings = settings
        self.site = site
        self.bound: list[Bound] = []
        self._reactor = reactor
        self._surroundings = surroundings

    def bind(self) -> list[str]:
        """
        Bind every listener.

        @return: for each one that could not be bound, the reason.
        """
        reasons = []
        for listener in self.settings.listeners:
            try:
                self.bound.append(bind(listener, self.settings.sockets))
            except CannotListen as problem:
                if listener.optional and problem.absent:
                    self.site.emit(LISTENER_SKIPPED, listener=str(listener), error=str(problem))
                else:
                    reasons.append(f"[{self.name}] cannot listen at {listener}: {problem}")
        return reasons

    def startService(self) -> None:
        """
        Serve what is bound.
        """
        super().startService()
        for bound in self.bound:
            bound.serve(self._reactor, self._speaker(bound), self.site)
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
            connection.loseConnection()
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

    def _speaker(self, bound: Bound) -> Any:
        if bound.listener.is_stream:
            return StreamFactory(self.settings, self._surroundings)
        return self.settings.declared.datagram(self.settings.options, self._surroundings)


@define(eq=False, slots=False)
class Daemon(MultiService):
    """
    All services of a configuration, and what they share.

    @ivar reactor: runs them.
    @ivar settings: the configuration.
    @ivar wall_clock: the time of day, in seconds since 1970.
    """

    reactor: Any
    settings: model.Settings
    wall_clock: Any
    began: float = field(init=False)
    journal: Journal = field(init=False)
    roster: Roster = field(factory=Roster, init=False)
    operator: OperatorQueue = field(init=False)

    def __attrs_pre_init__(self) -> None:
        MultiService.__init__(self)

    def __attrs_post_init__(self) -> None:
        level = LogLevel.levelWithName(self.settings.daemon.log_level)
        self.began = self.reactor.seconds()
        self.journal = Journal(self.reactor, level)
        self.operator = OperatorQueue(self.reactor)
        surroundings = Surroundings(self.wall_clock, self.operator)
        for service in self.settings.services:
            logged = (service.common.log_connections, service.common.log_messages)
            site = Site(service.name, self.journal, self.roster, *logged)
            SocketService(self.reactor, service, site, surroundings).setServiceParent(self)

    @property
    def socket_services(self) -> list[SocketService]:
        """
        The services of the configuration, in its order.
        """
        return [child for child in self if isinstance(child, SocketService)]

    def privilegedStartService(self) -> None:
        """
        Bind every listener of every service, while privileges last.

        @raise CannotStart: if one cannot be bound; then none stays bound.
        """
        reasons = [reason for service in self.socket_services for reason in service.bind()]
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
        deadline = self.reactor.callLater(self.settings.daemon.drain_timeout, self._abort)
        stopped: Deferred[Any] = super().stopService()
        stopped.addBoth(_cancel, deadline)
        return stopped

    def _abort(self) -> None:
        self.journal.emit(DRAIN_ENDED, connections=len(self.roster))
        for connection in self.roster:
            connection.abortConnection()


def _cancel(result: Any, deadline: Any) -> Any:
    if deadline.active():
        deadline.cancel()
    return result
