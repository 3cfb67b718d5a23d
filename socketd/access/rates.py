"""
Access control: networks, bans, rate limits, quotas per source, and capacity.

Addresses are packed: 4 or 16 bytes in network order. A clock is any callable that returns
monotonic seconds.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import random

from attrs import frozen

from socketd.settings.networks import ANY, Network, Prefixes

#: Entries of a rate limit table, about 1 MB; chrony has as many.
MAX_SOURCES = 4096

#: A saturated capacity is available again at this percentage (hysteresis), so that
#: accepting is not paused and resumed for every single connection.
RESUME = 95

#: Tolerance, as a fraction of the interval: sums of floats are not exact, and a burst of
#: 20 must allow 20.
SLACK = 0.001

#: More networks than an operator bans by hand; each address costs one lookup per prefix
#: length in the table.
MAX_BANS = 1024

#: Why a connection or datagram is rejected.
BANNED = "banned"
SOURCE_LIMIT = "source_limit"
SOURCE_RATE = "source_rate"

Clock = Callable[[], float]

# ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
_MAPPED = b"\0" * 10 + b"\xff\xff"

_IPV4_BYTES = 4
_IPV6_BYTES = 16


def packed(host: str) -> bytes:
    """
    Pack an address; IPv4-mapped IPv6 becomes IPv4, and the scope is removed.

    @param host: as the kernel writes it: C{192.0.2.1}, C{::ffff:192.0.2.1} or
        C{fe80::1%eth0}.
    @raise OSError: when it is not an address.
    """
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    if "%" in host:
        host = host[: host.index("%")]
    return canonical(socket.inet_pton(socket.AF_INET6, host))


def canonical(address: bytes) -> bytes:
    """Convert an IPv4-mapped IPv6 address to IPv4; others are unchanged."""
    return address[12:] if address[:12] == _MAPPED else address


def make_source_key(prefixes: Prefixes) -> Callable[[bytes], bytes]:
    """
    Make the function that maps an address to the key of its source.

    The key is the address with the bits after the prefix set to 0. Its length still
    identifies the family, so IPv4 and IPv6 keys never collide. A link-local address is
    its own source: all hosts of a link have the same prefix (RFC 4291, 2.5.6).
    """
    ipv4 = _make_cut(prefixes.ipv4, _IPV4_BYTES)
    ipv6 = _make_cut(prefixes.ipv6, _IPV6_BYTES)

    def source_key(address: bytes) -> bytes:
        if len(address) == _IPV4_BYTES:
            return address if ipv4 is None else ipv4(address)
        is_link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
        return address if ipv6 is None or is_link_local else ipv6(address)

    return source_key


def _make_cut(bits: int, size: int) -> Callable[[bytes], bytes] | None:
    """Make the function that clears the bits after a prefix; C{None} if there are none."""
    whole, rest = divmod(bits, 8)
    if whole == size:
        return None
    if not rest:
        zeros = bytes(size - whole)
        return lambda address: address[:whole] + zeros
    mask, zeros = 0xFF00 >> rest & 0xFF, bytes(size - whole - 1)
    return lambda address: address[:whole] + bytes((address[whole] & mask,)) + zeros


class Networks:
    """The networks that are allowed and denied."""

    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        allow, deny = tuple(allow), tuple(deny)
        self._is_open = not deny and set(ANY) <= set(allow)
        verdicts = [(network, True) for network in allow]
        # The later of two equal networks wins, so a tie is a denial.
        verdicts += [(network, False) for network in deny]
        self._tables = {
            _IPV4_BYTES: _by_length(verdicts, 4),
            _IPV6_BYTES: _by_length(verdicts, 6),
        }

    def admits(self, address: bytes) -> bool:
        """
        Say whether an address is allowed: the longest matching prefix decides, and no
        match is a denial.
        """
        if self._is_open:
            return True
        number = int.from_bytes(address, "big")
        for shift, verdicts in self._tables[len(address)]:
            verdict = verdicts.get(number >> shift)
            if verdict is not None:
                return verdict
        return False


def _by_length(
    verdicts: Iterable[tuple[Network, bool]], version: int
) -> list[tuple[int, dict[int, bool]]]:
    """
    Group the networks of one family by prefix length, the longest first.

    @return: pairs of the host bits to shift out and the verdict by prefix.
    """
    tables: dict[int, dict[int, bool]] = {}
    for network, verdict in verdicts:
        if network.version == version:
            shift = network.max_prefixlen - network.prefixlen
            tables.setdefault(shift, {})[int(network.network_address) >> shift] = verdict
    return sorted(tables.items())


@frozen
class Ban:
    """
    The ban of one network.

    @ivar network: the banned network.
    @ivar ends: when the ban expires, on the clock of L{Bans}; C{None}: never.
    """

    network: Network
    ends: float | None


class BansFull(Exception):
    """The table of bans is full."""


class Bans:
    """
    The networks that the operator has banned.

    L{add} fails when the table is full; it never evicts a ban.
    """

    def __init__(self, clock: Clock, max_entries: int = MAX_BANS) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._bans: dict[Network, Ban] = {}
        # By address size, then by the host bits to shift out; then by prefix.
        self._tables: dict[int, dict[int, dict[int, Ban]]] = {_IPV4_BYTES: {}, _IPV6_BYTES: {}}

    def __len__(self) -> int:
        """Count the bans in the table, including expired ones not yet swept."""
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
        size, shift, prefix = _place(network)
        self._tables[size].setdefault(shift, {})[prefix] = ban
        return ban

    def remove(self, network: Network) -> bool:
        """
        Remove a ban.

        @return: whether there was one that had not expired.
        """
        ban = self._bans.pop(network, None)
        if ban is None:
            return False
        size, shift, prefix = _place(network)
        del self._tables[size][shift][prefix]
        if not self._tables[size][shift]:
            del self._tables[size][shift]
        return not self._is_over(ban)

    def sweep(self) -> bool:
        """
        Remove the expired bans.

        @return: whether there were any.
        """
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


def _place(network: Network) -> tuple[int, int, int]:
    """
    Compute the table position of a network.

    @return: the address size in bytes, the host bits to shift out, and the prefix.
    """
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, shift, int(network.network_address) >> shift


class Bucket:
    """
    A token bucket (GCRA: ITU-T I.371, annex A).

    The only state is the theoretical arrival time of the next event.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        """
        @param rate: tokens per second.
        @param burst: the bucket size; less than 1 counts as 1, because no limit may
            disable a service.
        """
        self._interval = 1.0 / rate
        self._tolerance = (max(burst, 1.0) - 1.0 + SLACK) * self._interval
        self._clock = clock
        self._due = 0.0

    def take(self) -> bool:
        """Consume one token, if available."""
        return self.spend(self._clock())

    def spend(self, now: float) -> bool:
        """Consume one token, if available, at a time that the caller has already read."""
        due = self._due
        if due - now > self._tolerance:
            return False
        self._due = (due if due > now else now) + self._interval
        return True


class Buckets:
    """
    A token bucket for each key.

    The table is bounded: a new key evicts the least recently used one. Keys are bytes,
    which CPython hashes with a random key per process (PEP 456), so a peer cannot choose
    colliding keys.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Clock,
        max_entries: int = MAX_SOURCES,
        leak: float = 0.0,
        random: Callable[[], float] = random,
    ) -> None:
        """
        @param rate: tokens per second, for each key.
        @param burst: the bucket size; less than 1 counts as 1.
        @param leak: the probability that an event over the limit is allowed, so that
            spoofing an address cannot lock out its owner (as in chrony: ratelimit, leak).
        @param random: returns numbers in [0, 1).
        """
        self._interval = 1.0 / rate
        self._tolerance = (max(burst, 1.0) - 1.0 + SLACK) * self._interval
        self._clock = clock
        self._max_entries = max_entries
        self._leak = leak
        self._random = random
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Count the keys in the table."""
        return len(self._due)

    def take(self, key: bytes) -> bool:
        """Consume one token; over the limit, allow it with probability C{leak}."""
        return self.spend(key, self._clock()) or self.leaks()

    def spend(self, key: bytes, now: float) -> bool:
        """
        Consume one token of a key, if available, at a time that the caller has already
        read; C{leak} is not applied.
        """
        table = self._due
        due = table.get(key)
        if due is None:
            table[key] = now + self._interval
            if len(table) > self._max_entries:
                table.popitem(last=False)
            return True
        table.move_to_end(key)
        if due - now > self._tolerance:
            return False
        table[key] = (due if due > now else now) + self._interval
        return True

    def leaks(self) -> bool:
        """Decide at random whether an event over the limit is allowed."""
        return self._random() < self._leak


class Sources:
    """The connection quota and rate limit per source."""

    def __init__(
        self,
        max_per_source: int | None,
        rate: float | None,
        burst: float,
        prefixes: Prefixes,
        clock: Clock,
    ) -> None:
        """
        @param max_per_source: open connections per source; C{None}: no limit.
        @param rate: connections per second; C{None}: no limit.
        @param burst: the bucket size of the rate limit.
        @param prefixes: prefix lengths that define a source.
        """
        self._max_per_source = max_per_source
        self._rates = None if rate is None else Buckets(rate, burst, clock)
        self._cut = make_source_key(prefixes)
        # Bounded by the capacity: each entry has at least one open connection.
        self._inside: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Count the sources that have open connections."""
        return len(self._inside)

    def key(self, address: bytes) -> bytes:
        """Return the key of the source that an address belongs to."""
        return self._cut(address)

    def enter(self, key: bytes) -> str | None:
        """
        Take one slot, if the limits allow it.

        @return: C{None} on success, and L{leave} frees the slot; else L{SOURCE_LIMIT} or
            L{SOURCE_RATE}.
        """
        inside = self._inside.get(key, 0)
        if self._max_per_source is not None and inside >= self._max_per_source:
            return SOURCE_LIMIT
        if self._rates is not None and not self._rates.take(key):
            return SOURCE_RATE
        self._inside[key] = inside + 1
        return None

    def keep(self, key: bytes) -> None:
        """Take one slot for a connection that is already open, regardless of the limits."""
        self._inside[key] = self._inside.get(key, 0) + 1

    def leave(self, key: bytes) -> None:
        """
        Free one slot.

        @raise KeyError: when the source has none.
        """
        inside = self._inside[key] - 1
        if inside:
            self._inside[key] = inside
        else:
            del self._inside[key]


class Capacity:
    """
    A limit on open connections, on which callers can wait.

    Hysteresis: once full, it is saturated until the occupancy falls to L{RESUME} percent,
    for every caller; otherwise a port that never waits starves those that do.
    """

    def __init__(self, limit: int | None, parent: Capacity | None = None) -> None:
        """
        @param limit: at least 1; C{None}: no limit.
        @param parent: a shared capacity; while it is full, all its children are full.
        @raise ValueError: when the limit is less than 1.
        """
        self._limit = _checked(limit)
        self._chain: tuple[Capacity, ...] = (self, *(parent._chain if parent else ()))
        self._occupancy = 0
        self._is_saturated = False
        self._waiting: OrderedDict[tuple[Capacity, Callable[[], None]], None] = OrderedDict()
        self._first: tuple[Capacity, Callable[[], None]] | None = None

    @property
    def limit(self) -> int | None:
        """
        The limit; lowering it does not close open connections.

        @raise ValueError: when it is set to less than 1.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = _checked(limit)
        self._is_saturated = limit is not None and self._occupancy >= limit
        self._wake()

    @property
    def occupancy(self) -> int:
        """The number of open connections."""
        return self._occupancy

    @property
    def is_full(self) -> bool:
        """Whether this capacity or a parent is saturated."""
        return any(capacity._is_saturated for capacity in self._chain)

    def enter(self) -> None:
        """Count one connection in, even over the limit: it is already accepted."""
        for capacity in self._chain:
            capacity._occupancy += 1
            limit = capacity._limit
            if limit is not None and capacity._occupancy >= limit:
                capacity._is_saturated = True

    def leave(self) -> None:
        """
        Count one connection out, and wake the waiters if that ends the saturation.

        @raise ValueError: when there are no open connections.
        """
        if not self._occupancy:
            raise ValueError("nobody is in")
        for capacity in self._chain:
            capacity._occupancy -= 1
        for capacity in self._chain:
            limit = capacity._limit
            if limit is not None and capacity._occupancy <= limit * RESUME // 100:
                capacity._is_saturated = False
                capacity._wake()

    def when_available(self, callback: Callable[[], None]) -> None:
        """
        Call once when there is capacity, immediately if there is some now; a callback
        that is already waiting keeps its position.

        If one waiter saturates it again while being called, those after it keep their
        positions.
        """
        waiter = (self, callback)
        if any(waiter in capacity._waiting for capacity in self._chain):
            return
        for capacity in self._chain:
            if capacity._is_saturated:
                capacity._waiting[waiter] = None
                return
        callback()

    def forget(self, callback: Callable[[], None]) -> None:
        """Cancel a waiting callback; nothing happens if it does not wait."""
        waiter = (self, callback)
        for capacity in self._chain:
            capacity._waiting.pop(waiter, None)
            if capacity._first == waiter:
                capacity._first = None

    def _wake(self) -> None:
        """
        Call the waiters while there is capacity; an error in one of them is raised after
        the others have been called.
        """
        self._rotate()
        problems = []
        while self._waiting and not self._is_saturated:
            (child, callback), _ = self._waiting.popitem(last=False)
            try:
                child.when_available(callback)
            except Exception as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _rotate(self) -> None:
        """Rotate the waiters (round robin) so that the head does not take every freed slot."""
        first = next(iter(self._waiting), None)
        if first is not None and first == self._first:
            self._waiting.move_to_end(first)
            first = next(iter(self._waiting))
        self._first = first


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ValueError("a limit is at least 1")
    return limit
