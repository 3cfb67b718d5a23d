"""Tests for the works whose servers are their own: they answer their loads."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from bench import shares
from bench.cores import choose
from bench.load import LoadReport, run
from bench.process import serving
from bench.servers import BY_NAME, rule_lines
from bench.works import WORKS, Work
from tests.support.needs import COMPILING, need

#: Long enough for some hundred messages, short enough for a test.
SHORT = ("--seconds", "0.2", "--warm-up", "0.05")

WORK = {work.name: work for work in WORKS}


def ask(case: SynchronousTestCase, work: Work, name: str) -> LoadReport:
    """Run a work's load against one of its servers."""
    with serving(BY_NAME[name], choose().server, work.probe) as running:
        arguments = [*work.load, "--port", str(running.port), *SHORT]
        report = run(arguments, choose().load, lambda mark: None)
    case.assertEqual((report.errors, report.first_error), (0, ""), name)
    case.assertGreater(report.messages, 0, name)
    return report


class DatagramTests(SynchronousTestCase):
    """Tests for the works with datagrams."""

    def test_sources(self) -> None:
        """From many addresses the time is told by each peer, and all of it is counted."""
        need(*COMPILING)
        for name in WORK["udp-2000"].servers:
            self.assertEqual(ask(self, WORK["udp-2000"], name).unserved, 0)

    def test_ntp(self) -> None:
        """NTP is answered, from few addresses and from many."""
        need(*COMPILING, "chronyd")
        for name in WORK["ntp"].servers:
            for work in ("ntp", "ntp-2000"):
                ask(self, WORK[work], name)


class RulesTests(SynchronousTestCase):
    """Tests for C{rules}."""

    def test_lines(self) -> None:
        """All rules but the last one differ, and none of these is the only one of its kind."""
        lines = rule_lines(100)
        self.assertEqual(len(set(lines)), 100)
        self.assertEqual(sum(" contains " in line for line in lines), 25)
        self.assertEqual(rule_lines(1), lines[-1:])

    def test_servers(self) -> None:
        """The daemon with one rule, with many, and both peers answer the question."""
        need(*COMPILING)
        for name in WORK["rules"].servers:
            ask(self, WORK["rules"], name)


class SharesTests(SynchronousTestCase):
    """Tests for C{shares}."""

    def test_server(self) -> None:
        """The lossy service loses datagrams, sends some twice and others late."""
        with mock.patch.object(shares, "COUNT", 1000):
            with serving(BY_NAME["socketd-lossy"], choose().server) as running:
                found = shares.ask(running.port)
            self.assertTrue(0 < found.lost < 500, found.lost)
            self.assertTrue(found.duplicates and found.late, (found.duplicates, found.late))
