"""Rate limits (token buckets), and the connection quota per source."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from socketd.access.addresses import make_source_key
from socketd.settings.networks import Prefixes

#: Entries of a rate limit table, about 1 MB; chrony has as many.
MAX_SOURCES = 4096

#: Tolerance, as a fraction of the interval: sums of floats are not exact, and a burst of
#: 20 must allow 20.
SLACK = 0.001

#: Why a connection or datagram is rejected.
SOURCE_LIMIT = "source_limit"
SOURCE_RATE = "source_rate"

#: Returns monotonic seconds.
Clock = Callable[[], float]


class Buckets:
    """
    A token bucket for each key (GCRA: ITU-T I.371, annex A); the only state of one is the
    theoretical arrival time of its next event.

    The table is bounded: a new key evicts the least recently used one. Keys are bytes,
    which CPython hashes with a random key per process (PEP 456), so a peer cannot choose
    colliding keys.
    """

    def __init__(self, rate: float, burst: float, max_entries: int = MAX_SOURCES) -> None:
        """
        @param rate: tokens per second, for each key.
        @param burst: the bucket size; less than 1 counts as 1, because no limit may
            disable a service.
        """
        self._interval = 1.0 / rate
        self._tolerance = (max(burst, 1.0) - 1.0 + SLACK) * self._interval
        self._max_entries = max_entries
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def spend(self, key: bytes, now: float) -> bool:
        """Consume one token of a key, if available."""
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
        @param prefixes: prefix lengths that define a source.
        """
        self._max_per_source = max_per_source
        self._rates = None if rate is None else Buckets(rate, burst)
        self._clock = clock
        #: Returns the key of the source that an address belongs to.
        self.key = make_source_key(prefixes)
        # Bounded by the capacity: each entry has at least one open connection.
        self._inside: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._inside)

    def enter(self, key: bytes) -> str | None:
        """
        Take one slot, if the limits allow it; L{leave} frees it.

        @return: why not: L{SOURCE_LIMIT}, L{SOURCE_RATE}, or C{None}.
        """
        inside = self._inside.get(key, 0)
        if self._max_per_source is not None and inside >= self._max_per_source:
            return SOURCE_LIMIT
        if self._rates is not None and not self._rates.spend(key, self._clock()):
            return SOURCE_RATE
        self._inside[key] = inside + 1
        return None

    def readmit(self, key: bytes) -> None:
        """Take one slot for a connection that is already open, regardless of the limits."""
        self._inside[key] = self._inside.get(key, 0) + 1

    def leave(self, key: bytes) -> None:
        """Free one slot."""
        inside = self._inside[key] - 1
        if inside:
            self._inside[key] = inside
        else:
            del self._inside[key]
