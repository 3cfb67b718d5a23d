"""Tests for what is drawn for one connection and for one datagram."""

from __future__ import annotations

from collections import Counter
from math import sqrt

from twisted.trial.unittest import SynchronousTestCase

from socketd.faults.draws import ConnectionDraw, DatagramDraw
from tests.faults.profiles import make_faults

#: Enough for a rate to be known to a thousandth or so.
MANY = 100_000


class ConnectionDrawTests(SynchronousTestCase):
    """Tests for L{ConnectionDraw}."""

    def make(self, *options: str) -> ConnectionDraw:
        """Draw for the first connection."""
        drawn = make_faults("seed = 7", *options).draw_connection()
        assert drawn is not None
        return drawn

    def test_text(self) -> None:
        """It tells the profile, the seed, the service, the number, and the faults of streams."""
        drawn = self.make("latency = 80ms jitter 20ms normal", "reset = after 100B", "loss = 1%")
        self.assertEqual(
            drawn.text, "flaky 7/echo/1: latency 80ms jitter 20ms normal, reset after 100B"
        )
        self.assertEqual((drawn.profile.name, drawn.options.seed), ("flaky", 7))

    def test_delays(self) -> None:
        """Each delay is a draw of its own, of the distribution of the profile."""
        drawn = self.make("latency = 80ms jitter 20ms uniform")
        found = [drawn.next_delay() for _ in range(1000)]
        self.assertTrue(0.06 <= min(found) < 0.062 and 0.098 < max(found) <= 0.1)
        self.assertEqual(len(set(found)), 1000)

    def test_no_delay(self) -> None:
        """Without latency nothing is late."""
        self.assertEqual(self.make("slice = 1").next_delay(), 0.0)

    def test_slices(self) -> None:
        """Each size of the range comes as often, to three sigma, and no other."""
        drawn = self.make("slice = 5..14")
        counts = Counter(drawn.next_slice() for _ in range(MANY))
        self.assertEqual(sorted(counts), [*range(5, 15)])
        sigma = sqrt(MANY * 0.1 * 0.9)
        self.assertEqual([n for n in counts.values() if abs(n - MANY / 10) > 3 * sigma], [])
        self.assertEqual({self.make("slice = 3").next_slice() for _ in range(5)}, {3})


class DatagramDrawTests(SynchronousTestCase):
    """Tests for L{DatagramDraw}."""

    def sample(self, *options: str, count: int = MANY) -> list[DatagramDraw | None]:
        """Draw for many datagrams of one source."""
        faults = make_faults("seed = 7", *options)
        return [faults.draw_datagram("192.0.2.1") for _ in range(count)]

    def hit(self, *options: str) -> DatagramDraw:
        """Draw for a datagram that is hit."""
        (drawn,) = self.sample(*options, count=1)
        assert drawn is not None
        return drawn

    def check_rate(self, found: int, rate: float, count: int = MANY) -> None:
        """Check a count, to three sigma."""
        self.assertLess(abs(found - rate * count), 3 * sqrt(count * rate * (1 - rate)))

    def test_rates(self) -> None:
        """Each fault has its rate, and is drawn on its own."""
        drawn = self.sample(
            "duplicate = 2%", "reorder = 5% gap 3", "corrupt = 10%", "truncate = 1%"
        )
        faults = [one.faults for one in drawn if one is not None]
        counts = Counter(fault for some in faults for fault in some)
        rates = {"duplicate": 0.02, "reorder": 0.05, "corrupt": 0.1, "truncate": 0.01}
        self.assertEqual(counts.keys(), rates.keys())
        for fault, rate in rates.items():
            self.check_rate(counts[fault], rate)
        both = sum({"reorder", "corrupt"} <= set(some) for some in faults)
        self.check_rate(both, 0.05 * 0.1)
        duplicates = [one for one in drawn if one is not None and one.duplicated]
        self.assertEqual(len(duplicates), counts["duplicate"])
        self.assertEqual({one.gap for one in drawn if one and "reorder" in one.faults}, {3})
        self.assertEqual({one.gap for one in drawn if one and "reorder" not in one.faults}, {0})

    def test_loss(self) -> None:
        """So many are lost, each for itself: the one before does not matter."""
        lost = [one is not None and one.lost for one in self.sample("loss = 10%")]
        self.check_rate(sum(lost), 0.1)
        self.check_rate(sum(one and other for one, other in zip(lost, lost[1:])), 0.1 * 0.1)

    def test_burst(self) -> None:
        """
        The rate stays with a burst, and so many more are lost right after another. The
        correlation makes the deviation of the mean larger, by sqrt((1 + c) / (1 - c)).
        """
        lost = [one is not None and one.lost for one in self.sample("loss = 10% burst 25%")]
        sigma = sqrt(MANY * 0.1 * 0.9 * 1.25 / 0.75)
        self.assertLess(abs(sum(lost) - 0.1 * MANY), 3 * sigma)
        after = [other for one, other in zip(lost, lost[1:]) if one]
        self.check_rate(sum(after), 0.1 + 0.25 * 0.9, len(after))
        after = [other for one, other in zip(lost, lost[1:]) if not one]
        self.check_rate(sum(after), 0.1 * 0.75, len(after))

    def test_lost(self) -> None:
        """A lost one has no other fault."""
        drawn = self.hit("loss = 100%", "latency = 1s", "duplicate = 100%", "corrupt = 100%")
        self.assertEqual((drawn.faults, drawn.delay, drawn.duplicated), (("loss",), 0.0, False))

    def test_unanswered(self) -> None:
        """What C{accept} leaves without an answer has no other fault; other words are no fault."""
        for action in ("silent", "never-read"):
            drawn = self.hit(f"accept = {action}", "latency = 1s")
            self.assertEqual((drawn.faults, drawn.unanswered), ((action,), action))
            self.assertEqual((drawn.key, drawn.number), ("7/echo/192.0.2.1/1", 1))
        self.assertEqual(self.hit("loss = 100%").unanswered, "loss")
        drawn = self.hit("accept = slow 5s", "latency = 1s")
        self.assertEqual((drawn.faults, drawn.unanswered), (("latency",), ""))
        self.assertEqual(self.sample("accept = refuse", count=1), [None])

    def test_bandwidth(self) -> None:
        """Each that is hit has the bandwidth, for which nothing is drawn."""
        drawn = self.hit("bandwidth = 1KiB/s", "duplicate = 100%")
        self.assertEqual((drawn.faults, drawn.bandwidth), (("bandwidth", "duplicate"), 1024))
        self.assertEqual(self.hit("latency = 1s").bandwidth, 0)
        self.assertEqual(self.hit("duplicate = 100%").delay, 0.0)

    def test_latency(self) -> None:
        """Each has a delay of its own."""
        drawn = self.sample("latency = 80ms jitter 20ms", count=100)
        delays = {one.delay for one in drawn if one is not None}
        self.assertEqual(len(delays), 100)
        self.assertTrue(0.06 <= min(delays) and max(delays) <= 0.1)
        self.assertEqual(self.hit("latency = 1s").faults, ("latency",))

    def test_corrupt(self) -> None:
        """One bit is another, any of them, and always the same for one datagram."""
        data = bytes(range(7))
        flipped = set()
        for drawn in self.sample("corrupt = 100%", count=1000):
            assert drawn is not None
            found = drawn.corrupt(data)
            self.assertEqual(found, drawn.corrupt(data))
            change = int.from_bytes(found) ^ int.from_bytes(data)
            self.assertEqual((len(found), change.bit_count()), (7, 1))
            flipped.add(change)
        self.assertEqual(len(flipped), 7 * 8)
        self.assertEqual(self.hit("corrupt = 100%").corrupt(b""), b"")
        self.assertEqual(self.hit("latency = 1s").corrupt(data), data)

    def test_truncate(self) -> None:
        """The end is cut off, at any place."""
        data = bytes(range(7))
        lengths = set()
        for drawn in self.sample("truncate = 100%", count=200):
            assert drawn is not None
            found = drawn.truncate(data)
            self.assertTrue(data.startswith(found))
            lengths.add(len(found))
        self.assertEqual(lengths, {*range(7)})
        self.assertEqual(self.hit("truncate = 100%").truncate(b""), b"")
        self.assertEqual(self.hit("latency = 1s").truncate(data), data)

    def test_sources(self) -> None:
        """Two sources draw different things."""
        faults = make_faults("seed = 7", "loss = 50%")
        found = [
            [faults.draw_datagram(source) is None for _ in range(64)]
            for source in ("192.0.2.1", "192.0.2.2")
        ]
        self.assertNotEqual(*found)
