"""Tests for L{socketd.daemon.socket_drops}."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from socketd.daemon.socket_drops import KernelDrops


class KernelDropsTests(SynchronousTestCase):
    """Tests for L{KernelDrops}, with the kernel."""

    def bound(self) -> socket.socket:
        """Make a socket with as little room as there can be."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.bind(("127.0.0.1", 0))
        return sock

    def flood(self, sock: socket.socket, count: int) -> int:
        """
        Send it datagrams that are not received meanwhile.

        @return: how many of them were lost.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                sender.sendto(bytes(100), sock.getsockname())
        received = 0
        while True:
            try:
                sock.recv(200, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return count - received
            received += 1

    def test_dropped(self) -> None:
        """It counts just what a full receive buffer has lost, from the first look on."""
        drops, sock = KernelDrops(), self.bound()
        lost = self.flood(sock, 100)
        self.assertTrue(0 < lost < 100, lost)
        self.assertEqual(drops.update([("a", sock)]), {"a": lost})
        self.assertEqual(drops.update([("a", sock)]), {"a": lost})
        lost += self.flood(sock, 50)
        self.assertEqual(drops.update([("a", sock)]), {"a": lost})

    def test_none(self) -> None:
        """A service that has lost nothing has a count of 0."""
        self.assertEqual(KernelDrops().update([("a", self.bound())]), {"a": 0})

    def test_several(self) -> None:
        """
        The sockets of a service count together; what was lost at one that is closed
        stays counted.
        """
        drops, one, other, third = KernelDrops(), self.bound(), self.bound(), self.bound()
        lost = [self.flood(sock, 60) for sock in (one, other, third)]
        first = drops.update([("a", one), ("a", other), ("b", third)])
        self.assertEqual(first, {"a": lost[0] + lost[1], "b": lost[2]})
        one.close()
        self.assertEqual(drops.update([("a", other)]), {"a": lost[0] + lost[1], "b": lost[2]})

    def test_closed(self) -> None:
        """A socket that is closed already does no harm."""
        sock = self.bound()
        sock.close()
        self.assertEqual(KernelDrops().update([("a", sock)]), {"a": 0})
