"""Tests for L{socketd.protocols.clock.ntp_batch}, and for C{ntp} where it takes a batch."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from socketd.common.system_clock import BUILD_DATE, ClockState
from socketd.protocols.batches import (
    FIRST_GROUP,
    LARGEST_GROUP,
    STAY,
    Groups,
    IBatchProtocol,
    IDatagramBatch,
)
from socketd.protocols.clock.ntp import NtpDatagrams
from socketd.protocols.clock.ntp_answer import MAX_STAY, NtpOptions, answer, root_dispersion
from socketd.protocols.clock.ntp_batch import MAX_HEADS, REQUEST, BatchWriter
from socketd.protocols.clock.ntp_time import LENGTH, wide_timestamp
from tests.protocols.slow import SlowBatch, SlowMachine, sent_at

SECOND = 10**9
NOW = 1795000000 * SECOND + 123456789

#: When the count of seconds since 1900 wraps to zero.
ERA_1 = 2085978496 * SECOND

#: Clocks: kept, kept and exact to 2**-32 s, assumed, unfit, and one whose state is of the future.
KEPT = ClockState(True, 0, 0.25, -22, False, 1794999999.6)
STATES = (
    KEPT,
    evolve(KEPT, precision=-32),
    evolve(KEPT, synchronised=False),
    evolve(KEPT, stepped=True),
    evolve(KEPT, leap=1, read_at=1795000000.2),
    evolve(KEPT, read_at=0.0, precision=-6),
)

_READ = struct.Struct("!" + REQUEST)


def write(mode: int = 3, version: int = 4, poll: int = 6, origin: int = 1 << 60) -> bytes:
    """Write a request."""
    return struct.pack("!BBb37xQ", version << 3 | mode, 0, poll, origin)


class BatchWriterTests(SynchronousTestCase):
    """Tests for L{BatchWriter}."""

    def check(
        self,
        writer: BatchWriter,
        requests: Sequence[tuple[bytes, int]],
        sent: int,
        state: ClockState,
        options: NtpOptions,
    ) -> None:
        """See that requests have the answers that L{answer} would give, to the last bit."""
        writer._bits = Random(1).getrandbits
        read = [(_READ.unpack(request), at) for request, at in requests]
        writer.prepare(read[0], state)
        found = writer.answers(read, sent, 0)
        bits = Random(1).getrandbits
        expected = [answer(r, at, lambda: sent, state, options, bits) for r, at in requests]
        self.assertEqual(found, expected)

    def test_same_bytes(self) -> None:
        """
        In any order of clocks, versions, modes, intervals and times, over the steps of the error
        too, the answers are those that each request has by itself.
        """
        lots, now = Random(2), NOW
        for assumed in (False, True):
            options = NtpOptions(assume_synchronised=assumed, stratum=2)
            writer = BatchWriter(options)
            for _ in range(400):
                now += lots.choice((0, 10**5, 10**7, 10**8))
                requests = [
                    (
                        write(lots.choice((3, 3, 3, 1, 4, 6)), lots.randrange(1, 6),
                              lots.randrange(-128, 128), lots.getrandbits(64)),
                        now - lots.choice((1000, 10**4, 10**6, 2 * 10**7)),
                    )
                    for _ in range(8)
                ]  # fmt: skip
                self.check(writer, requests, now, lots.choice(STATES), options)

    def test_unusual(self) -> None:
        """So are those at a step of the clock, before this program, and with any origin."""
        options, early = NtpOptions(), BUILD_DATE * SECOND
        state = evolve(KEPT, precision=-32)
        for received, sent in (
            (NOW, NOW + MAX_STAY), (NOW, NOW + MAX_STAY + 1), (NOW, NOW - SECOND), (NOW, NOW),
            (early - 1, early), (early, early), (early, early - 1), (0, 1),
            (ERA_1, ERA_1), (ERA_1 - 1, ERA_1), (ERA_1 - 5, ERA_1 + 5),
        ):  # fmt: skip
            wide = [wide_timestamp(at) % 2**64 for at in (received, sent, sent + 1)]
            requests = [(write(origin=origin), received) for origin in (0, 1, *wide)]
            self.check(BatchWriter(options), requests, sent, state, options)
        both = [(write(), early), (write(), early - 1)]
        state = evolve(state, read_at=0.0)
        self.check(BatchWriter(options), both, early + 1, state, options)

    def test_together(self) -> None:
        """Usual requests are answered together; each has its time, also behind one that is not."""
        writer = BatchWriter(NtpOptions())
        alone: list[bytes] = []
        writer._alone = lambda request, *more: alone.append(request)  # type: ignore[method-assign]
        for mode, version in ((3, 1), (3, 2), (3, 3), (3, 4), (1, 3), (1, 4)):
            usual = _READ.unpack(write(mode, version)), NOW - 1000
            writer.prepare(usual, evolve(KEPT, precision=-32))
            self.assertIn(usual[0][0], writer._heads)
            self.assertTrue(writer._first <= NOW - 1000 <= writer._last)
            requests = [(_READ.unpack(write(6)), NOW - 1000), usual, usual, usual]
            found = writer.answers(requests, NOW, SECOND)
            times = [struct.unpack("!40xQ", one or b"")[0] for one in found[1:]]
            self.assertEqual(times, [wide_timestamp(NOW + SECOND * at) for at in (1, 2, 3)])
        self.assertEqual(len(alone), 6)

    def test_late(self) -> None:
        """Each answer has its time: the usual ones, and those that are not."""
        writer = BatchWriter(NtpOptions())
        requests = [(_READ.unpack(write(mode)), NOW) for mode in (3, 1, 3, 3)]
        requests[3] = requests[3][0], NOW + SECOND
        state = evolve(KEPT, precision=-32)
        writer.prepare(requests[0], state)
        found = writer.answers(requests, NOW + SECOND // 2, 5000)
        times = [struct.unpack("!40xQ", one or b"")[0] for one in found]
        base = wide_timestamp(NOW + SECOND // 2)
        self.assertTrue(all(abs(time - base - (5000 * at << 32) // SECOND) < 8
                            for at, time in enumerate(times)))  # fmt: skip

    def test_error(self) -> None:
        """Heads are kept as long as the error is the same; their number is bounded."""
        writer, state = BatchWriter(NtpOptions()), KEPT
        for number in range(3 * MAX_HEADS):
            start = struct.pack("!BHx", 4 << 3 | 3, number)[:3]
            writer.prepare(((start, 1), NOW), state)
            self.assertLessEqual(len(writer._heads), MAX_HEADS)
        first, last = writer._first, writer._last
        self.assertLess(first, NOW)
        self.assertGreater(last, NOW)
        self.assertEqual(root_dispersion(state, first), root_dispersion(state, last))


class GroupsTests(SynchronousTestCase):
    """Tests for L{Groups}."""

    def test_size(self) -> None:
        """A group that takes as long as expected doubles, one that takes longer is halved."""
        groups, sizes = Groups(), []
        slow = (STAY + 1, STAY + 2)
        for written, left in (*[(1000, 9000)] * 3, slow, slow, (9, 9 + 2 * STAY)):
            groups.has_left(groups.size, written, left)
            sizes.append(groups.size)
        self.assertEqual(sizes, [16, 32, 32, 16, 8, 4])
        for _ in range(9):
            groups.has_left(groups.size, 1, 10**7)
        self.assertEqual(groups.size, 1)

    def test_each(self) -> None:
        """
        What one is expected to take falls at once and rises slowly, with large groups only; a
        clock that was set back is no reason to expect less than nothing.
        """
        groups = Groups()
        for left, expected in ((80000, 250), (10**9, 562), (8000, 952), (800, 100), (-9, 0)):
            groups.has_left(8, 1, left)
            self.assertEqual(groups.each, expected)
        groups.each = 400
        for left, expected in ((8000, 400), (600, 300)):
            groups.has_left(2, 1, left)
            self.assertEqual(groups.each, expected)


class BatchedNtpTests(SynchronousTestCase):
    """Tests for L{NtpDatagrams}."""

    def protocol(self, machine: SlowMachine) -> NtpDatagrams:
        """Serve with the clock of a machine."""
        state = evolve(KEPT, precision=-32)
        return NtpDatagrams(NtpOptions(), machine.read, lambda: state)

    def stays(self, machine: SlowMachine, sending: int, batches: int = 40) -> list[int]:
        """Serve full batches; return how long after its transmit timestamp each answer left."""
        protocol, found = self.protocol(machine), []
        for _ in range(batches):
            batch = SlowBatch(machine, [write()] * LARGEST_GROUP, sending)
            protocol.batch_received(batch)
            found += [left - sent_at(one) for one, left in batch.left]
        return found

    def test_interfaces(self) -> None:
        """It takes batches."""
        self.assertTrue(verifyClass(IBatchProtocol, NtpDatagrams))
        self.assertTrue(verifyClass(IDatagramBatch, SlowBatch))

    def test_transmit(self) -> None:
        """
        Each answer leaves within 100 us of its transmit timestamp, and not before it, on machines
        of any speed; where sending alone takes longer, it leaves alone.
        """
        for writing, sending in ((700, 3000), (0, 100), (700, 20000), (5000, 40000)):
            found = self.stays(SlowMachine(NOW, writing), sending)
            learnt = found[LARGEST_GROUP:]
            self.assertLessEqual(max(learnt, default=0), 2 * STAY, (writing, sending))
            self.assertGreaterEqual(min(learnt, default=0), 0, (writing, sending))

    def test_alone(self) -> None:
        """Where one takes too long, each is delivered; when that is over, there are groups."""
        machine = SlowMachine(NOW, 0)
        protocol = self.protocol(machine)
        for sending, alone in ((150_000, True), (1000, False)):
            for _ in range(3):
                batch = SlowBatch(machine, [write()] * LARGEST_GROUP, sending)
                protocol.batch_received(batch)
            self.assertEqual(batch.delivered > LARGEST_GROUP // 2, alone)
        batch = SlowBatch(machine, [write()], 1000)
        protocol.batch_received(batch)
        self.assertEqual(batch.delivered, 1)

    def test_changing_speed(self) -> None:
        """One that becomes faster does not send answers before their time, by more than a bit."""
        machine = SlowMachine(NOW, 700)
        protocol, found = self.protocol(machine), []
        for sending in [6000] * 40 + [3000] * 5 + [9000] * 5:
            batch = SlowBatch(machine, [write()] * LARGEST_GROUP, sending)
            protocol.batch_received(batch)
            found += [left - sent_at(one) for one, left in batch.left]
        self.assertLessEqual(max(found[40 * LARGEST_GROUP :]), 4 * STAY)
        self.assertGreaterEqual(min(found), -2 * STAY)

    def test_other_lengths(self) -> None:
        """Requests with more than the header are delivered one by one, with their group."""
        machine = SlowMachine(NOW, 0)
        requests = [write()] * FIRST_GROUP + [write() + bytes(4)] + [write()] * 20
        batch = SlowBatch(machine, requests, 0)
        self.protocol(machine).batch_received(batch)
        self.assertTrue(batch.delivered)
        self.assertEqual(len(batch.left) + batch.delivered, len(requests))
        self.assertTrue(all(len(one) == LENGTH for one, _ in batch.left))
