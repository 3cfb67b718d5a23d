"""The sockets of changed and removed services, which new listeners may reuse at a reload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from socketd.net.listen import Bound
from socketd.net.sockets.bind import look_up
from socketd.settings.listeners import BindAddress, Listener, bind_address


class SocketPool:
    """Bound sockets, which listeners of the same address may reuse."""

    def __init__(self, bounds: Iterable[Bound] = (), wanted: Iterable[Listener] = ()) -> None:
        """@param wanted: the listeners that will be bound from this pool."""
        self._all = list(bounds)
        own = [bound for bound in self._all if not bound.is_irreplaceable]
        self._left = {bound: bound.place for bound in own if not bound.is_down}
        self._at: dict[BindAddress, list[Bound]] = {}
        for bound, place in self._left.items():
            for known in {place, bind_address(bound.listener)}:
                self._at.setdefault(known, []).append(bound)
        self._wanted = {bind_address(one) for one in wanted if not one.is_inherited}

    def take(self, listener: Listener) -> Bound | None:
        """Take a socket that is bound at a listener's address."""
        # A host name is resolved only if the literal address has no match.
        for find in (bind_address, look_up):
            for bound in self._at.get(find(listener), ()):
                if bound in self._left and bound.is_reachable:
                    del self._left[bound]
                    return bound
        return None

    def take_within(self, listener: Listener) -> list[Bound]:
        """
        Take the sockets bound at single addresses of a wildcard listener: the kernel
        prefers them there, so keeping them serves those addresses without a gap.
        """
        if bind_address(listener).host:
            return []
        found = [one for one in self.beside(listener) if self._left[one] not in self._wanted]
        for bound in found:
            del self._left[bound]
        return found

    def beside(self, listener: Listener) -> list[Bound]:
        """
        List the remaining sockets that conflict with a listener: at one of its addresses
        if it is a wildcard, or wildcards themselves.
        """
        place = bind_address(listener)
        if not place.port:
            return []
        return [
            bound
            for bound, other in self._left.items()
            if evolve(other, host=place.host) == place and "" in (other.host, place.host)
        ]

    def lent(self, bound: Bound) -> bool:
        """Tell whether a listener's socket came from this pool."""
        return any(bound.sock is one.sock for one in self._all)

    def __iter__(self) -> Iterator[Bound]:
        """Iterate over the sockets that have not been taken."""
        return iter(list(self._left))
