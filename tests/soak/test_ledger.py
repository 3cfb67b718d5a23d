"""Tests for the ledger of the clients, and how connections get into it."""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.soak.client import Client, Gone
from tests.soak.ledger import Ledger, total
from tests.soak.wires import Mismatch


class TotalTests(SynchronousTestCase):
    """Tests for L{tests.soak.ledger.total}."""

    def test_sum(self) -> None:
        """Numbers and reasons of all ledgers are added, service by service and kind by kind."""
        one, two = Ledger(), Ledger()
        for ledger, number in ((one, 1), (two, 10)):
            ledger.account("echo").sent = number
            ledger.account("echo").refused["network"] = number
            ledger.deed("bulk").times = number
        two.account("time").connects = 5
        found = total([one, two])
        self.assertEqual(found.account("echo").sent, 11)
        self.assertEqual(found.account("echo").refused, {"network": 11})
        self.assertEqual(found.account("time").connects, 5)
        self.assertEqual(found.deed("bulk").times, 11)
        self.assertEqual(one.account("echo").refused, {"network": 1}, "a part stays as it was")


class ClientTests(SynchronousTestCase):
    """Tests for L{tests.soak.client.Client}."""

    def setUp(self) -> None:
        """Make a client of a daemon that accepts, and no more."""
        self.daemon = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.daemon.close)
        places = {("echo", "tcp"): self.daemon.getsockname()}
        self.client = Client("kind", 0, Random(1), lambda: places, Path("/nowhere"))
        self.account = self.client.ledger.account("echo")

    def test_whole(self) -> None:
        """What went over a connection that ended well is booked as that."""
        with self.client.dial("echo") as peer:
            peer.wire.send(b"hello")
            self.daemon.accept()[0].sendall(b"answer")
            self.assertEqual(peer.wire.read(6), b"answer")
        self.assertEqual((self.account.connects, self.account.torn), (1, 0))
        self.assertEqual((self.account.sent, self.account.received), (5, 6))

    def test_torn(self) -> None:
        """Whatever goes wrong, bytes that may not have arrived are booked apart."""
        with self.assertRaises(Mismatch):
            with self.client.dial("echo") as peer:
                peer.wire.send(b"hello")
                self.client.equal(b"a", b"b")
        self.assertEqual((self.account.sent, self.account.torn), (0, 1))
        self.assertEqual(self.account.torn_sent, 5)
        self.assertEqual(self.client.ledger.deed("kind").checked, 0)

    def test_refused(self) -> None:
        """A connection that the door did not let in has no bytes."""
        with self.client.dial("echo") as peer:
            peer.wire.send(b"hello")
            peer.refused = "network"
        self.assertEqual(self.account.refused, {"network": 1})
        self.assertEqual((self.account.connects, self.account.sent), (1, 0))
        self.assertEqual(self.account.torn_sent, 0)

    def test_gone(self) -> None:
        """Whoever does not listen was not connected to."""
        self.daemon.close()
        with self.assertRaises(Gone):
            with self.client.dial("echo"):
                pass
        with self.assertRaises(Gone):
            self.client.serves("nobody", ("tcp",))
        self.assertEqual(self.account.connects, 0)
