"""Tests of C{socketd.net.reactor.epoll}."""

from __future__ import annotations

import math
import socket
from functools import partial
from unittest import mock

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from socketd.net.reactor.epoll import TIME_SLICE, EpollSet
from tests.support.fakes import Endless


class EpollSetTests(SynchronousTestCase):
    """Descriptors are watched as an C{IReactorFDSet} does."""

    def setUp(self) -> None:
        self.now = 0.0
        self.set = EpollSet(lambda: self.now)
        self.addCleanup(self.set.connectionLost, Failure(ConnectionDone()))

    def check_watched(self, readers: list[Endless], writers: list[Endless]) -> None:
        """Check what is watched."""
        self.assertEqual((self.set.getReaders(), self.set.getWriters()), (readers, writers))

    def test_interfaces(self) -> None:
        """It is a set of descriptors and one descriptor itself."""
        for interface in (IReactorFDSet, IReadDescriptor):
            self.assertTrue(verifyClass(interface, EpollSet))
            self.assertTrue(verifyObject(interface, self.set))

    def test_add_and_remove(self) -> None:
        """Reading and writing are watched apart; adding twice is adding once."""
        one = Endless(self)
        self.set.addReader(one)
        self.set.addReader(one)
        self.set.addWriter(one)
        self.check_watched([one], [one])
        self.set.removeReader(one)
        self.check_watched([], [one])
        self.set.removeWriter(one)
        self.set.removeWriter(one)
        self.set.removeReader(one)
        self.assertEqual(self.set.removeAll(), [])

    def test_remove_all(self) -> None:
        """All are removed at once, and named."""
        one, two = Endless(self), Endless(self)
        self.set.addReader(one)
        self.set.addWriter(two)
        self.assertEqual(set(self.set.removeAll()), {one, two})
        self.set.doRead()
        self.assertEqual((one.reads, two.writes), (0, 0))

    def test_bounded_work(self) -> None:
        """Descriptors that are always ready do not keep a wake-up for themselves."""
        ready = [Endless(self) for _ in range(5)]
        for one in ready:
            one.after = self.spend_a_millisecond
            self.set.addReader(one)
        self.set.doRead()
        rounds = math.ceil(TIME_SLICE / (5 * 0.001))
        self.assertEqual([one.reads for one in ready], [rounds] * 5)

    def spend_a_slice(self) -> None:
        """Let so much time pass that the wake-up ends with this round."""
        self.now += TIME_SLICE

    def spend_a_millisecond(self) -> None:
        """Let time pass."""
        self.now += 0.001

    def test_raises(self) -> None:
        """A descriptor that raises is lost and logged; the others are served."""
        bad, good = Endless(self), Endless(self)
        bad.problem = ValueError("a fault")
        good.after = self.spend_a_slice
        self.set.addReader(bad)
        self.set.addReader(good)
        self.set.doRead()
        self.assertEqual(len(bad.lost), 1)
        self.assertEqual(self.set.getReaders(), [good])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_no_memory(self) -> None:
        """Where memory does not even suffice for the complaint, the set lives on."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        descriptor = mock.Mock(spec=("fileno", "doRead", "logPrefix"))
        descriptor.fileno.return_value = ours.fileno()
        descriptor.doRead.side_effect = descriptor.logPrefix.side_effect = MemoryError
        self.set.addReader(descriptor)
        theirs.send(b"x")
        self.set.doRead()
        self.assertEqual(self.set.removeAll(), [descriptor])

    def test_removed_by_another(self) -> None:
        """A descriptor that an earlier one of the same round removed is not served."""
        one, two = Endless(self), Endless(self)

        def remove(other: Endless) -> None:
            self.spend_a_slice()
            self.set.removeReader(other)

        one.doRead = partial(remove, two)  # type: ignore[method-assign]
        two.doRead = partial(remove, one)  # type: ignore[method-assign]
        self.set.addReader(one)
        self.set.addReader(two)
        self.set.doRead()
        self.assertEqual(len(self.set.getReaders()), 1)

    def test_descriptor_used_again(self) -> None:
        """A hang-up of a closed descriptor does not hit the one that took its number."""
        first, old = Endless(self), Endless(self)
        old.peer.close()
        newer: list[Endless] = []

        def replace() -> None:
            self.spend_a_slice()
            if not newer:
                self.set.removeReader(old)
                old.ours.close()
                newer.append(Endless(self))
                self.set.addReader(newer[0])

        first.doRead = replace  # type: ignore[method-assign]
        self.set.addReader(first)
        self.set.addReader(old)
        self.set.doRead()
        self.assertEqual(newer[0].lost, [])

    def test_files(self) -> None:
        """A regular file, which epoll(7) does not take, is watched all the same."""
        with open(self.mktemp(), "wb") as one:
            file = Endless(self)
            self.patch(file, "fileno", one.fileno)
            self.set.addReader(file)
            self.set.addWriter(file)
            self.check_watched([file], [file])
            self.set.removeReader(file)
            self.check_watched([], [file])
            self.set.removeReader(file)
            self.assertEqual(self.set.removeAll(), [file])
            self.check_watched([], [])

    def test_end(self) -> None:
        """When the set ends, each descriptor is told, though one of them raises."""
        ended = EpollSet()
        bad, good = Endless(self), Endless(self)
        bad.connectionLost = lambda reason: 1 / 0  # type: ignore[method-assign, assignment]
        for one in (bad, good):
            ended.addReader(one)
        ended.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(good.lost), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_hang_up_of_a_paused_writer(self) -> None:
        """A peer that hangs up ends a descriptor that only waits to write."""
        one = Endless(self)
        one.peer.close()
        self.set.addWriter(one)
        self.set.doRead()
        self.assertEqual([type(reason.value) for reason in one.lost], [ConnectionLost])
