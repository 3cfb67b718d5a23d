"""Switch to a new configuration: bind new listeners first, then switch all services over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from socketd.daemon.renewal import renew
from socketd.daemon.service import SocketService
from socketd.daemon.socket_pool import SocketPool
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import ServiceState
from socketd.settings.listeners import Listener
from socketd.settings.model import Service


@define(eq=False)
class Change:
    """
    The difference between the running services and those of a new configuration.

    @ivar before: the running services, by name.
    @ivar former: the states of services that earlier reloads removed, by name.
    @ivar own: the listeners of the daemon itself.
    @ivar after: the new services, in the order of the file. An unchanged one is the same
        object, unless it has a skipped or unreachable listener, which is then bound again.
    @ivar pool: the sockets of changed and removed services.
    @ivar lost: the unreachable listeners, by the name of their service.
    """

    before: Mapping[str, SocketService]
    former: Mapping[str, ServiceState]
    own: Iterable[OwnListener] = ()
    after: list[SocketService] = field(factory=list, init=False)
    pool: SocketPool = field(factory=SocketPool, init=False)
    lost: dict[str, list[Listener]] = field(factory=dict, init=False)

    def prepare(
        self, services: Iterable[Service], make: Callable[[Service], SocketService]
    ) -> list[str]:
        """
        Bind the new listeners, without any effect on the running services.

        @param make: makes the service of a changed or new section.
        @return: the errors, one line each; if there are any, nothing stays bound.
        """
        self.lost = {name: child.lost for name, child in self.before.items()}
        self.after = [self._unchanged(service) or make(service) for service in services]
        wanted = (listener for child in self.fresh for listener in child.settings.listeners)
        self.pool = SocketPool((bound for child in self.going for bound in child.bound), wanted)
        reasons = [reason for child in self.fresh for reason in child.bind(self.pool)]
        reasons += [reason for own in self.own for reason in own.prepare()]
        if reasons:
            self.withdraw()
        return reasons

    def _unchanged(self, service: Service) -> SocketService | None:
        child = self.before.get(service.name)
        if child is None or child.settings != service:
            return None
        return None if child.skipped or self.lost[service.name] else child

    @property
    def fresh(self) -> list[SocketService]:
        """The changed and new services, which do not serve yet."""
        return [child for child in self.after if child not in self.before.values()]

    @property
    def going(self) -> list[SocketService]:
        """The running services that are replaced or removed."""
        return [child for child in self.before.values() if child not in self.after]

    @property
    def regained(self) -> list[str]:
        """
        The listeners that were skipped (no such address on this machine) or unreachable (file
        gone) and are bound now, one line each.
        """
        found = []
        for child in self.fresh:
            name = child.settings.name
            listening = [one for one in child.settings.listeners if one not in child.skipped]
            skipped = self.before[name].skipped if name in self.before else []
            for word, listeners in (("now", skipped), ("again", self.lost.get(name, []))):
                found += [
                    f"[{name}] listens at {one} {word}" for one in listeners if one in listening
                ]
        return found

    @property
    def gone(self) -> list[SocketService]:
        """Removed services: no section of that name in the new file."""
        names = {child.settings.name for child in self.after}
        return [child for child in self.going if child.settings.name not in names]

    def withdraw(self) -> None:
        """Roll back: close the sockets bound by L{prepare}, but not those of running services."""
        for own in self.own:
            own.withdraw()
        service_states = [
            *(child.service_state for child in self.before.values()),
            *self.former.values(),
        ]
        for child in self.fresh:
            for bound in child.hand_on():
                if not self.pool.lent(bound) and not bound.listener.is_inherited:
                    bound.close()
            if child.service_state not in service_states:
                child.service_state.discard()

    def carry_out(
        self,
        let_go: Callable[[SocketService], None],
        take_on: Callable[[SocketService], None],
        clock: Any,
    ) -> list[str]:
        """
        Commit: start the new services, on the sockets of the old ones where these are kept.

        @param let_go: removes a child without stopping it.
        @param take_on: adds a child, which starts it.
        @return: settings that apply only after a restart, and listeners of the daemon that
            are bound again, one line each.
        """
        later = [line for child in self.fresh for line in child.settle()]
        for bound in self.pool:
            # Connections and datagrams that arrived before the switch are served.
            bound.finish()
        for child in self.going:
            child.hand_on()
            let_go(child)
        for bound in self.pool:
            if not bound.listener.is_inherited:
                bound.close()
        for child in self.fresh:
            renew(child.service_state, child.settings, clock)
            take_on(child)
        return later + [line for own in self.own for line in own.carry_out()]
