"""Tests for the works whose servers are their own: they answer their loads."""

from __future__ import annotations

from contextlib import closing
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from bench import measure, shares
from bench.cores import choose
from bench.load import LoadReport
from bench.measure import Bench, load_options
from bench.process import serving
from bench.results import Sample
from bench.servers import BY_NAME, rule_lines
from bench.works import WORKS, Effort, Work
from tests.bench import short
from tests.support.needs import COMPILING, need

WORK = {work.name: work for work in WORKS}


def ask(case: SynchronousTestCase, work: Work, name: str) -> LoadReport:
    """Run a work's load against one of its servers."""
    with serving(BY_NAME[name], choose().server, work.probe) as running:
        report = short.measure(load_options(work, running.port))
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

    def test_nts(self) -> None:
        """A request with a cookie is answered, again and again."""
        need(*COMPILING, "chronyd")
        for name in WORK["nts"].servers:
            ask(self, WORK["nts"], name)

    def test_stamp(self) -> None:
        """Packets of STAMP are answered, and the time at the reflector is told."""
        need(*COMPILING)
        for work in ("stamp-1", "stamp-2000"):
            self.assertGreater(ask(self, WORK[work], "socketd-stamp").p50_us, 0)


def take(work: str, name: str) -> Sample:
    """Take a sample of a work, as long as is needed."""
    for seconds in short.WINDOWS:
        with closing(Bench(choose(), Effort(1, seconds, 0.05))) as bench:
            sample = bench.sample(WORK[work], BY_NAME[name])
        if sample.figure:
            break
    return sample


class WorkersTests(SynchronousTestCase):
    """Tests for works with two workers."""

    def test_loads(self) -> None:
        """Two workers answer what one process does."""
        need(*COMPILING)
        for work in ("workers-ntp", "workers-nts", "workers-tls"):
            for name in WORK[work].servers:
                self.assertGreater(take(work, name).figure, 0, name)

    def test_memory(self) -> None:
        """Each worker that runs holds some mebibytes."""
        self.patch(measure, "WORKERS_SETTLE", 0)
        sample = take("workers-memory", "socketd-two")
        self.assertGreater(sample.figure, 1)
        self.assertIn("workers", sample.note)


class HalfTests(SynchronousTestCase):
    """Tests for works at half of the peak rate."""

    def test_paced(self) -> None:
        """Latency is measured at a rate that a server keeps."""
        need(*COMPILING)
        sample = take("paced", "asyncio")
        self.assertGreaterEqual(sample.figure, sample.p50_us or 0)
        self.assertIn("/s", sample.note)

    def test_offset(self) -> None:
        """The clock of this machine is right by a server that tells it, busy or not."""
        need(*COMPILING, "chronyd")
        for work in ("offset", "offset-half"):
            self.assertLess(take(work, "socketd-ntp").figure, 1e6)


class RelayTests(SynchronousTestCase):
    """Tests for peers that are there for scale."""

    def test_haproxy(self) -> None:
        """A relay gives back what the server behind it does."""
        need(*COMPILING, "haproxy")
        for work in ("pingpong-64", "connects"):
            ask(self, WORK[work], "haproxy")


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
