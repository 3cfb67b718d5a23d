"""Tests for what a time must be to be believed."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.clock.daytime import daytime_line
from socketd.protocols.clock.time import time_reply
from tests.soak import time_checks
from tests.soak.client import Client
from tests.soak.connections import Mismatch
from tests.soak.time_checks import SINCE_1900, SLACK


class PlausibleTests(SynchronousTestCase):
    """Tests for L{tests.soak.time_checks}."""

    def setUp(self) -> None:
        self.client = Client("kind", 0, Random(1), dict, Path("/nowhere"))
        self.now = time.time()

    def refused(self, check: Callable[..., None], *arguments: object) -> None:
        """See that something is not believed."""
        self.assertRaises(Mismatch, check, self.client, *arguments)

    def test_time(self) -> None:
        """The time of either epoch is believed, another one, less, more or none is not."""
        time_checks.check_time(self.client, time_reply(self.now, "unix"))
        time_checks.check_time(self.client, time_reply(self.now, "1900"), SINCE_1900)
        self.refused(time_checks.check_time, time_reply(self.now, "1900"))
        late = time_reply(self.now - 2 * SLACK, "unix")
        for found in (late, b"", None, bytes(3), bytes(5)):
            self.refused(time_checks.check_time, found)
        self.assertEqual(self.client.counts.load("kind").checked, 2)

    def test_daytime(self) -> None:
        """So is a line for people."""
        time_checks.check_daytime(self.client, daytime_line(self.now, "inetd"))
        late = daytime_line(self.now + 2 * SLACK, "inetd")
        for found in (late, b"", None, b"yesterday\r\n"):
            self.refused(time_checks.check_daytime, found)

    def test_ntp(self) -> None:
        """A server's answer has mode 4, what was asked, and the time."""
        question = time_checks.ntp_question(self.client)
        self.assertEqual(len(question), 48)

        def answer(head: int = 0x24, origin: bytes = question[40:], off: float = 0) -> bytes:
            told = int(self.now + off + SINCE_1900) % 2**32
            return struct.pack("!B23x8s8xII", head, origin, told, 0)

        time_checks.check_ntp(self.client, question, answer())
        wrong = (answer(head=0x23), answer(origin=bytes(8)), answer(off=2 * SLACK))
        for found in (*wrong, b"", None, answer()[1:]):
            self.refused(time_checks.check_ntp, question, found)
