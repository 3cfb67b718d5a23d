"""
Who may come in: networks, rates, sources, and how many at once.

Addresses are packed: 4 bytes or 16, in network order. A clock is any callable that
gives monotonic seconds.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import random

from attrs import frozen

from socketd.settings.networks import ANY, Network, Prefixes

#: Sources that a table of rates remembers, about 1 MB; chrony remembers as many.
MAX_SOURCES = 4096

#: A full capacity has room again when so many of a hundred places are taken, so that
#: accepting is not stopped and resumed for every single connection.
RESUME = 95

#: How much too early one may come (of the time between two): sums of floats are not
#: exact, and a burst of 20 has to be 20.
SLACK = 0.001

#: More networks than anybody bans by hand; each address is looked up once for each
#: length of prefix that there is among them.
MAX_BANS = 1024

#: Why a source may not come in.
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
    Pack an address; one that is IPv4 in IPv6 becomes IPv4, and a scope is cut.

    @param host: as the kernel names it: C{192.0.2.1}, C{::ffff:192.0.2.1} or
        C{fe80::1%eth0}.
    @raise OSError: when it is no address.
    """
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    if "%" in host:
        host = host[: host.index("%")]
    return canonical(socket.inet_pton(socket.AF_INET6, host))


def canonical(address: bytes) -> bytes:
    """
    Write an IPv4-mapped IPv6 address as the IPv4 address that it is.
    """
    return address[12:] if address[:12] == _MAPPED else address


def make_source_key(prefixes: Prefixes) -> Callable[[bytes], bytes]:
    """
    Make what names the source that an address belongs to.

    The name is the address with all other bits 0. Its length still tells the
    family, so that no IPv4 source is taken for one of IPv6. A link-local address is a
    source by itself: all hosts of a link have the same prefix (RFC 4291, 2.5.6).
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
    """
    Make what keeps so many bits; C{None} when it would keep all.
    """
    whole, rest = divmod(bits, 8)
    if whole == size:
        return None
    if not rest:
        zeros = bytes(size - whole)
        return lambda address: address[:whole] + zeros
    mask, zeros = 0xFF00 >> rest & 0xFF, bytes(size - whole - 1)
    return lambda address: address[:whole] + bytes((address[whole] & mask,)) + zeros


class Networks:
    """
    Networks that are served, and networks that are not.
    """

    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        allow, deny = tuple(allow), tuple(deny)
        self._is_open = not deny and set(ANY) <= set(allow)
        verdicts = [(network, True) for network in allow]
        # Of two that are the same the later one stays: a tie is a refusal.
        verdicts += [(network, False) for network in deny]
        self._tables = {
            _IPV4_BYTES: _by_length(verdicts, 4),
            _IPV6_BYTES: _by_length(verdicts, 6),
        }

    def admits(self, address: bytes) -> bool:
        """
        Say whether an address is served: the longest network that has it decides,
        and what is in none is refused.
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
    Sort networks of one family by their length, the longest first.

    @return: how many bits of an address to shift out, and what then decides.
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
    A network that is not served for a while.

    @ivar network: which one.
    @ivar ends: when it is served again, on the clock of L{Bans}; C{None}: never.
    """

    network: Network
    ends: float | None


class BansFull(Exception):
    """
    There is no place for one more ban.
    """


class Bans:
    """
    The networks that an operator has banned, by hand and for a while.

    A full table takes no more: a ban that made place for another one would be lifted
    behind the back of who wanted it.
    """

    def __init__(self, clock: Clock, max_entries: int = MAX_BANS) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._bans: dict[Network, Ban] = {}
        # By size of the address, then by how many of its bits to shift out.
        self._tables: dict[int, dict[int, dict[int, Ban]]] = {_IPV4_BYTES: {}, _IPV6_BYTES: {}}

    def __len__(self) -> int:
        """
        Count the bans that have not been swept away.
        """
        return len(self._bans)

    def add(self, network: Network, seconds: float | None = None) -> Ban:
        """
        Ban a network; an earlier ban of the same one is forgotten.

        @param seconds: for how long; C{None}: until it is lifted.
        @raise BansFull: when there are too many.
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
        Lift a ban.

        @return: whether there was one.
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
        Forget the bans that are over.

        @return: whether there were any.
        """
        over = [ban for ban in self._bans.values() if self._is_over(ban)]
        for ban in over:
            self.remove(ban.network)
        return bool(over)

    def admits(self, address: bytes) -> bool:
        """
        Say whether an address is in no banned network.
        """
        if not self._bans:
            return True
        number = int.from_bytes(address, "big")
        for shift, bans in self._tables[len(address)].items():
            ban = bans.get(number >> shift)
            if ban is not None and not self._is_over(ban):
                return False
        return True

    def current(self) -> list[Ban]:
        """
        List the bans, oldest first.
        """
        return [ban for ban in self._bans.values() if not self._is_over(ban)]

    def _is_over(self, ban: Ban) -> bool:
        return ban.ends is not None and self._clock() >= ban.ends


def _place(network: Network) -> tuple[int, int, int]:
    """
    Say how an address is found to be in a network.

    @return: its bytes, how many bits to shift out of it, and what is left then.
    """
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, shift, int(network.network_address) >> shift


class Bucket:
    """
    A rate for all together, with a burst (GCRA: ITU-T I.371, annex A).

    One number is kept: when the next one would be due if they came evenly.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        """
        @param rate: a number per second.
        @param burst: how many may come at once; less than 1 counts as 1, because
            no limit switches a service off.
        """
        self._interval = 1.0 / rate
        self._tolerance = (max(burst, 1.0) - 1.0 + SLACK) * self._interval
        self._clock = clock
        self._due = 0.0

    def take(self) -> bool:
        """
        Take one, if there is one.
        """
        return self.spend(self._clock())

    def spend(self, now: float) -> bool:
        """
        Take one, if there is one, at a time that the caller has read already.
        """
        due = self._due
        if due - now > self._tolerance:
            return False
        self._due = (due if due > now else now) + self._interval
        return True


class Buckets:
    """
    A rate for each key, with a burst.

    The table is bounded: the key that was not seen for the longest time makes place
    for a new one. Keys are bytes, which CPython hashes with a random key of the
    process (PEP 456), so that nobody outside can choose some that collide.
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
        @param rate: a number per second, for each key.
        @param burst: how many may come at once; less than 1 counts as 1.
        @param leak: how probable it is that one above the rate is let through. So
            somebody who forges the address of another cannot silence him (chrony
            does this: ratelimit, leak).
        @param random: gives numbers from 0 up to 1.
        """
        self._interval = 1.0 / rate
        self._tolerance = (max(burst, 1.0) - 1.0 + SLACK) * self._interval
        self._clock = clock
        self._max_entries = max_entries
        self._leak = leak
        self._random = random
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """
        Count the keys that are remembered.
        """
        return len(self._due)

    def take(self, key: bytes) -> bool:
        """
        Take one of a key, if there is one or luck will have it.
        """
        return self.spend(key, self._clock()) or self.leaks()

    def spend(self, key: bytes, now: float) -> bool:
        """
        Take one of a key, if there is one, at a time that the caller has read
        already; nothing leaks.
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
        """
        Draw whether one above the rate is let through.
        """
        return self._random() < self._leak


class Sources:
    """
    How many of one source may be in at once, and how often one may come.
    """

    def __init__(
        self,
        max_per_source: int | None,
        rate: float | None,
        burst: float,
        prefixes: Prefixes,
        clock: Clock,
    ) -> None:
        """
        @param max_per_source: how many at once; C{None}: no limit.
        @param rate: a number per second; C{None}: no limit.
        @param burst: how many may come at once, within the rate.
        @param prefixes: how many bits of an address make a source.
        """
        self._max_per_source = max_per_source
        self._rates = None if rate is None else Buckets(rate, burst, clock)
        self._cut = make_source_key(prefixes)
        # No bound of its own: who is in has a place of the capacity.
        self._inside: dict[bytes, int] = {}

    def __len__(self) -> int:
        """
        Count the sources that are in.
        """
        return len(self._inside)

    def key(self, address: bytes) -> bytes:
        """
        Name the source that an address belongs to.
        """
        return self._cut(address)

    def enter(self, key: bytes) -> str | None:
        """
        Ask for one place.

        @return: C{None} when it is given; L{leave} gives it back. Else
            L{SOURCE_LIMIT} or L{SOURCE_RATE}.
        """
        inside = self._inside.get(key, 0)
        if self._max_per_source is not None and inside >= self._max_per_source:
            return SOURCE_LIMIT
        if self._rates is not None and not self._rates.take(key):
            return SOURCE_RATE
        self._inside[key] = inside + 1
        return None

    def keep(self, key: bytes) -> None:
        """
        Give one place to who is in already, whatever the limits.
        """
        self._inside[key] = self._inside.get(key, 0) + 1

    def leave(self, key: bytes) -> None:
        """
        Give one place back.

        @raise KeyError: when the source has none.
        """
        inside = self._inside[key] - 1
        if inside:
            self._inside[key] = inside
        else:
            del self._inside[key]


class Capacity:
    """
    How many may be in at once; whoever finds it full can wait for room.

    Once full it counts as full until it has fallen to L{RESUME}, also for who did
    not wait: else a listener that is never told of it would take each place that
    gets free, and one that waits would wait for ever.
    """

    def __init__(self, limit: int | None, parent: Capacity | None = None) -> None:
        """
        @param limit: at least 1; C{None}: no limit.
        @param parent: what is full for all its children when it is full.
        @raise ValueError: when nobody would ever come in.
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
        How many may be in; who is in when it is lowered may stay.

        @raise ValueError: when it is set so that nobody would ever come in.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = _checked(limit)
        self._is_saturated = limit is not None and self._occupancy >= limit
        self._wake()

    @property
    def occupancy(self) -> int:
        """
        How many are in.
        """
        return self._occupancy

    @property
    def is_full(self) -> bool:
        """
        Whether nobody should come in now, here or at a parent.
        """
        return any(capacity._is_saturated for capacity in self._chain)

    def enter(self) -> None:
        """
        Count one in. It is counted even when it is full: it has come already.
        """
        for capacity in self._chain:
            capacity._occupancy += 1
            limit = capacity._limit
            if limit is not None and capacity._occupancy >= limit:
                capacity._is_saturated = True

    def leave(self) -> None:
        """
        Count one out, and tell who waits when that makes room.

        @raise ValueError: when nobody is in.
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
        Call once when there is room, at once when there is; one that waits already
        keeps its place.

        If one of several fills it again while it is called, those after it
        keep theirs.
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
        """
        Do not call one that waits, if it does.
        """
        waiter = (self, callback)
        for capacity in self._chain:
            capacity._waiting.pop(waiter, None)
            if capacity._first == waiter:
                capacity._first = None

    def _wake(self) -> None:
        """
        Tell who waits while there is room; an error in one is raised when all
        others have been told.
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
        """
        Let another one be the first this time: the first takes what there is, and
        is the first to wait again.
        """
        first = next(iter(self._waiting), None)
        if first is not None and first == self._first:
            self._waiting.move_to_end(first)
            first = next(iter(self._waiting))
        self._first = first


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ValueError("a limit is at least 1")
    return limit
