"""Tests for L{bench.report}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.machine import Machine
from bench.report import Run, number, one_table, page, reach_table, row, table, without_empty
from bench.results import Outcome, Results, Sample
from bench.works import FULL, WORKS

ECHO = next(work for work in WORKS if work.name == "pingpong-64")

MACHINE = Machine(
    date="2026-01-01 00:00 UTC",
    cpu="Abacus",
    cores=2,
    memory_gib=1.0,
    kernel="Linux 6.1",
    versions=(("Twisted", "26.10.0"),),
)

RESULTS = Results(
    (
        Outcome(ECHO.name, "socketd", (Sample(150000.0, 400.0, 900.0, 6.0, load_busy=0.8),)),
        Outcome(ECHO.name, "uvloop", (Sample(120000.0, 500.0, 990.0, 8.0, load_busy=0.7),)),
        Outcome(ECHO.name, "xinetd", missing="xinetd is not installed"),
        Outcome(ECHO.name, "socat", failed="ended with status 1: no such address"),
    )
)


def cells(text: str, first: str) -> list[str]:
    """The cells of the line that begins with one."""
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.split("\n")]
    return next(line for line in lines if line[0] == first)


def run(others: float = 0.0) -> Run:
    """A run in which one work was measured; C{others}: what other programs took meanwhile."""
    return Run(MACHINE, FULL, (ECHO,), RESULTS, others)


class NumberTests(SynchronousTestCase):
    """Tests for L{number}."""

    def test_number(self) -> None:
        """Large figures are grouped, small ones have two decimals, and none is a dash."""
        read = [number(value) for value in (152300.4, 100.0, 12.345, 0.0, None)]
        self.assertEqual(read, ["152 300", "100", "12.35", "0.00", "-"])


class TableTests(SynchronousTestCase):
    """Tests for L{table} and L{without_empty}."""

    def test_columns_are_aligned(self) -> None:
        """A table is Markdown, and can be read without being rendered."""
        self.assertEqual(
            table(("a", "bcd"), [("long", "1")]),
            "| a    | bcd |\n| ---- | --- |\n| long | 1   |\n",
        )

    def test_empty_columns_are_left_out(self) -> None:
        """A column that says nothing in any row takes no room."""
        header, rows = without_empty(("a", "b", "c"), [("1", "-", ""), ("2", "", "x")])
        self.assertEqual((header, rows), (["a", "c"], [["1", ""], ["2", "x"]]))


class RowTests(SynchronousTestCase):
    """Tests for L{row}."""

    def test_peer(self) -> None:
        """A peer's row says what socketd reaches against it."""
        expected = [
            "uvloop", "120 000", "120 000 - 120 000", "500 / 990", "8.00", "-", "70%",
            "1.25", "0.75", "",
        ]
        self.assertEqual(row(RESULTS.outcomes[1], RESULTS), expected)

    def test_tls(self) -> None:
        """Behind TLS socketd is another server of the bench, and compared all the same."""
        ours, theirs = (
            Outcome("tls-64", server, (Sample(figure, 400.0, 900.0, 6.0),))
            for server, figure in (("socketd-tls", 50.0), ("asyncio-tls", 100.0))
        )
        results = Results((ours, theirs))
        self.assertEqual(row(theirs, results)[-3:-1], ["0.50", "1.00"])
        self.assertEqual(row(ours, results)[-3:-1], ["-", "-"])

    def test_subject(self) -> None:
        """socketd is not compared with itself."""
        self.assertEqual(row(RESULTS.outcomes[0], RESULTS)[-3:], ["-", "-", ""])


class PageTests(SynchronousTestCase):
    """Tests for what is printed and kept."""

    def test_missing_and_failed_are_told(self) -> None:
        """A server without a figure has its row, and the reason in it."""
        for text in (one_table((ECHO,), RESULTS), page(run(), "")):
            self.assertIn("missing: xinetd is not installed", text)
            self.assertIn("failed: ended with status 1: no such address", text)

    def test_verdicts(self) -> None:
        """Each wanted figure is told with its bounds and a verdict."""
        line = cells(reach_table(RESULTS), "TCP echo, 64 connections, against uvloop")
        self.assertEqual(line[1:], [">= 1.00", ">= 1.10", "1.25", "goal met"])

    def test_unit_stands_by_figure(self) -> None:
        """What is no ratio has its unit."""
        started = Results((Outcome("start", "socketd", (Sample(420.0),)),))
        line = cells(reach_table(started), "start to first answer")
        self.assertEqual(line[1:], ["<= 600 ms", "<= 350 ms", "420 ms", "met"])

    def test_machine_and_versions(self) -> None:
        """The page says what it was measured on."""
        for said in ("2026-01-01 00:00 UTC", "Abacus, 2 cores", "Linux 6.1", "26.10.0"):
            self.assertIn(said, page(run(), ""))

    def test_notes(self) -> None:
        """What people have to say stands at the end."""
        self.assertTrue(page(run(), "## Where the time goes\n").endswith("time goes\n"))

    def test_busy_machine(self) -> None:
        """Figures from a machine that was busy otherwise say so themselves; others do not."""
        warning = "do not trust these figures"
        self.assertIn(warning, page(run(others=0.5), ""))
        self.assertNotIn(warning, page(run(others=0.05), ""))
