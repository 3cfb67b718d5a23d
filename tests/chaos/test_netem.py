"""Tests for the network emulation itself."""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.netem import (
    CORRUPTED,
    CUT,
    DELIVERED,
    DUPLICATED,
    ENTERED,
    LOST,
    MAX_QUEUE,
    OVERFLOWED,
    Impairment,
    Link,
    Network,
)
from tests.support.namespaces import Namespace

HERE, THERE = "10.78.0.1", "10.78.0.2"
UDP = socket.IPPROTO_UDP

#: How many packets meet with a lot, and five standard deviations of what is as probable
#: as not: the greatest there are.
MANY = 10_000
SPREAD = 5 * math.sqrt(MANY * 0.25)


def packet(number: int) -> bytes:
    """Write what is an IPv4 packet as far as a link looks at it, and can be told apart."""
    return struct.pack("!B8xBHI24x", 0x45, UDP, 0, number)


def number(found: bytes) -> int:
    """Read which packet it was."""
    return int(struct.unpack_from("!I", found, 12)[0])


class LinkTests(SynchronousTestCase):
    """Tests for what happens to packets, without a network or a clock."""

    def link(self, impairment: Impairment, seed: str = "a") -> Link:
        link = Link(Random(seed))
        link.impairment = impairment
        return link

    def arrived(self, link: Link, count: int = MANY, until: float = math.inf) -> list[int]:
        """Send packets a millisecond apart, and list those that have arrived in the end."""
        found = []
        for index in range(count):
            link.send(packet(index), index / 1000)
            found += [number(one) for _, one in link.arrivals(index / 1000)]
        return found + [number(one) for _, one in link.arrivals(until)]

    def test_fine(self) -> None:
        """In fine impairment all arrive, at once and in order."""
        link = self.link(Impairment())
        self.assertEqual(self.arrived(link, 100, until=0), list(range(100)))
        self.assertEqual(link.counts, {(UDP, ENTERED): 100})

    def test_loss(self) -> None:
        """As many are lost as should be, each by itself, and each is counted."""
        link = self.link(Impairment(loss=0.33))
        found = self.arrived(link)
        self.assertEqual(len(found) + link.counts[UDP, LOST], MANY)
        self.assertApproximates(link.counts[UDP, LOST], 0.33 * MANY, SPREAD)
        pairs = sum(second == first + 1 for first, second in zip(found, found[1:]))
        self.assertApproximates(pairs, 0.67 * 0.67 * MANY, 2 * SPREAD)

    def test_seed(self) -> None:
        """The same seed does the same, another one does not."""
        impairment = Impairment(loss=0.1, jitter=0.01, duplicate=0.1, corrupt=0.01)
        first, same, other = (self.arrived(self.link(impairment, seed)) for seed in "aab")
        self.assertEqual(first, same)
        self.assertNotEqual(first, other)

    def test_delay(self) -> None:
        """A packet arrives when its time is over, and not before."""
        link = self.link(Impairment(delay=0.3))
        self.assertEqual(link.next_at(), math.inf)
        link.send(packet(1), 100.0)
        self.assertEqual(link.next_at(), 100.3)
        self.assertEqual(list(link.arrivals(100.29)), [])
        self.assertEqual(list(link.arrivals(100.3)), [(UDP, packet(1))])
        self.assertEqual(list(link.arrivals(math.inf)), [])

    def test_jitter(self) -> None:
        """
        Where the way takes longer or shorter, order changes, and nothing else; none takes
        longer than it may.
        """
        link = self.link(Impairment(delay=0.1, jitter=0.05))
        found = self.arrived(link, until=MANY / 1000 + 0.15)
        self.assertNotEqual(found, list(range(MANY)))
        self.assertEqual(sorted(found), list(range(MANY)))

    def test_duplicate(self) -> None:
        """As many as should be come twice, none of them more often."""
        link = self.link(Impairment(duplicate=0.2))
        found = self.arrived(link)
        self.assertEqual(len(found), MANY + link.counts[UDP, DUPLICATED])
        self.assertApproximates(link.counts[UDP, DUPLICATED], 0.2 * MANY, SPREAD)
        self.assertEqual(set(found), set(range(MANY)))

    def test_corrupt(self) -> None:
        """A spoiled packet differs in one bit, wherever in it; as many as should be."""
        link, different = self.link(Impairment(corrupt=0.1)), set()
        for index in range(MANY):
            link.send(packet(0), index)
            for _, found in link.arrivals(index):
                different.add(int.from_bytes(found) ^ int.from_bytes(packet(0)))
        self.assertApproximates(link.counts[UDP, CORRUPTED], 0.1 * MANY, SPREAD)
        self.assertEqual({one.bit_count() for one in different}, {0, 1})
        self.assertGreater(len(different), 4 * len(packet(0)))

    def test_rate(self) -> None:
        """Packets follow one another no faster than the rate lets them."""
        link = self.link(Impairment(rate=len(packet(0)) / 0.5))
        for index in range(4):
            link.send(packet(index), 10.0)
        times = []
        while link.next_at() < math.inf:
            times.append(link.next_at())
            self.assertEqual(len(list(link.arrivals(link.next_at()))), 1)
        self.assertEqual(times, [10.5, 11.0, 11.5, 12.0])

    def test_queue(self) -> None:
        """What does not fit is dropped and counted; when others have gone there is room."""
        link = self.link(Impairment(delay=10.0))
        for index in range(MAX_QUEUE + 5):
            link.send(packet(index), 0.0)
        self.assertEqual(link.counts[UDP, OVERFLOWED], 5)
        self.assertEqual(len(list(link.arrivals(10.0))), MAX_QUEUE)
        link.send(packet(0), 10.0)
        self.assertEqual(len(list(link.arrivals(20.0))), 1)

    def test_cut(self) -> None:
        """Once it is cut nothing arrives, not even what was on its way."""
        link = self.link(Impairment(delay=1.0))
        link.send(packet(1), 0.0)
        link.impairment = Impairment(cut=True)
        link.send(packet(2), 0.5)
        self.assertEqual(list(link.arrivals(math.inf)), [])
        self.assertEqual(link.counts[UDP, CUT], 2)
        link.impairment = Impairment()
        link.send(packet(3), 2.0)
        self.assertEqual(list(link.arrivals(2.0)), [(UDP, packet(3))])


class NetworkTests(SynchronousTestCase):
    """Tests with two real namespaces."""

    def setUp(self) -> None:
        self.here = Namespace()
        self.addCleanup(self.here.close)
        self.there = Namespace(self.here)
        self.addCleanup(self.there.close)

    def network(self) -> Network:
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
        made.change(Impairment(cut=True))
        ours.send(b"lost")
        made.wait_for(lambda: made.links[0].counts[UDP, CUT] == 1)
        made.change(Impairment())
        ours.send(b"again")
        self.assertEqual(theirs.recv(2000), b"again")
        there, back = (link.counts for link in made.links)
        made.wait_for(lambda: (there[UDP, DELIVERED], back[UDP, DELIVERED]) == (4, 3))
        self.assertEqual((there[UDP, ENTERED], back[UDP, ENTERED]), (5, 3))

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
