"""Tests for L{socketd.access.rates}."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.bans import BANNED
from socketd.access.rates import MAX_SOURCES, SOURCE_LIMIT, SOURCE_RATE, Buckets, Sources
from socketd.settings.networks import Prefixes


class BucketsTests(SynchronousTestCase):
    """Tests for L{Buckets}."""

    def setUp(self) -> None:
        self.clock = Clock()
        # A machine that was started a year ago: floats are coarser there.
        self.clock.advance(365 * 86400.0)

    def bucket(self, rate: float, burst: float) -> Callable[[], bool]:
        """Make a function that takes from one bucket."""
        return partial(self.take, Buckets(rate, burst), b"key")

    def take(self, buckets: Buckets, key: bytes) -> bool:
        """Take from the bucket of a key now."""
        return buckets.spend(key, self.clock.seconds())

    def test_burst(self) -> None:
        """As many as the burst come at once, and not one more."""
        for rate, burst in ((1.0, 8), (10.0, 20), (10 / 3600, 3), (5000.0, 5000), (7.0, 1)):
            take = self.bucket(rate, burst)
            self.assertEqual([take() for _ in range(burst)], [True] * burst)
            self.assertEqual([take() for _ in range(3)], [False] * 3)

    def test_rate(self) -> None:
        """After the burst there is one for each interval, not before it is over."""
        take = self.bucket(2.0, 4)
        while take():
            pass
        for _ in range(20):
            self.clock.advance(0.49)
            self.assertFalse(take())
            self.clock.advance(0.01)
            self.assertEqual([take(), take()], [True, False])

    def test_rest(self) -> None:
        """A rest restores the burst, and no more than the burst."""
        take = self.bucket(2.0, 4)
        while take():
            pass
        self.clock.advance(1.0)
        self.assertEqual([take() for _ in range(3)], [True, True, False])
        self.clock.advance(1000.0)
        self.assertEqual([take() for _ in range(5)], [True] * 4 + [False])

    def test_long_run(self) -> None:
        """Over a long time a source gets the rate times the time, and the burst."""
        take, taken = self.bucket(10.0, 5), 0
        for _ in range(1000):
            taken += take()
            self.clock.advance(0.0101)
        self.assertIn(taken, (105, 106))

    def test_small_burst(self) -> None:
        """A burst of less than one still lets one come."""
        take = self.bucket(1.0, 0.0)
        self.assertEqual([take(), take()], [True, False])
        self.clock.advance(1.0)
        self.assertTrue(take())

    def test_at_boot(self) -> None:
        """A machine whose clock has just begun at 0 has the burst, and no more."""
        self.clock = Clock()
        take = self.bucket(0.1, 2)
        self.assertEqual([take() for _ in range(3)], [True, True, False])

    def test_keys(self) -> None:
        """What one key takes is not taken from another."""
        buckets = Buckets(1.0, 2)
        self.assertEqual([self.take(buckets, b"a") for _ in range(3)], [True, True, False])
        self.assertEqual([self.take(buckets, b"b") for _ in range(3)], [True, True, False])

    def test_spend(self) -> None:
        """A time that was read before is as good."""
        now = self.clock.seconds()
        buckets = Buckets(1.0, 1)
        found = [buckets.spend(b"a", now + later) for later in (0.0, 0.5, 1.0, 1.5, 2.0)]
        self.assertEqual(found, [True, False, True, False, True])

    def test_bound(self) -> None:
        """The table does not grow beyond its bound."""
        buckets = Buckets(1.0, 1)
        for number in range(3 * MAX_SOURCES):
            self.take(buckets, number.to_bytes(4, "big"))
            self.assertTrue(len(buckets) <= MAX_SOURCES)
        self.assertEqual(len(buckets), MAX_SOURCES)

    def test_least_recent(self) -> None:
        """The least recently used key is evicted; a refused event is a use."""
        buckets = Buckets(1.0, 1, max_entries=3)
        for key in (b"a", b"b", b"c"):
            self.assertTrue(self.take(buckets, key))
        self.assertFalse(self.take(buckets, b"a"))
        self.assertTrue(self.take(buckets, b"d"))
        self.assertEqual([self.take(buckets, key) for key in (b"a", b"c", b"d")], [False] * 3)
        self.assertTrue(self.take(buckets, b"b"))


class ReasonTests(SynchronousTestCase):
    """Tests for why a source may not come in."""

    def test_words(self) -> None:
        """The reasons are the words that logs and metrics have: alerts depend on them."""
        found = (BANNED, SOURCE_LIMIT, SOURCE_RATE)
        self.assertEqual(found, ("banned", "source_limit", "source_rate"))


class SourcesTests(SynchronousTestCase):
    """Tests for L{Sources}."""

    def setUp(self) -> None:
        self.clock = Clock()

    def sources(self, most: int | None, rate: float | None, burst: float = 1) -> Sources:
        """Make some."""
        return Sources(most, rate, burst, Prefixes(), self.clock.seconds)

    def test_limit(self) -> None:
        """
        A source that has all its places has to give one back first; another source
        does not feel it.
        """
        sources = self.sources(2, None)
        one, other = sources.key(packed("192.0.2.1")), sources.key(packed("192.0.2.2"))
        self.assertEqual([sources.enter(one) for _ in range(3)], [None, None, SOURCE_LIMIT])
        self.assertIsNone(sources.enter(other))
        sources.leave(one)
        self.assertEqual([sources.enter(one) for _ in range(2)], [None, SOURCE_LIMIT])

    def test_rate(self) -> None:
        """A source that comes too often waits for its rate; another one does not."""
        sources = self.sources(None, 10.0, 3)
        found = [sources.enter(b"a") for _ in range(4)]
        self.assertEqual(found, [None, None, None, SOURCE_RATE])
        self.assertIsNone(sources.enter(b"b"))
        self.clock.advance(0.1)
        self.assertEqual([sources.enter(b"a"), sources.enter(b"a")], [None, SOURCE_RATE])

    def test_rate_is_not_given_back(self) -> None:
        """To leave gives a place back, not the right to come at once."""
        sources = self.sources(5, 1.0, 1)
        self.assertIsNone(sources.enter(b"a"))
        sources.leave(b"a")
        self.assertEqual(sources.enter(b"a"), SOURCE_RATE)

    def test_refused_are_not_counted(self) -> None:
        """A refused connection takes neither a slot nor a token."""
        sources = self.sources(1, 1.0, 2)
        found = [sources.enter(b"a") for _ in range(9)]
        self.assertEqual(found, [None] + [SOURCE_LIMIT] * 8)
        sources.leave(b"a")
        self.assertEqual([sources.enter(b"a"), len(sources)], [None, 1])
        sources.leave(b"a")
        self.assertEqual([sources.enter(b"a"), len(sources)], [SOURCE_RATE, 0])

    def test_no_limits(self) -> None:
        """None for a limit means none."""
        sources = self.sources(None, None)
        self.assertEqual({sources.enter(b"a") for _ in range(5000)}, {None})

    def test_one_network(self) -> None:
        """The addresses of an IPv6 /64 are one source, an IPv4-mapped one is IPv4."""
        sources = self.sources(1, None)
        hosts = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "192.0.2.1",
                 "::ffff:192.0.2.1", "192.0.2.2"]  # fmt: skip
        found = [sources.enter(sources.key(packed(host))) for host in hosts]
        self.assertEqual(found, [None, SOURCE_LIMIT, None, None, SOURCE_LIMIT, None])

    def test_live_only(self) -> None:
        """The table has the sources with open connections, and no other."""
        sources = self.sources(2, None)
        keys = [number.to_bytes(4, "big") for number in range(1000)]
        for key in keys * 2:
            self.assertIsNone(sources.enter(key))
        self.assertEqual(len(sources), 1000)
        for key in keys * 2:
            sources.leave(key)
        self.assertEqual(len(sources), 0)

    def test_leave_without_place(self) -> None:
        """To free a slot that was not taken is an error."""
        sources = self.sources(2, None)
        self.assertRaises(KeyError, sources.leave, b"a")
        self.assertIsNone(sources.enter(b"a"))
        sources.leave(b"a")
        self.assertRaises(KeyError, sources.leave, b"a")

    def test_readmit(self) -> None:
        """
        An open connection gets a slot regardless of the limits, and it counts as any other:
        it keeps others out, and can be given back, once.
        """
        sources = self.sources(2, 1.0, 1)
        for _ in range(3):
            sources.readmit(b"a")
        self.assertEqual((sources.enter(b"a"), len(sources)), (SOURCE_LIMIT, 1))
        sources.leave(b"a")
        self.assertEqual(sources.enter(b"a"), SOURCE_LIMIT)
        sources.leave(b"a")
        # Those that were kept had no turn of the rate.
        self.assertEqual([sources.enter(b"a"), sources.enter(b"a")], [None, SOURCE_LIMIT])
        for _ in range(2):
            sources.leave(b"a")
        self.assertRaises(KeyError, sources.leave, b"a")
