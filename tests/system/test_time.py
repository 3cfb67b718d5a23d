"""C{socketd time} against the daemon's own time servers."""

from __future__ import annotations

import json
from typing import Any

from tests.support.polling import DEADLINE
from tests.support.processes import SystemCase

INI = """
[ntp]
listen = udp:0:interface=127.0.0.1
assume_synchronised = yes
stratum = 1
refid = GPS
[daytime]
listen = tcp:0:interface=127.0.0.1
format = iso
"""


class TimeTests(SystemCase):
    """One daemon with its services of time."""

    def ask(self, address: str) -> Any:
        """Run C{socketd time}."""
        return json.loads(self.output_of("time", address, "--json"))

    def test_services(self) -> None:
        """Both say that the clock is right: it is the same."""
        with self.daemon(INI) as daemon:
            found = self.ask("ntp:{}:{}".format(*daemon.address("ntp", "udp")))
            self.assertLess(abs(found["offset_seconds"]), 1.0)
            self.assertEqual((found["stratum"], found["leap"]), (1, 0))
            self.assertEqual((found["reference"], len(found["samples"])), ("GPS", 4))
            self.assertGreater(found["root_distance_ms"], 0)
            found = self.ask("{}:{}".format(*daemon.address("daytime")))
            self.assertLess(abs(found["offset_seconds"]), DEADLINE)
            self.assertTrue(found["zone_known"])
