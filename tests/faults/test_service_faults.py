"""Tests for L{socketd.faults.service_faults}: who is hit, and that a run repeats."""

from __future__ import annotations

from collections.abc import Hashable
from math import sqrt

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from socketd.faults.draws import ConnectionDraw, DatagramDraw
from socketd.faults.service_faults import MAX_SOURCES, SEEDS, ServiceFaults
from tests.faults.profiles import make_faults, make_profile

#: Enough for a share to be known to a thousandth or so.
MANY = 100_000

TEXT = b"abcdefgh"

LOSSY = (
    "seed = 7",
    "share = 60%",
    "loss = 30% burst 50%",
    "duplicate = 20%",
    "latency = 1s jitter 1s",
)

limited = settings(max_examples=100, derandomize=True, deadline=None, database=None)


def connections(faults: ServiceFaults, number: int) -> list[ConnectionDraw]:
    """Draw for so many connections, and list those that are hit."""
    drawn = [faults.draw_connection() for _ in range(number)]
    return [one for one in drawn if one is not None]


def hits(faults: ServiceFaults, number: int) -> list[int]:
    """List the numbers of those that are hit."""
    return [one.number for one in connections(faults, number)]


def turn(drawn: ConnectionDraw, is_delay: bool) -> None:
    """Draw a delay or a size."""
    if is_delay:
        drawn.next_delay()
    else:
        drawn.next_slice()


def described(drawn: DatagramDraw | None) -> tuple[object, ...]:
    """Tell all that was drawn for a datagram."""
    return () if drawn is None else (drawn.number, drawn.faults, drawn.gap, drawn.delay)


class SeedTests(SynchronousTestCase):
    """Tests for the seed."""

    def test_given(self) -> None:
        """The seed is that of the profile."""
        self.assertEqual(make_faults("seed = 7", "loss = 1%").seed, 7)

    def test_drawn(self) -> None:
        """Without one it is drawn, such that a file can have it."""
        limits: list[int] = []

        def random_below(limit: int) -> int:
            limits.append(limit)
            return 42

        found = ServiceFaults(make_profile("loss = 1%"), "echo", random_below)
        self.assertEqual((found.seed, limits), (42, [SEEDS]))
        self.assertEqual(make_profile(f"seed = {SEEDS - 1}", "loss = 1%").options.seed, SEEDS - 1)
        self.assertNotEqual(make_faults("loss = 1%").seed, make_faults("loss = 1%").seed)

    def test_other(self) -> None:
        """Another seed, and another service, draws something else."""
        found = {
            tuple(hits(make_faults(seed, "share = 50%", "slice = 1", service=service), 100))
            for seed in ("seed = 7", "seed = 8")
            for service in ("echo", "time")
        }
        self.assertEqual(len(found), 4)


class SameTests(SynchronousTestCase):
    """A seed draws the same in each version, so that test suites can rely on it."""

    def test_connections(self) -> None:
        """The same connections are hit, with the same delays and pieces."""
        latency = "latency = 80ms jitter 20ms"
        drawn = connections(make_faults("seed = 7", "share = 50%", "slice = 1..100", latency), 12)
        self.assertEqual([one.number for one in drawn], [1, 3, 4, 7, 8, 9, 10, 11])
        delays = [round(one.next_delay(), 6) for one in drawn[:2] for _ in range(2)]
        self.assertEqual(delays, [0.09954, 0.090165, 0.081799, 0.062283])
        self.assertEqual([o.next_slice() for o in drawn[:2] for _ in range(2)], [25, 5, 93, 31])

    def test_datagrams(self) -> None:
        """The same datagrams have the same faults, at the same places."""
        faults = make_faults(
            "seed = 7", "share = 80%", "loss = 30% burst 50%", "duplicate = 30%", "reorder = 30%",
            "corrupt = 50%", "truncate = 50%", "latency = 80ms jitter 20ms",
        )  # fmt: skip
        found = [
            (one.key, one.number, one.faults, round(one.delay, 6), one.truncate(one.corrupt(TEXT)))
            for one in [faults.draw_datagram("192.0.2.1") for _ in range(9)]
            if one is not None
        ]
        expected = [
            (("latency", "truncate"), 0.088699, b"a"),
            (("latency", "corrupt"), 0.09767, b"abcdefg`"),
            (("latency", "duplicate", "reorder", "corrupt"), 0.087765, b"ajcdefgh"),
            (("loss",), 0.0, TEXT),
            (("latency", "duplicate"), 0.096638, TEXT),
            (("latency", "duplicate", "reorder"), 0.07107, TEXT),
            (("latency", "reorder", "corrupt", "truncate"), 0.092997, b"ab"),
            (("loss",), 0.0, TEXT),
        ]
        keys = [(f"7/echo/192.0.2.1/{number}", number) for number in range(1, 9)]
        self.assertEqual(found, [(*key, *one) for key, one in zip(keys, expected)])

    def test_first_of_source(self) -> None:
        """Before the first datagram of a source none was lost."""
        faults = make_faults("seed = 7", "loss = 10% burst 90%")
        lost = sum(faults.draw_datagram(source) is not None for source in range(1000))
        self.assertLess(lost, 30)


class ConnectionTests(SynchronousTestCase):
    """Tests for which connections are hit."""

    def test_all(self) -> None:
        """Each is, unless the profile says otherwise."""
        self.assertEqual(hits(make_faults("slice = 1"), 5), [1, 2, 3, 4, 5])

    def test_first(self) -> None:
        """Only so many first ones are."""
        self.assertEqual(hits(make_faults("slice = 1", "first = 3"), 100), [1, 2, 3])

    def test_skip(self) -> None:
        """So many first ones are not."""
        self.assertEqual(hits(make_faults("slice = 1", "skip = 10"), 12), [11, 12])

    def test_first_after_skip(self) -> None:
        """With both, the first ones are those that come then."""
        found = make_faults("slice = 1", "skip = 10", "first = 3")
        self.assertEqual(hits(found, 100), [11, 12, 13])

    def test_share(self) -> None:
        """A share of them is, to three sigma, drawn once for each."""
        found = len(hits(make_faults("seed = 1", "slice = 1", "share = 30%"), MANY))
        self.assertLess(abs(found - 0.3 * MANY), 3 * sqrt(MANY * 0.3 * 0.7))

    def test_none(self) -> None:
        """A share of nothing is none, and so is a profile without faults of streams."""
        self.assertEqual(hits(make_faults("slice = 1", "share = 0%"), 1000), [])
        self.assertEqual(hits(make_faults("loss = 10%"), 1000), [])

    def test_repeats(self) -> None:
        """The same seed hits the same ones, and draws the same for each."""

        def run() -> list[tuple[int, float, int]]:
            drawn = connections(make_faults(*LOSSY, "slice = 1..100"), 100)
            return [(one.number, one.next_delay(), one.next_slice()) for one in drawn]

        self.assertEqual(run(), run())
        self.assertGreater(len(set(run())), 30)

    @limited
    @given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
    def test_interleaved(self, turns: list[tuple[int, bool]]) -> None:
        """What one connection draws does not depend on when the others draw."""
        options = ("seed = 7", "latency = 1s jitter 1s normal", "slice = 1..1000")
        found = connections(make_faults(*options), 5)
        for number, is_delay in turns:
            turn(found[number], is_delay)
        for number, alone in enumerate(connections(make_faults(*options), 5)):
            # The same, first all delays of one, then all its sizes.
            for _, is_delay in sorted(one for one in turns if one[0] == number):
                turn(alone, is_delay)
            self.assertEqual(alone.next_delay(), found[number].next_delay())
            self.assertEqual(alone.next_slice(), found[number].next_slice())


class DatagramTests(SynchronousTestCase):
    """Tests for which datagrams are hit."""

    def numbers(self, faults: ServiceFaults, source: Hashable, count: int) -> list[int]:
        """List which of so many datagrams of a source are hit."""
        drawn = [faults.draw_datagram(source) for _ in range(count)]
        return [one.number for one in drawn if one is not None]

    def test_numbers(self) -> None:
        """Each source has numbers of its own."""
        faults = make_faults("latency = 1s", "first = 3", "skip = 1")
        self.assertEqual(self.numbers(faults, "192.0.2.1", 10), [2, 3, 4])
        self.assertEqual(self.numbers(faults, "192.0.2.2", 10), [2, 3, 4])

    def test_share(self) -> None:
        """A share of them is hit, to three sigma."""
        found = make_faults("seed = 1", "latency = 1s", "share = 30%")
        count = len(self.numbers(found, "192.0.2.1", MANY))
        self.assertLess(abs(count - 0.3 * MANY), 3 * sqrt(MANY * 0.3 * 0.7))

    def test_nothing_drawn(self) -> None:
        """One for which nothing was drawn is not hit; and so is any without such faults."""
        self.assertEqual(self.numbers(make_faults("loss = 0%"), "192.0.2.1", 1000), [])
        self.assertEqual(self.numbers(make_faults("slice = 1"), "192.0.2.1", 1000), [])

    @limited
    @given(st.lists(st.integers(0, 4), max_size=100))
    def test_interleaved(self, sources: list[int]) -> None:
        """What is drawn for a source does not depend on the others."""
        faults = make_faults(*LOSSY)
        together = [(source, described(faults.draw_datagram(source))) for source in sources]
        for source in set(sources):
            alone = make_faults(*LOSSY)
            expected = [
                described(alone.draw_datagram(source)) for _ in range(sources.count(source))
            ]
            self.assertEqual([found for one, found in together if one == source], expected)

    def test_many_sources(self) -> None:
        """The table has a bound: the source that was silent longest begins again."""
        faults = make_faults("latency = 1s")
        for source in range(MAX_SOURCES):
            faults.draw_datagram(source)
        self.assertEqual(self.numbers(faults, 0, 1), [2])
        faults.draw_datagram("one more")
        self.assertEqual(self.numbers(faults, 0, 1), [3])
        self.assertEqual(self.numbers(faults, 1, 1), [1])
