"""Tests for L{bench.shares}."""

from __future__ import annotations

import socket
import threading
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from bench import shares
from bench.load import LoadFailed
from bench.peers.listening import BESIDE
from bench.shares import COUNT, DUPLICATE, LOSS, REORDER, Shares, ask
from tests.support.polling import DEADLINE


class SharesTests(SynchronousTestCase):
    """Tests for L{Shares}."""

    def test_counts(self) -> None:
        """What is missing is lost, what comes again is a duplicate, and what is overtaken late."""
        found = Shares()
        for number in (0, 1, 1, 3, 5, 4, 2, 2):
            found.note(number)
        self.assertEqual((found.lost, found.duplicates, found.late), (COUNT - 6, 2, 2))

    def test_deviations(self) -> None:
        """The counts that the profile leads one to expect are no deviation."""
        kept = COUNT * (1 - LOSS)
        found = Shares(set(range(int(kept))), int(kept * DUPLICATE), int(kept * REORDER))
        self.assertEqual(found.deviations, {"loss": 0.0, "duplicate": 0.0, "reorder": 0.0})
        found.answered -= {0, 1, 2}
        self.assertGreater(found.deviations["loss"], 0)
        self.assertTrue(str(found).startswith("loss 10003 (+0.0 sigma), duplicate 1800 ("), found)


class AskTests(SynchronousTestCase):
    """Tests for L{ask}."""

    def serve(self, *answers: bytes) -> int:
        """Answer each datagram, instead of with itself with one of these if there is one left."""
        server = socket.socket(type=socket.SOCK_DGRAM)
        server.bind((BESIDE, 0))
        server.settimeout(DEADLINE)
        number = int(server.getsockname()[1])

        def run() -> None:
            left = list(answers)
            with server:
                for _ in range(shares.COUNT):
                    datagram, client = server.recvfrom(64)
                    server.sendto(left.pop(0) if left else datagram, client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)
        return number

    def test_echo(self) -> None:
        """An honest echo loses nothing, and has nothing twice or late."""
        with mock.patch.multiple(shares, COUNT=500, LAST_SECONDS=0.1):
            found = ask(self.serve())
            self.assertEqual((found.lost, found.duplicates, found.late), (0, 0, 0))

    def test_wrong(self) -> None:
        """What is no answer to a datagram that was sent ends the measurement."""
        for answer in (b"123", b"\xff" * 4):
            with mock.patch.multiple(shares, COUNT=1, LAST_SECONDS=DEADLINE):
                self.assertRaises(LoadFailed, ask, self.serve(answer))
