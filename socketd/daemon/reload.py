"""
From one configuration to another: what is new is bound first, then all changes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from socketd.daemon.renewal import renew
from socketd.daemon.service import Pool, SocketService
from socketd.net.own_listener import OwnListener
from socketd.net.service_state import ServiceState
from socketd.settings.listeners import Listener
from socketd.settings.model import Service


@define(eq=False)
class Change:
    """
    The services of a new configuration beside those of the old one.

    @ivar before: the services that serve now, by name.
    @ivar former: what services shared that are gone since earlier, by name.
    @ivar own: the listeners of the daemon itself.
    @ivar after: those that are to, in the order of the file; what is unchanged is
        the same object, unless it went without a listener, or nobody finds one any
        more: that is tried again.
    @ivar pool: the sockets of what changes or goes.
    @ivar lost: the listeners that nobody finds, by the name of their service.
    """

    before: Mapping[str, SocketService]
    former: Mapping[str, ServiceState]
    own: Iterable[OwnListener] = ()
    after: list[SocketService] = field(factory=list, init=False)
    pool: Pool = field(factory=Pool, init=False)
    lost: dict[str, list[Listener]] = field(factory=dict, init=False)

    def prepare(
        self, services: Iterable[Service], make: Callable[[Service], SocketService]
    ) -> list[str]:
        """
        Bind what is new; what serves does not notice.

        @param make: makes the service of a section that has changed or is new.
        @return: what cannot be had, one line each; then nothing is bound.
        """
        self.lost = {name: child.lost for name, child in self.before.items()}
        self.after = [self._unchanged(service) or make(service) for service in services]
        wanted = (listener for child in self.fresh for listener in child.settings.listeners)
        self.pool = Pool((bound for child in self.going for bound in child.bound), wanted)
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
        """
        Those that do not serve yet.
        """
        return [child for child in self.after if child not in self.before.values()]

    @property
    def going(self) -> list[SocketService]:
        """
        Those that will serve no longer.
        """
        return [child for child in self.before.values() if child not in self.after]

    @property
    def regained(self) -> list[str]:
        """
        What listens now though this machine had no address for it before, or its file
        was gone, one line each.
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
        """
        Those of them that no section of the same name goes on for.
        """
        names = {child.settings.name for child in self.after}
        return [child for child in self.going if child.settings.name not in names]

    def withdraw(self) -> None:
        """
        Close what was bound, but for the sockets that were bound before.
        """
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
        Let the new services serve, at the sockets of the old ones where these stay.

        @param let_go: removes a child that is not to be stopped.
        @param take_on: adds a child, which starts it.
        @return: what will hold from the next start on only, and which listeners of the
            daemon are back, one line each.
        """
        later = [line for child in self.fresh for line in child.settle()]
        for bound in self.pool:
            # Who has come before the change is served.
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
