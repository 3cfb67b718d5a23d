"""Eras that begin while the real daemon serves."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from tests.chaos import figures
from tests.chaos.clocks import ClockCase
from tests.support.polling import DEADLINE

#: The daemon comes up so long before the turn (seconds), on a busy machine too.
BEFORE = 5.0

#: Clients ask for so long after it (seconds): the daemon has looked at its clock by then.
AFTER = 2.0


class EraTests(ClockCase):
    """Time runs on, and a count begins again."""

    def check_turn(self, turn: datetime) -> None:
        """Ask all the time, from before the turn until after it."""
        self.clock.set_to(turn.timestamp() - BEFORE)
        deadline, asked = time.monotonic() + DEADLINE, 0
        with self.serve() as daemon, daemon.connect("echo") as client:
            self.check_echo(client, b"before")
            self.assertLess(self.clock.now(), turn.timestamp())
            while self.clock.now() < turn.timestamp() + AFTER:
                self.assertLess(time.monotonic(), deadline)
                self.check_times(daemon)
                self.assertTrue(self.query_ntp(daemon).is_usable)
                asked += 1
            self.check_echo(client, b"after")
        self.assertEqual(self.count(daemon, "clock stepped"), 0)
        figures.note(self, f"{asked} times asked by each protocol")

    def test_2036(self) -> None:
        """
        NTP's era 1 begins, and RFC 868 counts from zero: each answer is right for a client
        that takes the era nearest to it, ntp stays fit, and no step is seen.
        """
        self.check_turn(datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC))

    def test_2038(self) -> None:
        """Signed seconds since 1970 end, and nothing here has them."""
        self.check_turn(datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC))

    def test_2106(self) -> None:
        """Unsigned seconds since 1970 count from zero again."""
        self.check_turn(datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC))
