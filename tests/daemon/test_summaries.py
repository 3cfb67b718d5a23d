"""Tests for L{socketd.daemon.summaries}."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.events import INTERVAL
from socketd.daemon.summaries import Summaries
from tests.control.fakes import make_daemon

INI = "[echo]\nlisten = tcp:7\n[time]\nlisten = udp:37\n"


class SummariesTests(SynchronousTestCase):
    """Tests for L{Summaries}."""

    def setUp(self) -> None:
        daemon = make_daemon(INI)
        self.clock = daemon.reactor
        self.logged: list[str] = []
        observer: Any = lambda event: self.logged.append(formatEvent(event))  # noqa: E731
        self.patch(daemon.event_bus, "_log", Logger(namespace="socketd", observer=observer))
        self.counters_by_service = {one.name: one.counters for one in daemon.service_states}
        self.lost = 0
        self.loses = False
        daemon.event_bus.watch(self.lose)
        self.summaries = Summaries(daemon, lambda: self.lost)
        self.summaries.startService()

    def lose(self, event: Any, facts: Any) -> None:
        """Lose a line of the log, if it cannot be written."""
        self.lost += self.loses

    def turn(self) -> list[str]:
        """Let an interval pass, and return what was logged."""
        self.clock.advance(INTERVAL)
        found, self.logged[:] = list(self.logged), []
        return found

    def test_service(self) -> None:
        """It is a service that takes its timer back."""
        verifyObject(IService, self.summaries)
        self.summaries.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.logged), ([], []))

    def test_refused(self) -> None:
        """Each reason of each service has a line with the number of an interval."""
        self.counters_by_service["echo"].refused = Counter(source_rate=312, network=1)
        self.counters_by_service["time"].datagrams_dropped["loop"] = 5
        expected = [
            "echo refused 1 connections (network) in 10 s",
            "echo refused 312 connections (source_rate) in 10 s",
            "time dropped 5 datagrams (loop) in 10 s",
        ]
        self.assertEqual(self.turn(), expected)
        self.assertEqual(self.turn(), [])
        self.counters_by_service["echo"].refused["network"] += 2
        self.assertEqual(self.turn(), ["echo refused 2 connections (network) in 10 s"])

    def test_nothing(self) -> None:
        """Where nothing was refused nothing is logged."""
        self.assertEqual(self.turn(), [])

    def test_last(self) -> None:
        """What happened shortly before the end is told."""
        self.counters_by_service["echo"].refused["network"] = 2
        self.summaries.stopService()
        self.assertEqual(self.logged, ["echo refused 2 connections (network) in 10 s"])

    def test_lost(self) -> None:
        """Lines that could not be written are told once there is room for a line."""
        self.lost, self.loses = 7, True
        self.turn()
        self.turn()
        self.loses = False
        # The two lines that told of it were lost, too.
        self.assertEqual(self.turn(), ["9 lines of the log could not be written"])
        self.assertEqual(self.turn(), [])
