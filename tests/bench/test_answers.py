"""Tests for the works about faults and rules: their servers answer their loads."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from bench import shares
from bench.cores import choose
from bench.load import run
from bench.process import serving
from bench.servers import BY_NAME, rule_lines
from bench.works import WORKS
from tests.support.needs import COMPILING, need

#: Long enough for some hundred messages, short enough for a test.
SHORT = ("--seconds", "0.2", "--warm-up", "0.05")

WORK = {work.name: work for work in WORKS}


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
            with serving(BY_NAME[name], choose().server, False) as running:
                arguments = [*WORK["rules"].load, "--port", str(running.port), *SHORT]
                report = run(arguments, choose().load, lambda mark: None)
            self.assertEqual((report.errors, report.first_error), (0, ""), name)
            self.assertGreater(report.messages, 0, name)


class SharesTests(SynchronousTestCase):
    """Tests for C{shares}."""

    def test_server(self) -> None:
        """The lossy service loses datagrams, sends some twice and others late."""
        with mock.patch.object(shares, "COUNT", 1000):
            with serving(BY_NAME["socketd-lossy"], choose().server, False) as running:
                found = shares.ask(running.port)
            self.assertTrue(0 < found.lost < 500, found.lost)
            self.assertTrue(found.duplicates and found.late, (found.duplicates, found.late))
