"""Tests for L{socketd.access.rates}."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import canonical, make_source_key, packed
from socketd.access.bans import BANNED, Bans, BansFull
from socketd.access.capacity import Capacity
from socketd.access.networks import Networks
from socketd.access.rates import MAX_SOURCES, SOURCE_LIMIT, SOURCE_RATE, Bucket, Buckets, Sources
from socketd.settings.networks import ANY, INTERNAL, Prefixes, parse_networks

#: How the kernel names an address, and its bytes.
HOSTS = [
    ("0.0.0.0", "00000000"),
    ("192.0.2.1", "c0000201"),
    ("255.255.255.255", "ffffffff"),
    ("::ffff:192.0.2.1", "c0000201"),
    ("::ffff:0.0.0.0", "00000000"),
    ("::", "00" * 16),
    ("::1", "00" * 15 + "01"),
    ("::192.0.2.1", "00" * 12 + "c0000201"),
    ("::fffe:192.0.2.1", "00" * 10 + "fffec0000201"),
    ("1::ffff:192.0.2.1", "0001" + "00" * 8 + "ffffc0000201"),
    ("fe80::1%eth0", "fe80" + "00" * 13 + "01"),
    ("fe80::1%4", "fe80" + "00" * 13 + "01"),
    ("fe80::1%a%b", "fe80" + "00" * 13 + "01"),
    ("::ffff:192.0.2.1%eth0", "c0000201"),
    ("2001:db8::1", "20010db8" + "00" * 11 + "01"),
]

#: What no kernel names.
NO_HOSTS = [
    "", "unix", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", ":", "%eth0", "1:2", "::1 "
]  # fmt: skip

#: Allowed, denied, who is admitted, who is refused.
NETWORKS = [
    ("any", "", "192.0.2.1 ::1 2001:db8::1 255.255.255.255", ""),
    ("", "", "", "192.0.2.1 ::1 127.0.0.1"),
    ("", "any", "", "192.0.2.1 ::1"),
    ("any", "any", "", "192.0.2.1 ::1"),
    ("0.0.0.0/0", "", "192.0.2.1 ::ffff:192.0.2.1", "::1"),
    ("::/0", "", "::1", "192.0.2.1 ::ffff:192.0.2.1"),
    ("loopback", "", "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1",
     "126.255.255.255 128.0.0.0 ::2"),
    ("private", "", "10.1.2.3 172.31.255.255 fe80::1%eth0 fd00::1 100.64.0.1 100.127.255.255",
     "172.32.0.0 11.0.0.0 fec0::1 100.63.255.255 100.128.0.0"),
    ("any", "192.0.2.0/24", "192.0.1.255 192.0.3.0 ::1", "192.0.2.0 192.0.2.255"),
    # The longer match wins, whichever list it is in.
    ("192.0.2.7", "192.0.2.0/24", "192.0.2.7", "192.0.2.6 192.0.2.8"),
    ("any, 192.0.2.64/26", "192.0.2.0/24, 192.0.2.65", "192.0.2.64 192.0.2.127",
     "192.0.2.63 192.0.2.65 192.0.2.128"),
    ("2001:db8:1::/48", "2001:db8::/32", "2001:db8:1::1", "2001:db8:2::1"),
    # A tie is a refusal.
    ("192.0.2.0/24", "192.0.2.0/24", "", "192.0.2.1"),
    ("any, 192.0.2.7", "192.0.2.7", "192.0.2.6", "192.0.2.7"),
    # Networks that are IPv4 in IPv6 are IPv4 networks.
    ("::ffff:192.0.2.0/120", "", "192.0.2.9 ::ffff:192.0.2.9", "192.0.3.1"),
    # The same bits in the other family are another network.
    ("2001:db8::/32", "", "2001:db8::1", "32.1.13.184"),
]  # fmt: skip

#: Prefixes, address, and the address that names its source.
KEYS = [
    (Prefixes(), "192.0.2.1", "192.0.2.1"),
    (Prefixes(), "::ffff:192.0.2.1", "192.0.2.1"),
    (Prefixes(), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
    # All hosts of a link have the same prefix.
    (Prefixes(), "fe80::1%eth0", "fe80::1"),
    (Prefixes(24, 48), "febf::1", "febf::1"),
    (Prefixes(), "fec0::1", "fec0::"),
    (Prefixes(24, 48), "192.0.2.255", "192.0.2.0"),
    (Prefixes(24, 48), "2001:db8:1:2::1", "2001:db8:1::"),
    (Prefixes(25, 50), "192.0.2.255", "192.0.2.128"),
    (Prefixes(25, 50), "192.0.2.127", "192.0.2.0"),
    (Prefixes(25, 50), "2001:db8:1:ffff::1", "2001:db8:1:c000::"),
    (Prefixes(1, 1), "192.0.2.255", "128.0.0.0"),
    (Prefixes(1, 1), "ffff::1", "8000::"),
    (Prefixes(31, 127), "192.0.2.255", "192.0.2.254"),
    (Prefixes(31, 127), "::ff", "::fe"),
    (Prefixes(32, 128), "::ff", "::ff"),
    # IPv4 and IPv6 prefixes of as many bits.
    (Prefixes(32, 32), "32.1.13.184", "32.1.13.184"),
    (Prefixes(32, 32), "2001:db8::1", "2001:db8::"),
]


class Calls:
    """Makes waiters that write down when they are called."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def waiter(self, name: str, then: Any = None) -> Any:
        """
        Make one.

        @param then: what it does besides.
        """

        def call() -> None:
            self.made.append(name)
            if then is not None:
                then()

        return call


def fill(capacity: Capacity, count: int) -> None:
    """Let so many in."""
    for _ in range(count):
        capacity.enter()


def leave(capacity: Capacity, count: int) -> None:
    """Let so many go."""
    for _ in range(count):
        capacity.leave()


class PackedTests(SynchronousTestCase):
    """Tests for L{packed} and L{canonical}."""

    def test_hosts(self) -> None:
        """Addresses are packed, without scope, and IPv4 in IPv6 as IPv4."""
        found = [(host, packed(host).hex()) for host, _ in HOSTS]
        self.assertEqual(found, HOSTS)

    def test_no_hosts(self) -> None:
        """What is no address is refused."""
        for host in NO_HOSTS:
            self.assertRaises(OSError, packed, host)

    @given(some.ip_addresses())
    @settings(max_examples=50, deadline=None)
    def test_any(self, address: Any) -> None:
        """Every address is packed as the standard library packs it."""
        mapped = getattr(address, "ipv4_mapped", None)
        self.assertEqual(packed(str(address)), (mapped or address).packed)

    def test_canonical(self) -> None:
        """Only an IPv4-mapped address is changed."""
        mapped = ip_address("::ffff:192.0.2.1").packed
        self.assertEqual(canonical(mapped), packed("192.0.2.1"))
        for host in ("192.0.2.1", "::1", "::192.0.2.1"):
            self.assertEqual(canonical(ip_address(host).packed), ip_address(host).packed)


class NetworksTests(SynchronousTestCase):
    """Tests for L{Networks}."""

    def test_table(self) -> None:
        """The longer match wins, a tie is a refusal, what matches nothing is refused."""
        for allow, deny, admitted, refused in NETWORKS:
            networks = Networks(parse_networks(allow), parse_networks(deny))
            for host in admitted.split():
                self.assertTrue(networks.admits(packed(host)), (allow, deny, host))
            for host in refused.split():
                self.assertFalse(networks.admits(packed(host)), (allow, deny, host))

    @given(
        some.lists(some.tuples(some.booleans(), some.integers(0, 15), some.integers(0, 4))),
        some.integers(0, 15),
    )
    @settings(max_examples=100, deadline=None)
    def test_as_by_hand(self, lists: list[tuple[bool, int, int]], low: int) -> None:
        """The verdict is that of a search through all networks, one by one."""
        texts: dict[bool, list[str]] = {True: [], False: []}
        best, expected = -1, False
        for verdict, bits, length in lists:
            network = bits >> (4 - length) << (4 - length)
            texts[verdict].append(f"192.0.2.{network}/{28 + length}")
            if low >> (4 - length) == network >> (4 - length) and length >= best:
                expected = verdict and (expected or length > best)
                best = length
        networks = Networks(*(parse_networks(",".join(texts[key])) for key in (True, False)))
        self.assertEqual(networks.admits(packed(f"192.0.2.{low}")), expected)


class SourceKeyTests(SynchronousTestCase):
    """Tests for L{make_source_key}."""

    def test_table(self) -> None:
        """The bits behind the prefix are 0."""
        for prefixes, host, key in KEYS:
            found = make_source_key(prefixes)(packed(host))
            self.assertEqual(found, packed(key), (prefixes, host))

    def test_every_length(self) -> None:
        """Every length keeps as many bits as it says."""
        for bits in range(1, 33):
            key = make_source_key(Prefixes(bits, 64))(b"\xff" * 4)
            self.assertEqual(int.from_bytes(key, "big"), 2**32 - 2 ** (32 - bits))
        for bits in range(1, 129):
            key = make_source_key(Prefixes(32, bits))(b"\xff" * 16)
            self.assertEqual(int.from_bytes(key, "big"), 2**128 - 2 ** (128 - bits))


class BucketTests(SynchronousTestCase):
    """Tests for L{Bucket} and L{Buckets}: what is said of one is true of each key."""

    def setUp(self) -> None:
        self.clock = Clock()
        # A machine that was started a year ago: floats are coarser there.
        self.clock.advance(365 * 86400.0)

    def takers(self, rate: float, burst: float) -> list[Any]:
        """Make one of each."""
        buckets = Buckets(rate, burst, self.clock.seconds)
        bucket = Bucket(rate, burst)
        return [lambda: bucket.spend(self.clock.seconds()), lambda: buckets.take(b"key")]

    def test_burst(self) -> None:
        """As many as the burst come at once, and not one more."""
        for rate, burst in ((1.0, 8), (10.0, 20), (10 / 3600, 3), (5000.0, 5000), (7.0, 1)):
            for take in self.takers(rate, burst):
                self.assertEqual([take() for _ in range(burst)], [True] * burst)
                self.assertEqual([take() for _ in range(3)], [False] * 3)

    def test_rate(self) -> None:
        """After the burst there is one for each interval, not before it is over."""
        for take in self.takers(2.0, 4):
            while take():
                pass
            for _ in range(20):
                self.clock.advance(0.49)
                self.assertFalse(take())
                self.clock.advance(0.01)
                self.assertTrue(take())
                self.assertFalse(take())

    def test_rest(self) -> None:
        """A rest restores the burst, and no more than the burst."""
        for take in self.takers(2.0, 4):
            while take():
                pass
            self.clock.advance(1.0)
            self.assertEqual([take() for _ in range(3)], [True, True, False])
            self.clock.advance(1000.0)
            self.assertEqual([take() for _ in range(5)], [True] * 4 + [False])

    def test_long_run(self) -> None:
        """Whoever tries all the time gets the rate times the time, and the burst."""
        for take in self.takers(10.0, 5):
            taken = 0
            for _ in range(1000):
                taken += take()
                self.clock.advance(0.0101)
            self.assertIn(taken, (105, 106))

    def test_small_burst(self) -> None:
        """A burst of less than one still lets one come."""
        for take in self.takers(1.0, 0.0):
            self.assertEqual([take(), take()], [True, False])
            self.clock.advance(1.0)
            self.assertTrue(take())

    def test_at_boot(self) -> None:
        """A machine whose clock has just begun at 0 has the burst, and no more."""
        self.clock = Clock()
        for take in self.takers(0.1, 2):
            self.assertEqual([take() for _ in range(3)], [True, True, False])

    def test_keys(self) -> None:
        """What one key takes is not taken from another."""
        buckets = Buckets(1.0, 2, self.clock.seconds)
        self.assertEqual([buckets.take(b"a") for _ in range(3)], [True, True, False])
        self.assertEqual([buckets.take(b"b") for _ in range(3)], [True, True, False])

    def test_spend(self) -> None:
        """A time that was read before is as good, and nothing leaks."""
        now = self.clock.seconds()
        buckets = Buckets(1.0, 1, self.clock.seconds, leak=1.0)
        bucket = Bucket(1.0, 1)
        for spend in (bucket.spend, lambda now: buckets.spend(b"a", now)):
            found = [spend(now + later) for later in (0.0, 0.5, 1.0, 1.5, 2.0)]
            self.assertEqual(found, [True, False, True, False, True])

    def test_bound(self) -> None:
        """The table does not grow beyond its bound, whoever comes."""
        buckets = Buckets(1.0, 1, self.clock.seconds)
        for number in range(3 * MAX_SOURCES):
            buckets.take(number.to_bytes(4, "big"))
            self.assertTrue(len(buckets) <= MAX_SOURCES)
        self.assertEqual(len(buckets), MAX_SOURCES)

    def test_least_recent(self) -> None:
        """Who was not seen for the longest time makes place; to be refused is to be seen."""
        buckets = Buckets(1.0, 1, self.clock.seconds, max_entries=3)
        for key in (b"a", b"b", b"c"):
            self.assertTrue(buckets.take(key))
        self.assertFalse(buckets.take(b"a"))
        self.assertTrue(buckets.take(b"d"))
        self.assertEqual([buckets.take(key) for key in (b"a", b"c", b"d")], [False] * 3)
        self.assertTrue(buckets.take(b"b"))

    def test_leak(self) -> None:
        """
        One above the rate is let through when the lot falls below the leak; the lot
        is drawn for those only, and what leaks costs nothing.
        """
        lots = [0.25, 0.2499, 0.0, 0.9]
        buckets = Buckets(
            1.0, 1, self.clock.seconds, leak=0.25, random=lambda: lots.pop(0)
        )
        found = [buckets.take(b"a") for _ in range(5)]
        self.assertEqual((found, lots), ([True, False, True, True, False], []))
        self.clock.advance(1.0)
        self.assertTrue(buckets.take(b"a"))

    def test_no_leak(self) -> None:
        """Without a leak the lowest lot is refused as well."""
        buckets = Buckets(1.0, 1, self.clock.seconds, random=lambda: 0.0)
        self.assertEqual([buckets.take(b"a"), buckets.take(b"a")], [True, False])

    def test_share_that_leaks(self) -> None:
        """About one of four above the rate is let through."""
        lots = random.Random(7).random
        buckets = Buckets(1.0, 1, self.clock.seconds, leak=0.25, random=lots)
        found = sum(buckets.take(b"a") for _ in range(10_000))
        self.assertTrue(2300 < found < 2700, found)


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
        """Who is refused takes neither a place nor a turn."""
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
        """The table has those that are in, and nobody else."""
        sources = self.sources(2, None)
        keys = [number.to_bytes(4, "big") for number in range(1000)]
        for key in keys * 2:
            self.assertIsNone(sources.enter(key))
        self.assertEqual(len(sources), 1000)
        for key in keys * 2:
            sources.leave(key)
        self.assertEqual(len(sources), 0)

    def test_leave_without_place(self) -> None:
        """Nobody gives back what he does not have."""
        sources = self.sources(2, None)
        self.assertRaises(KeyError, sources.leave, b"a")
        self.assertIsNone(sources.enter(b"a"))
        sources.leave(b"a")
        self.assertRaises(KeyError, sources.leave, b"a")

    def test_readmit(self) -> None:
        """
        Who is in already has a place whatever the limits, and it counts as any other:
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


class CapacityTests(SynchronousTestCase):
    """Tests for L{Capacity}."""

    def setUp(self) -> None:
        self.calls = Calls()

    def test_no_limit(self) -> None:
        """Without a limit it is never full."""
        capacity = Capacity(None)
        fill(capacity, 1000)
        self.assertEqual((capacity.is_full, capacity.occupancy), (False, 1000))
        leave(capacity, 1000)
        self.assertEqual((capacity.limit, capacity.occupancy), (None, 0))

    def test_resume(self) -> None:
        """Once full it is full until 95 percent are left, and at any limit until there is room."""
        table = [(1, 0), (2, 1), (3, 2), (10, 9), (19, 18), (20, 19), (21, 19), (40, 38),
                 (100, 95), (1000, 950), (10_000, 9500)]  # fmt: skip
        for limit, resume in table:
            capacity, calls = Capacity(limit), Calls()
            fill(capacity, limit - 1)
            self.assertFalse(capacity.is_full)
            capacity.enter()
            self.assertTrue(capacity.is_full)
            capacity.when_available(calls.waiter("a"))
            leave(capacity, limit - resume - 1)
            self.assertEqual((capacity.is_full, calls.made), (True, []), limit)
            capacity.leave()
            self.assertEqual((capacity.is_full, calls.made), (False, ["a"]), limit)
            self.assertEqual(capacity.occupancy, resume)

    def test_once(self) -> None:
        """A waiter is called once, however often it fills and empties afterwards."""
        capacity = Capacity(1)
        capacity.enter()
        capacity.when_available(self.calls.waiter("a"))
        for _ in range(3):
            capacity.leave()
            capacity.enter()
        self.assertEqual(self.calls.made, ["a"])

    def test_room_already(self) -> None:
        """Who asks while there is room is told at once: nobody else would do it."""
        Capacity(1).when_available(self.calls.waiter("a"))
        self.assertEqual(self.calls.made, ["a"])

    def test_order(self) -> None:
        """All waiters are called, in the order in which they came."""
        capacity = Capacity(10)
        fill(capacity, 10)
        for name in "abc":
            capacity.when_available(self.calls.waiter(name))
        capacity.leave()
        self.assertEqual(self.calls.made, ["a", "b", "c"])

    def test_asked_twice(self) -> None:
        """Who waits and asks again keeps its place, and is called once."""
        capacity = Capacity(1)
        capacity.enter()
        first = self.calls.waiter("a")
        for waiter in (first, self.calls.waiter("b"), first):
            capacity.when_available(waiter)
        capacity.leave()
        self.assertEqual(self.calls.made, ["a", "b"])

    def test_forget(self) -> None:
        """Who is withdrawn is not called; the others are; to withdraw twice is nothing."""
        capacity = Capacity(1)
        capacity.enter()
        first, second = self.calls.waiter("a"), self.calls.waiter("b")
        capacity.when_available(first)
        capacity.when_available(second)
        capacity.forget(first)
        capacity.forget(first)
        capacity.leave()
        self.assertEqual(self.calls.made, ["b"])
        capacity.forget(second)

    def test_forget_while_called(self) -> None:
        """A waiter may withdraw another one while it is called."""
        capacity = Capacity(1)
        capacity.enter()
        second = self.calls.waiter("b")
        capacity.when_available(self.calls.waiter("a", lambda: capacity.forget(second)))
        capacity.when_available(second)
        capacity.leave()
        self.assertEqual(self.calls.made, ["a"])

    def test_taking_turns(self) -> None:
        """A waiter that fills it at once does not keep those after it from their turn."""
        capacity = Capacity(1)

        def wait(name: str) -> None:
            def take() -> None:
                capacity.enter()
                wait(name)

            capacity.when_available(self.calls.waiter(name, take))

        capacity.enter()
        for name in "abc":
            wait(name)
        for _ in range(7):
            capacity.leave()
        self.assertEqual(self.calls.made, list("abcabca"))

    def test_first_changes(self) -> None:
        """
        When all are called and the first takes the only place later, another one is
        the first next time.
        """
        capacity = Capacity(1)
        capacity.enter()
        waiters = {name: self.calls.waiter(name) for name in "abc"}
        order, firsts = list("abc"), []
        for _ in range(6):
            for name in order:
                capacity.when_available(waiters[name])
            capacity.leave()
            order, self.calls.made = self.calls.made, []
            firsts.append(order[0])
            capacity.enter()
        self.assertEqual(firsts, list("abcabc"))

    def test_forgotten_first(self) -> None:
        """One that was the first and is withdrawn begins anew when it waits again."""
        capacity = Capacity(1)
        waiters = {name: self.calls.waiter(name) for name in "ab"}
        for _ in range(2):
            capacity.enter()
            for waiter in waiters.values():
                capacity.when_available(waiter)
            capacity.leave()
            capacity.forget(waiters["a"])
        self.assertEqual(self.calls.made, list("abab"))

    def test_leaves_while_called(self) -> None:
        """Those that leave while waiters are called cause nobody to be called twice."""
        capacity = Capacity(3)
        fill(capacity, 3)
        for name in "abc":
            capacity.when_available(
                self.calls.waiter(name, capacity.leave if name < "c" else None)
            )
        capacity.leave()
        self.assertEqual((self.calls.made, capacity.occupancy), (["a", "b", "c"], 0))

    def test_error(self) -> None:
        """
        An error in one waiter, the first if there are several, is raised after the
        others were called.
        """
        capacity = Capacity(1)
        capacity.enter()

        def fail() -> None:
            raise ZeroDivisionError

        def fail_otherwise() -> None:
            raise OverflowError

        for name, then in (("a", fail), ("b", None), ("c", fail_otherwise)):
            capacity.when_available(self.calls.waiter(name, then))
        self.assertRaises(ZeroDivisionError, capacity.leave)
        self.assertEqual((self.calls.made, capacity.occupancy), (["a", "b", "c"], 0))

    def test_leave_without_place(self) -> None:
        """Nobody leaves who is not in, and the parent is not changed either."""
        parent = Capacity(1)
        child = Capacity(1, parent)
        parent.enter()
        self.assertRaises(ValueError, child.leave)
        self.assertEqual((parent.occupancy, child.occupancy), (1, 0))

    def test_more_than_the_limit(self) -> None:
        """Who comes in although it is full is counted."""
        capacity = Capacity(2)
        fill(capacity, 4)
        leave(capacity, 2)
        self.assertTrue(capacity.is_full)
        capacity.leave()
        self.assertFalse(capacity.is_full)

    def test_no_room_ever(self) -> None:
        """A limit below one is refused, and changes nothing."""
        self.assertRaises(ValueError, Capacity, 0)
        capacity = Capacity(2)
        self.assertRaises(ValueError, setattr, capacity, "limit", 0)
        self.assertEqual(capacity.limit, 2)

    def test_raise(self) -> None:
        """To raise the limit wakes who waits, also when it was lowered before."""
        for limit in (3, 100, None):
            capacity, calls = Capacity(2), Calls()
            fill(capacity, 2)
            capacity.when_available(calls.waiter("a"))
            capacity.limit = limit
            self.assertEqual((capacity.is_full, calls.made), (False, ["a"]))
            capacity.limit = 1
            self.assertTrue(capacity.is_full)
            capacity.when_available(calls.waiter("b"))
            capacity.limit = 2
            self.assertEqual((capacity.is_full, calls.made), (True, ["a"]))
            capacity.limit = limit
            self.assertEqual(calls.made, ["a", "b"])

    def test_lower(self) -> None:
        """To lower the limit throws nobody out, and lets nobody in until enough left."""
        capacity = Capacity(None)
        fill(capacity, 10)
        capacity.limit = 5
        self.assertEqual((capacity.is_full, capacity.occupancy), (True, 10))
        leave(capacity, 5)
        self.assertTrue(capacity.is_full)
        capacity.leave()
        self.assertFalse(capacity.is_full)


class ChildTests(SynchronousTestCase):
    """Tests for L{Capacity} with a parent."""

    def setUp(self) -> None:
        self.calls = Calls()
        self.parent = Capacity(4)
        self.one, self.other = Capacity(2, self.parent), Capacity(None, self.parent)

    def test_full(self) -> None:
        """A child is full if itself or its parent is; the parent counts all."""
        fill(self.one, 2)
        found = (self.one.is_full, self.other.is_full, self.parent.is_full)
        self.assertEqual(found, (True, False, False))
        leave(self.one, 1)
        fill(self.other, 3)
        found = (self.one.is_full, self.other.is_full, self.parent.is_full)
        self.assertEqual(found, (True, True, True))
        self.assertEqual((self.parent.occupancy, self.one.occupancy), (4, 1))

    def test_parent_makes_room(self) -> None:
        """Waiters of all children are called in their order when the parent has room."""
        fill(self.other, 4)
        for child, name in ((self.other, "a"), (self.one, "b"), (self.other, "c")):
            child.when_available(self.calls.waiter(name))
        self.other.leave()
        self.assertEqual(self.calls.made, ["a", "b", "c"])

    def test_both(self) -> None:
        """A waiter is called when both have room, whichever has it first."""
        for first, second in ((self.one, self.other), (self.other, self.one)):
            fill(self.one, 2)
            fill(self.other, 3)
            self.calls.made = []
            self.one.when_available(self.calls.waiter("a"))
            leave(first, 1)
            self.assertEqual(self.calls.made, [])
            leave(second, 1)
            self.assertEqual(self.calls.made, ["a"])
            leave(self.one, 1)
            leave(self.other, 2)

    def test_asked_twice(self) -> None:
        """A waiter that waits for the parent does not wait for its child as well."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        fill(self.one, 2)
        self.one.when_available(waiter)
        leave(self.other, 4)
        self.assertEqual(self.calls.made, [])
        leave(self.one, 2)
        self.assertEqual(self.calls.made, ["a"])

    def test_same_waiter_of_two(self) -> None:
        """One callback that waits at two children is called for each."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        self.other.when_available(waiter)
        self.other.leave()
        self.assertEqual(self.calls.made, ["a", "a"])

    def test_forget(self) -> None:
        """A waiter is found wherever it waits, and only that of the child that asks."""
        fill(self.other, 4)
        waiter = self.calls.waiter("a")
        self.one.when_available(waiter)
        self.other.when_available(waiter)
        self.one.forget(waiter)
        self.other.leave()
        self.assertEqual(self.calls.made, ["a"])

    def test_limits_change(self) -> None:
        """Waiters that wait for the parent are woken when its limit is raised."""
        fill(self.other, 4)
        self.one.when_available(self.calls.waiter("a"))
        self.one.limit = 7
        self.assertEqual(self.calls.made, [])
        self.parent.limit = None
        self.assertEqual(self.calls.made, ["a"])

    def test_taking_turns(self) -> None:
        """A service that fills the daemon at once does not starve another one."""
        parent = Capacity(1)
        children = {name: Capacity(None, parent) for name in "abc"}

        def wait(name: str) -> None:
            def take() -> None:
                children[name].enter()
                wait(name)

            children[name].when_available(self.calls.waiter(name, take))

        children["a"].enter()
        for name in "abc":
            wait(name)
        for name in "aabcab":
            children[name].leave()
        self.assertEqual(self.calls.made, list("abcabc"))

    @given(some.lists(some.sampled_from("eEwWlLdu"), max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_any_order(self, steps: list[str]) -> None:
        """
        Whatever happens, nobody is called while it is full, nobody who waits is
        left when there is room, and each wait ends with one call.
        """
        parent = Capacity(3)
        children = [Capacity(2, parent), Capacity(None, parent)]
        waiting: list[Any] = []

        def wait(child: Capacity) -> None:
            def called() -> None:
                self.assertFalse(child.is_full)
                waiting.remove((child, called))

            waiting.append((child, called))
            child.when_available(called)

        for step in steps:
            child = children[step.isupper()]
            if step in "eE":
                child.enter()
            elif step in "wW":
                wait(child)
            elif step in "lL" and child.occupancy:
                child.leave()
            elif step in "du":
                parent.limit = 2 if step == "d" else 4
            self.assertEqual([one for one, _ in waiting if not one.is_full], [])
        for child in children:
            leave(child, child.occupancy)
        self.assertEqual(waiting, [])


class TogetherTests(SynchronousTestCase):
    """Tests for how the parts fit."""

    def test_internal(self) -> None:
        """The networks of the machine itself and its neighbours are not the public."""
        networks = Networks(ANY, INTERNAL)
        hosts = ["127.0.0.1", "10.0.0.1", "::1", "fe80::1%eth0", "192.0.2.1", "2001:db8::1"]
        found = [networks.admits(packed(host)) for host in hosts]
        self.assertEqual(found, [False] * 4 + [True] * 2)


class BansTests(SynchronousTestCase):
    """Tests for L{Bans}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bans = Bans(self.clock.seconds, max_entries=3)

    def ban(self, text: str, seconds: float | None = None) -> None:
        """Ban one network."""
        (network,) = parse_networks(text)
        self.bans.add(network, seconds)

    def admits(self, *hosts: str) -> list[bool]:
        """Ask about some addresses."""
        return [self.bans.admits(packed(host)) for host in hosts]

    def test_none(self) -> None:
        """Nobody is banned at first."""
        self.assertEqual(self.admits("192.0.2.1", "2001:db8::1"), [True, True])
        self.assertEqual((len(self.bans), self.bans.current()), (0, []))

    def test_networks(self) -> None:
        """Who is in any of the banned networks is banned, in his own family only."""
        self.ban("192.0.2.0/24")
        self.ban("::c000:0/104")
        self.ban("198.51.100.7")
        hosts = ("192.0.2.0", "192.0.2.255", "192.0.3.0", "198.51.100.7", "198.51.100.8")
        self.assertEqual(self.admits(*hosts), [False, False, True, False, True])
        self.assertEqual(self.admits("::c012:3456", "::c112:3456"), [False, True])

    def test_nested(self) -> None:
        """A ban in another one changes nothing, nor does it when it is lifted."""
        self.ban("192.0.2.0/24")
        self.ban("192.0.2.7", 10.0)
        self.clock.advance(11.0)
        self.assertEqual(self.admits("192.0.2.7"), [False])
        self.assertTrue(self.bans.sweep())
        self.assertEqual(self.admits("192.0.2.7"), [False])

    def test_end(self) -> None:
        """A ban ends in time, swept or not."""
        self.ban("192.0.2.1", 10.0)
        self.clock.advance(9.9)
        self.assertEqual((self.admits("192.0.2.1"), self.bans.sweep()), ([False], False))
        self.clock.advance(0.1)
        self.assertEqual((self.admits("192.0.2.1"), self.bans.current()), ([True], []))
        self.assertEqual((self.bans.sweep(), self.bans.sweep(), len(self.bans)), (True, False, 0))

    def test_again(self) -> None:
        """Who is banned once more is banned for as long as that says."""
        self.ban("192.0.2.1", 10.0)
        self.ban("192.0.2.1", 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.admits("192.0.2.1"), [True])
        self.ban("192.0.2.1")
        self.clock.advance(1e9)
        self.assertEqual(self.admits("192.0.2.1"), [False])

    def test_remove(self) -> None:
        """Lifting a ban says whether there was one."""
        (network,) = parse_networks("192.0.2.1")
        self.ban("192.0.2.1", 1.0)
        self.assertEqual((self.bans.remove(network), self.admits("192.0.2.1")), (True, [True]))
        self.assertFalse(self.bans.remove(network))
        self.ban("192.0.2.1", 1.0)
        self.clock.advance(1.0)
        self.assertFalse(self.bans.remove(network))

    def test_full(self) -> None:
        """A full table takes no more, until one ends; one that it has can be changed."""
        self.ban("192.0.2.1")
        self.ban("192.0.2.2", 5.0)
        self.ban("192.0.2.3")
        problem = self.assertRaises(BansFull, self.ban, "192.0.2.4")
        self.assertEqual(str(problem), "there are 3 bans already")
        self.ban("192.0.2.3", 100.0)
        self.assertEqual(self.admits("192.0.2.1", "192.0.2.4"), [False, True])
        self.clock.advance(5.0)
        self.ban("192.0.2.4")
        self.assertEqual((len(self.bans), self.admits("192.0.2.4")), (3, [False]))

    @given(
        some.lists(
            some.tuples(
                some.sampled_from("+-?"),
                some.integers(0, 7),
                some.integers(29, 32),
                some.sampled_from([None, 1.0, 3.0]),
            ),
            max_size=30,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_as_a_list(self, steps: list[tuple[str, int, int, float | None]]) -> None:
        """It says what a plain list of bans would."""
        clock, plain = Clock(), dict[Any, float]()
        bans = Bans(clock.seconds)
        for what, host, length, seconds in steps:
            network = ip_network((0xC0000200 + host, length), strict=False)
            if what == "+":
                bans.add(network, seconds)
                plain[network] = clock.seconds() + (seconds or 1e9)
            elif what == "-":
                there = plain.pop(network, 0.0) > clock.seconds()
                self.assertEqual(bans.remove(network), there)
            else:
                clock.advance(1.0)
            live = [one for one, ends in plain.items() if ends > clock.seconds()]
            for number in range(8):
                address = ip_address(0xC0000200 + number)
                expected = not any(address in one for one in live)
                self.assertEqual(bans.admits(address.packed), expected)
