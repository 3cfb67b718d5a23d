"""The networks that the operator has banned."""

from __future__ import annotations

from attrs import frozen

from socketd.access.networks import Length, Place, lengths_of, place_of, places_around
from socketd.access.rates import Clock
from socketd.settings.networks import Network

#: Why a connection or datagram of a banned network is rejected.
BANNED = "banned"

#: More networks than an operator bans by hand; each address costs one lookup per prefix
#: length in the table.
MAX_BANS = 1024


@frozen
class Ban:
    """
    The ban of one network.

    @ivar ends: when it expires, on the clock of L{Bans}; C{None}: never.
    """

    network: Network
    ends: float | None


class BansFull(Exception):
    """The table of bans is full."""


class Bans:
    """The networks that the operator has banned; a full table never evicts a ban."""

    def __init__(self, clock: Clock, max_entries: int = MAX_BANS) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._bans: dict[Place, Ban] = {}
        self._lengths: list[Length] = []

    def __len__(self) -> int:
        """The number of bans, including expired ones not yet swept."""
        return len(self._bans)

    def add(self, network: Network, seconds: float | None = None) -> None:
        """
        Ban a network, replacing an earlier ban of the same network.

        @param seconds: the duration; C{None}: until it is removed.
        @raise BansFull: when the table is full.
        """
        self.sweep()
        place = place_of(network)
        if place not in self._bans and len(self._bans) >= self._max_entries:
            raise BansFull(f"there are {self._max_entries} bans already")
        self._bans[place] = Ban(network, None if seconds is None else self._clock() + seconds)
        self._lengths = lengths_of(self._bans)

    def remove(self, network: Network) -> bool:
        """Remove a ban, and say whether there was one that had not expired."""
        ban = self._bans.pop(place_of(network), None)
        self._lengths = lengths_of(self._bans)
        return ban is not None and not self._is_over(ban)

    def sweep(self) -> bool:
        """Remove the expired bans, and say whether there were any."""
        over = [place for place, ban in self._bans.items() if self._is_over(ban)]
        for place in over:
            del self._bans[place]
        self._lengths = lengths_of(self._bans)
        return bool(over)

    def admits(self, address: bytes) -> bool:
        """Say whether an address is not banned."""
        if not self._bans:
            return True
        found = map(self._bans.get, places_around(address, self._lengths))
        return all(ban is None or self._is_over(ban) for ban in found)

    def current(self) -> list[Ban]:
        """List the bans that have not expired, oldest first."""
        return [ban for ban in self._bans.values() if not self._is_over(ban)]

    def _is_over(self, ban: Ban) -> bool:
        return ban.ends is not None and self._clock() >= ban.ends


#: Empty for good, so its clock is never read.
NO_BANS = Bans(lambda: 0.0)
