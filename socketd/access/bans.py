"""The networks that the operator has banned."""

from __future__ import annotations

from attrs import frozen

from socketd.access.addresses import IPV4_BYTES, IPV6_BYTES
from socketd.access.networks import position
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
        self._bans: dict[Network, Ban] = {}
        # By address size, then by the host bits to shift out; then by prefix.
        self._tables: dict[int, dict[int, dict[int, Ban]]] = {IPV4_BYTES: {}, IPV6_BYTES: {}}

    def __len__(self) -> int:
        """The number of bans, including expired ones not yet swept."""
        return len(self._bans)

    def add(self, network: Network, seconds: float | None = None) -> Ban:
        """
        Ban a network, replacing an earlier ban of the same network.

        @param seconds: the duration; C{None}: until it is removed.
        @raise BansFull: when the table is full.
        """
        self.sweep()
        if network not in self._bans and len(self._bans) >= self._max_entries:
            raise BansFull(f"there are {self._max_entries} bans already")
        ban = Ban(network, None if seconds is None else self._clock() + seconds)
        self._bans[network] = ban
        size, shift, prefix = position(network)
        self._tables[size].setdefault(shift, {})[prefix] = ban
        return ban

    def remove(self, network: Network) -> bool:
        """Remove a ban, and say whether there was one that had not expired."""
        ban = self._bans.pop(network, None)
        if ban is None:
            return False
        size, shift, prefix = position(network)
        del self._tables[size][shift][prefix]
        if not self._tables[size][shift]:
            del self._tables[size][shift]
        return not self._is_over(ban)

    def sweep(self) -> bool:
        """Remove the expired bans, and say whether there were any."""
        over = [ban for ban in self._bans.values() if self._is_over(ban)]
        for ban in over:
            self.remove(ban.network)
        return bool(over)

    def admits(self, address: bytes) -> bool:
        """Say whether an address is not banned."""
        if not self._bans:
            return True
        number = int.from_bytes(address, "big")
        for shift, bans in self._tables[len(address)].items():
            ban = bans.get(number >> shift)
            if ban is not None and not self._is_over(ban):
                return False
        return True

    def current(self) -> list[Ban]:
        """List the bans that have not expired, oldest first."""
        return [ban for ban in self._bans.values() if not self._is_over(ban)]

    def _is_over(self, ban: Ban) -> bool:
        return ban.ends is not None and self._clock() >= ban.ends
