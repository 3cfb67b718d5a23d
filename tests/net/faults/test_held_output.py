"""Tests of C{socketd.net.faults.held_output}."""

from __future__ import annotations

import tracemalloc
from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.faults.held_output import MAX_WRITES, HeldOutput
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.settings.faults.values import SILENT, Accept, Latency, Slices
from tests.net.faults.faulty_case import drawn


class HeldOutputCase(SynchronousTestCase):
    """A test of a queue of held bytes."""

    def hold(self, opens_at: float = 0.0, **options: Any) -> None:
        """Make the queue."""
        self.held = HeldOutput(drawn(**options), opens_at)

    def sent(self, until: float = inf) -> list[tuple[float, bytes]]:
        """Take the pieces that are due up to some time, with their times."""
        pieces = []
        while self.held.size and (due := self.held.due) <= until:
            pieces.append((round(due, 9), self.held.take()))
        return pieces


class LatencyTests(HeldOutputCase):
    """Each write is delayed from when it was written."""

    def test_each_write(self) -> None:
        """The delays of writes run side by side."""
        self.hold(latency=Latency(0.08))
        for number in range(3):
            self.held.put(b"%d" % number, number * 0.01)
        self.assertEqual(self.sent(), [(0.08, b"0"), (0.09, b"1"), (0.1, b"2")])
        self.assertEqual(self.held.due, inf)

    def test_jitter_keeps_the_order(self) -> None:
        """A write that is drawn a shorter delay waits for those before it, and none is early."""
        draw = drawn(latency=Latency(0.05, 0.05))
        delays = [draw.next_delay() for _ in range(100)]
        self.hold(latency=Latency(0.05, 0.05))
        for number in range(100):
            self.held.put(bytes([number]), number * 0.001)
        times = [when for when, _ in self.sent()]
        expected = [max(n * 0.001 + d for n, d in enumerate(delays[: i + 1])) for i in range(100)]
        self.assertEqual(times, [round(when, 9) for when in expected])
        self.assertGreater(len(set(times)), 10)

    def test_never(self) -> None:
        """What is never to be sent is held until it is taken."""
        self.hold(opens_at=inf, accept=Accept(SILENT))
        self.held.put(b"never", 5.0)
        self.assertEqual((self.held.due, self.held.size), (inf, 5))
        self.assertEqual(self.held.take_all(), b"never")
        self.assertEqual(self.held.size, 0)

    def test_not_before(self) -> None:
        """What is written before the service begins is sent then."""
        self.hold(opens_at=5.0, latency=Latency(0.1))
        self.held.put(b"early", 1.0)
        self.held.put(b"late", 5.0)
        self.assertEqual(self.sent(), [(5.0, b"early"), (5.1, b"late")])


class BandwidthTests(HeldOutputCase):
    """Bytes take their time on a slow line."""

    def test_bytes_by_time(self) -> None:
        """At no time more has been sent than the line carries, nor a portion less."""
        rate = 1000
        self.hold(bandwidth=rate)
        self.held.put(b"x" * 5000, 1.0)
        total = 0
        for when, piece in self.sent():
            total += len(piece)
            self.assertAlmostEqual(total, rate * (when - 1.0))
            self.assertLessEqual(len(piece), 20)
        self.assertEqual(total, 5000)

    def test_line_is_free_again(self) -> None:
        """A line that was idle has saved nothing."""
        self.hold(bandwidth=100)
        self.held.put(b"a", 0.0)
        self.assertEqual(self.sent(), [(0.01, b"a")])
        self.held.put(b"b", 9.0)
        self.held.put(b"c", 9.0)
        self.assertEqual(self.sent(), [(9.01, b"b"), (9.02, b"c")])

    def test_late_timer(self) -> None:
        """A piece that is taken late does not delay those that follow."""
        self.hold(bandwidth=100)
        self.held.put(b"x" * 10, 0.0)
        self.assertEqual(len(self.sent(0.095)), 4)
        self.assertEqual(self.sent()[-1][0], 0.1)

    def test_slowest(self) -> None:
        """The slowest line sends a byte at a time."""
        self.hold(bandwidth=1)
        self.held.put(b"abc", 0.0)
        self.assertEqual(self.sent(), [(1.0, b"a"), (2.0, b"b"), (3.0, b"c")])


class SliceTests(HeldOutputCase):
    """Writes are cut into pieces that keep a distance."""

    def test_sizes(self) -> None:
        """All pieces of a write but the last have a size of those that are allowed."""
        self.hold(slice=Slices(3, 9, 0.05))
        self.held.put(b"x" * 1000, 1.0)
        pieces = self.sent()
        sizes = [len(piece) for _, piece in pieces]
        self.assertEqual({*sizes[:-1]}, {*range(3, 10)})
        self.assertEqual((sum(sizes), len(self.sent())), (1000, 0))
        times = [when for when, _ in pieces]
        self.assertEqual(times, [round(1.0 + 0.05 * n, 9) for n in range(len(sizes))])

    def test_repeatable(self) -> None:
        """The same seed cuts the same writes in the same way, at whatever times they come."""
        found = []
        for times in ((0.0, 0.0), (0.0, 7.0)):
            self.hold(slice=Slices(1, 16))
            for when in times:
                self.held.put(bytes(range(100)), when)
            found.append([piece for _, piece in self.sent()])
        self.assertEqual(found[0], found[1])

    def test_all_together(self) -> None:
        """Latency, slices and bandwidth add up as on a line with all three."""
        self.hold(latency=Latency(1.0), slice=Slices(2, 2, 0.5), bandwidth=10)
        self.held.put(b"abcde", 0.0)
        expected = [(1.2, b"ab"), (1.9, b"cd"), (2.5, b"e")]
        self.assertEqual(self.sent(), expected)


class BoundTests(HeldOutputCase):
    """What is held has a bound beside its bytes."""

    def test_many_writes(self) -> None:
        """Many tiny writes become few; their bytes keep their order, and none is early."""
        self.hold(latency=Latency(1.0))
        for number in range(4 * MAX_WRITES):
            self.held.put(bytes([number % 256]), number / 1000)
        pieces = self.sent()
        self.assertEqual(len(pieces), MAX_WRITES)
        self.assertEqual(
            b"".join(piece for _, piece in pieces), bytes(range(256)) * (4 * MAX_WRITES // 256)
        )
        self.assertEqual(pieces[-1][0], round(1.0 + (4 * MAX_WRITES - 1) / 1000, 9))

    def test_memory(self) -> None:
        """As many bytes as a connection holds take little more room in tiny writes."""
        self.hold(latency=Latency(1.0))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(HIGH_WATER):
            self.held.put(bytes([number % 256]), number / 1e6)
        grown = tracemalloc.get_traced_memory()[0] - before
        self.assertTrue(HIGH_WATER < grown < 3 * HIGH_WATER, grown)

    def test_clear(self) -> None:
        """What is forgotten is counted."""
        self.hold(latency=Latency(1.0))
        self.held.put(b"abc", 0.0)
        self.assertEqual(self.held.clear(), 3)
        self.assertEqual((self.held.size, self.held.due), (0, inf))
