"""Tests for L{bench.reach}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.reach import REACHES, SUBJECTS, Reach
from bench.results import Outcome, Results, Sample
from bench.works import WORKS


def results(**figures: float) -> Results:
    """One work in which each server reached a figure."""
    return Results(tuple(Outcome("work", name, (Sample(f),)) for name, f in figures.items()))


class VerdictTests(SynchronousTestCase):
    """Tests for L{Reach.verdict}."""

    def test_at_least(self) -> None:
        """A ratio has to reach its bounds, which belong to it."""
        reach = Reach("echo", "work", 0.95, 1.05, against="uvloop")
        for figure, verdict in (
            (94.0, "short"), (95.0, "met"), (104.0, "met"), (105.0, "goal met")
        ):  # fmt: skip
            self.assertEqual(reach.verdict(results(socketd=figure, uvloop=100.0)), verdict)

    def test_at_most(self) -> None:
        """A time or a size has to stay within its bounds."""
        reach = Reach("start", "work", 600.0, 350.0, at_least=False, unit="ms")
        for figure, verdict in (
            (601.0, "short"), (600.0, "met"), (351.0, "met"), (350.0, "goal met")
        ):  # fmt: skip
            self.assertEqual(reach.verdict(results(socketd=figure)), verdict)

    def test_goal_is_a_peer(self) -> None:
        """Where the goal is a peer, its figure of the same run is the bound, if there is one."""
        reach = Reach("bulk", "work", 1.0, against="asyncio", goal_peer="uvloop")
        for figure, verdict in [(90.0, "short"), (110.0, "met"), (120.0, "goal met")]:
            measured = results(socketd=figure, asyncio=100.0, uvloop=120.0)
            self.assertEqual(reach.verdict(measured), verdict)
        self.assertEqual(reach.verdict(results(socketd=200.0, asyncio=100.0)), "met")

    def test_not_measured(self) -> None:
        """What was not measured is neither met nor short."""
        reach = Reach("echo", "work", 0.95, 1.05, against="uvloop")
        self.assertEqual(reach.verdict(results(socketd=100.0)), "not measured")


class TableTests(SynchronousTestCase):
    """Tests for L{REACHES}."""

    def test_every_row_can_be_measured(self) -> None:
        """Each figure names a work, and servers that take part in it."""
        servers = {work.name: work.servers for work in WORKS}
        for reach in REACHES:
            for name in filter(None, (reach.subject, reach.against, reach.goal_peer)):
                self.assertIn(name, servers[reach.work], reach.figure)

    def test_subjects(self) -> None:
        """Each figure is about socketd."""
        self.assertEqual({reach.subject for reach in REACHES} - set(SUBJECTS), set())

    def test_goal_is_beyond_must(self) -> None:
        """A goal asks for more than what has to be reached."""
        for reach in REACHES:
            if not reach.goal_peer:
                self.assertTrue(reach.holds(reach.goal, reach.must), reach.figure)
