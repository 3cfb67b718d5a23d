"""
Reload: bind what is new, then commit, or roll back.

Until the commit nothing changes for the running services: an added or changed service binds
its new listeners and reuses the sockets of those that stay; an unchanged one is not touched.
At the commit the changed services take over sockets and connections, and the removed ones
are drained.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from socketd.access.addresses import packed
from socketd.access.capacity import Capacity
from socketd.access.datagram_guard import NETWORK
from socketd.access.policy import AccessPolicy, Slot, make_policy
from socketd.configuration import Configuration
from socketd.daemon.faults import follow_file
from socketd.daemon.service import Shared, SocketService
from socketd.daemon.socket_pool import SocketPool
from socketd.daemon.state import CannotStart
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import ServiceState
from socketd.settings.listeners import Listener
from socketd.settings.model import ServiceSettings, Settings

if TYPE_CHECKING:
    from socketd.net.tls.context import ServerContext


@define(eq=False)
class Reload:
    """
    The switch from the running services to those of a new configuration.

    @ivar running: the running services, by name.
    @ivar removed_before: the states of services that earlier reloads have removed, by name.
    @ivar own: the listeners of the daemon itself.
    @ivar services: the new services, in the order of the file. An unchanged one is the same
        object, unless it has a skipped or unreachable listener, which is then bound again.
    @ivar pool: the sockets of changed and removed services.
    @ivar lost: the unreachable listeners, by the name of their service.
    @ivar settings: the new configuration.
    """

    shared: Shared
    running: Mapping[str, SocketService]
    removed_before: Mapping[str, ServiceState]
    own: Sequence[OwnListener]
    services: list[SocketService] = field(factory=list, init=False)
    pool: SocketPool = field(factory=SocketPool, init=False)
    lost: dict[str, list[Listener]] = field(factory=dict, init=False)
    settings: Settings = field(init=False)
    _settled: list[str] = field(factory=list, init=False)

    @property
    def incoming(self) -> list[SocketService]:
        """The added and changed services, which do not serve yet."""
        return [child for child in self.services if child not in self.running.values()]

    @property
    def outgoing(self) -> list[SocketService]:
        """The running services that are changed or removed."""
        return [child for child in self.running.values() if child not in self.services]

    @property
    def removed(self) -> list[SocketService]:
        """Removed services: no section of that name in the new file."""
        names = {child.name for child in self.services}
        return [child for child in self.outgoing if child.name not in names]

    def prepare(self, configuration: Configuration) -> None:
        """
        Bind the new listeners, without any effect on the running services.

        @raise CannotStart: if a listener cannot be bound or an inherited socket is unused;
            then nothing stays bound.
        """
        settings = self.settings = configuration.settings
        self.lost = {name: child.lost for name, child in self.running.items()}
        self.services = [
            self._unchanged(one) or self._make(one, configuration.contexts.get(one.name))
            for one in settings.services
        ]
        wanted = (listener for child in self.incoming for listener in child.settings.listeners)
        self.pool = SocketPool((bound for child in self.outgoing for bound in child.bound), wanted)
        errors = [error for child in self.incoming for error in child.bind(self.pool)]
        errors += [error for own in self.own for error in own.prepare()]
        errors += self.shared.unclaimed(settings)
        if errors:
            self.roll_back()
            raise CannotStart(errors)

    def _unchanged(self, settings: ServiceSettings) -> SocketService | None:
        child = self.running.get(settings.name)
        if self.shared.handed is not None:
            # The master has decided, and handed over the sockets of all others.
            return None if settings.name in self.shared.handed else child
        if child is None or child.settings != settings:
            return None
        return None if child.skipped or self.lost[settings.name] else child

    def _make(self, settings: ServiceSettings, context: ServerContext | None) -> SocketService:
        """Make a service that reuses the state of a running or removed one of its name."""
        running = self.running.get(settings.name)
        if running is not None:
            made = SocketService(self.shared, settings, running.service_state, context)
            made.succeed(running)
            return made
        state = self.removed_before.get(settings.name) or self.shared.make_state(settings)
        return SocketService(self.shared, settings, state, context)

    def roll_back(self) -> None:
        """Close the sockets bound by L{prepare}, but not those of running services."""
        for own in self.own:
            own.roll_back()
        kept = [child.service_state for child in self.running.values()]
        kept += self.removed_before.values()
        for child in self.incoming:
            for bound in child.detach():
                if not self.pool.lent(bound) and not bound.is_irreplaceable:
                    bound.close()
            if child.service_state not in kept:
                child.service_state.discard()

    def settle(self) -> None:
        """Apply the socket options, and let all sockets listen; nothing can fail from here on."""
        self._settled = [*self._regained()]
        self._settled += [line for child in self.incoming for line in child.settle()]

    def commit(self) -> list[str]:
        """
        Serve the new services, on the sockets of the old ones where these are kept.

        @return: the listeners that are bound again, the settings that apply only after a
            restart, and the fault profiles of operators that are gone, one line each.
        """
        changes = self._settled
        for bound in self.pool:
            # Connections and datagrams that arrived before the switch are served.
            bound.finish()
        for child in self.outgoing:
            child.detach()
        for bound in self.pool:
            if not bound.is_irreplaceable:
                bound.close()
        for child in self.services:
            gone = follow_file(child, self.running.get(child.name), self.settings.faults)
            changes += [gone] if gone else []
        for child in self.incoming:
            apply_settings(child.service_state, child.settings, self.shared.reactor)
            child.serve()
        return changes + [line for own in self.own for line in own.commit()]

    def _regained(self) -> Iterator[str]:
        """
        The listeners that were skipped (no such address on this machine) or unreachable (file
        gone) and are bound now, one line each.
        """
        for child in self.incoming:
            running = self.running.get(child.name)
            skipped = [] if running is None else running.skipped
            for word, listeners in (("now", skipped), ("again", self.lost.get(child.name, []))):
                for one in listeners:
                    if one in child.settings.listeners and one not in child.skipped:
                        yield f"[{child.name}] listens at {one} {word}"


def apply_settings(service_state: ServiceState, settings: ServiceSettings, clock: Any) -> None:
    """
    Apply new settings to a running service.

    The connection count is kept; connections that the new policy refuses are reset, the
    others get a slot in their source's new quota.

    @param clock: the clock of the reactor.
    """
    old = service_state.policy
    timeout = settings.tls.handshake_timeout
    policy = make_policy(settings.policy, Capacity(None), clock, timeout, old.bans)
    policy.capacity = old.capacity
    policy.capacity.limit = settings.policy.max_connections
    service_state.policy = policy
    service_state.change_logging(settings.common.log_connections, settings.common.log_messages)
    for connection in service_state.connections:
        if connection.peer_known:
            connection.reapply_policy(*_readmit(policy, connection))
        # Else the PROXY header is pending; the new policy is applied when it arrives.


def _readmit(policy: AccessPolicy, connection: Any) -> tuple[Slot | None, str | None]:
    family, peer = connection.source
    if family == socket.AF_UNIX:
        return None, None
    address = packed(peer[0])
    if not policy.networks.admits(address):
        return None, NETWORK
    return policy.readmit(address), None
