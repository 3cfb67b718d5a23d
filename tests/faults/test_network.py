"""Tests for the bad network itself."""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
import time
from pathlib import Path
from random import Random
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.faults import network
from tests.faults.network import (
    CUT,
    DOUBLED,
    FULL,
    LOST,
    MAX_QUEUE,
    PASSED,
    REFUSED,
    SPOILED,
    TAKEN,
    Line,
    Network,
    Weather,
    flipped,
)
from tests.support.namespaces import Namespace

HERE, THERE = "10.78.0.1", "10.78.0.2"
UDP = socket.IPPROTO_UDP

#: How many packets meet with a lot, and five standard deviations of what is as probable
#: as not: the greatest there are.
MANY = 10_000
SPREAD = 5 * math.sqrt(MANY * 0.25)


def packet(number: int) -> bytes:
    """Write what is an IPv4 packet as far as a line looks at it, and can be told apart."""
    return struct.pack("!B8xBHI24x", 0x45, UDP, 0, number)


def number(found: bytes) -> int:
    """Read which packet it was."""
    return int(struct.unpack_from("!I", found, 12)[0])


class LineTests(SynchronousTestCase):
    """Tests for what happens to packets, without a network or a clock."""

    def line(self, weather: Weather, seed: str = "a") -> Line:
        """Make a line."""
        line = Line(Random(seed))
        line.weather = weather
        return line

    def arrived(self, line: Line, count: int = MANY, until: float = math.inf) -> list[int]:
        """Send packets a millisecond apart, and list those that have arrived in the end."""
        found = []
        for index in range(count):
            line.send(packet(index), index / 1000)
            found += [number(one) for _, one in line.arrivals(index / 1000)]
        return found + [number(one) for _, one in line.arrivals(until)]

    def test_fine(self) -> None:
        """In fine weather all arrive, at once and in order."""
        line = self.line(Weather())
        self.assertEqual(self.arrived(line, 100, until=0), list(range(100)))
        self.assertEqual(line.counts, {(UDP, TAKEN): 100})

    def test_loss(self) -> None:
        """As many are lost as should be, each by itself, and each is counted."""
        line = self.line(Weather(loss=0.33))
        found = self.arrived(line)
        self.assertEqual(len(found) + line.counts[UDP, LOST], MANY)
        self.assertApproximates(line.counts[UDP, LOST], 0.33 * MANY, SPREAD)
        pairs = sum(second == first + 1 for first, second in zip(found, found[1:]))
        self.assertApproximates(pairs, 0.67 * 0.67 * MANY, 2 * SPREAD)

    def test_seed(self) -> None:
        """The same seed does the same, another one does not."""
        weather = Weather(loss=0.1, jitter=0.01, duplicate=0.1, corrupt=0.01)
        first, same, other = (self.arrived(self.line(weather, seed)) for seed in "aab")
        self.assertEqual(first, same)
        self.assertNotEqual(first, other)

    def test_delay(self) -> None:
        """A packet arrives when its time is over, and not before."""
        line = self.line(Weather(delay=0.3))
        self.assertEqual(line.next_at(), math.inf)
        line.send(packet(1), 100.0)
        self.assertEqual(line.next_at(), 100.3)
        self.assertEqual(list(line.arrivals(100.29)), [])
        self.assertEqual(list(line.arrivals(100.3)), [(UDP, packet(1))])
        self.assertEqual(list(line.arrivals(math.inf)), [])

    def test_jitter(self) -> None:
        """
        Where the way takes longer or shorter, order changes, and nothing else; none takes
        longer than it may.
        """
        line = self.line(Weather(delay=0.1, jitter=0.05))
        found = self.arrived(line, until=MANY / 1000 + 0.15)
        self.assertNotEqual(found, list(range(MANY)))
        self.assertEqual(sorted(found), list(range(MANY)))

    def test_duplicate(self) -> None:
        """As many as should be come twice, none of them more often."""
        line = self.line(Weather(duplicate=0.2))
        found = self.arrived(line)
        self.assertEqual(len(found), MANY + line.counts[UDP, DOUBLED])
        self.assertApproximates(line.counts[UDP, DOUBLED], 0.2 * MANY, SPREAD)
        self.assertEqual(set(found), set(range(MANY)))

    def test_corrupt(self) -> None:
        """A spoiled packet differs in one bit, wherever in it; as many as should be."""
        line, different = self.line(Weather(corrupt=0.1)), set()
        for index in range(MANY):
            line.send(packet(0), index)
            for _, found in line.arrivals(index):
                different.add(int.from_bytes(found) ^ int.from_bytes(packet(0)))
        self.assertApproximates(line.counts[UDP, SPOILED], 0.1 * MANY, SPREAD)
        self.assertEqual({one.bit_count() for one in different}, {0, 1})
        self.assertGreater(len(different), 4 * len(packet(0)))

    def test_flipped(self) -> None:
        """It is the bit that was asked for."""
        self.assertEqual(flipped(b"\0\0\0", 9), b"\0\2\0")
        self.assertEqual(flipped(b"\xff\xff", 0), b"\xfe\xff")

    def test_rate(self) -> None:
        """Packets follow one another no faster than the rate lets them."""
        line = self.line(Weather(rate=len(packet(0)) / 0.5))
        for index in range(4):
            line.send(packet(index), 10.0)
        times = []
        while line.next_at() < math.inf:
            times.append(line.next_at())
            self.assertEqual(len(list(line.arrivals(line.next_at()))), 1)
        self.assertEqual(times, [10.5, 11.0, 11.5, 12.0])

    def test_queue(self) -> None:
        """What does not fit is dropped and counted; when others have gone there is room."""
        line = self.line(Weather(delay=10.0))
        for index in range(MAX_QUEUE + 5):
            line.send(packet(index), 0.0)
        self.assertEqual(line.counts[UDP, FULL], 5)
        self.assertEqual(len(list(line.arrivals(10.0))), MAX_QUEUE)
        line.send(packet(0), 10.0)
        self.assertEqual(len(list(line.arrivals(20.0))), 1)

    def test_cut(self) -> None:
        """Once it is cut nothing arrives, not even what was on its way."""
        line = self.line(Weather(delay=1.0))
        line.send(packet(1), 0.0)
        line.weather = Weather(cut=True)
        line.send(packet(2), 0.5)
        self.assertEqual(list(line.arrivals(math.inf)), [])
        self.assertEqual(line.counts[UDP, CUT], 2)
        line.weather = Weather()
        line.send(packet(3), 2.0)
        self.assertEqual(list(line.arrivals(2.0)), [(UDP, packet(3))])


class NetworkTests(SynchronousTestCase):
    """Tests with two real namespaces."""

    def setUp(self) -> None:
        """Make them."""
        self.here = Namespace()
        self.addCleanup(self.here.close)
        self.there = Namespace(self.here)
        self.addCleanup(self.there.close)

    def network(self) -> Network:
        """Connect them."""
        made = Network(self.here, self.there, f"{HERE}/24", f"{THERE}/24", "a")
        self.addCleanup(made.close)
        return made

    def ends(self) -> tuple[socket.socket, socket.socket]:
        """Make a UDP socket of each, connected with one another."""
        ours, theirs = (
            space.socket(socket.AF_INET, socket.SOCK_DGRAM) for space in (self.here, self.there)
        )
        for sock, host in ((ours, HERE), (theirs, THERE)):
            self.addCleanup(sock.close)
            sock.bind((host, 0))
        ours.connect(theirs.getsockname())
        theirs.connect(ours.getsockname())
        return ours, theirs

    def test_exchange(self) -> None:
        """
        Datagrams arrive in both directions as they were sent, nothing arrives while the
        network is cut, and it can be whole again; all of it is counted.
        """
        made = self.network()
        ours, theirs = self.ends()
        for data in (b"hello", bytes(1400), b""):
            ours.send(data)
            self.assertEqual(theirs.recv(2000), data)
            theirs.send(data)
            self.assertEqual(ours.recv(2000), data)
        made.change(Weather(cut=True))
        ours.send(b"nobody hears me")
        made.wait_for(lambda: made.lines[0].counts[UDP, CUT] == 1)
        made.change(Weather())
        ours.send(b"again")
        self.assertEqual(theirs.recv(2000), b"again")
        there, back = (line.counts for line in made.lines)
        made.wait_for(lambda: (there[UDP, PASSED], back[UDP, PASSED]) == (4, 3))
        self.assertEqual((there[UDP, TAKEN], back[UDP, TAKEN]), (5, 3))

    def test_delay(self) -> None:
        """What is delayed takes as long as it should in each direction."""
        self.network().change(Weather(delay=0.1))
        ours, theirs = self.ends()
        began = time.monotonic()
        ours.send(b"?")
        theirs.send(theirs.recv(1))
        self.assertEqual(ours.recv(1), b"?")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_corrupt(self) -> None:
        """The kernel takes no spoiled packet, whichever bit is another."""
        made = self.network()
        ours, theirs = self.ends()
        made.change(Weather(corrupt=1.0))
        counts = made.lines[0].counts
        for sent in range(1, 501):
            ours.send(b"spoiled")
            # One after the other: the queue of the device is short.
            made.wait_for(lambda: counts[UDP, PASSED] + counts[UDP, REFUSED] >= sent)
        made.change(Weather())
        ours.send(b"whole")
        self.assertEqual(theirs.recv(2000), b"whole")

    def test_down(self) -> None:
        """What an interface does not take is counted, and the rest goes on."""
        made = self.network()
        ours, theirs = self.ends()
        self.there.run("ip", "link", "set", "air", "down")
        ours.send(b"lost")
        made.wait_for(lambda: made.lines[0].counts[UDP, REFUSED] == 1)
        self.there.run("ip", "link", "set", "air", "up")
        ours.send(b"again")
        self.assertEqual(theirs.recv(2000), b"again")

    def test_close(self) -> None:
        """A network that is closed leaves no thread, no descriptor and no interface."""
        def state() -> tuple[int, int]:
            return threading.active_count(), len(os.listdir("/proc/self/fd"))

        before = state()
        for _ in range(3):
            made = Network(self.here, self.there, f"{HERE}/24", f"{THERE}/24")
            self.assertNotEqual(state(), before)
            made.close()
            self.assertEqual(state(), before)
        interfaces = Path(f"/proc/{self.here.pid}/net/dev").read_text()
        self.assertNotIn("air:", interfaces)

    def test_no_device(self) -> None:
        """A machine that gives no device has it missing by name."""
        self.patch(network, "TUN", "/nonexistent/tun")
        with self.assertRaisesRegex(SkipTest, "a TUN device: /nonexistent/tun: No such file"):
            self.network()
