"""Tests for L{bench.runner}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.measure import RunFailed
from bench.results import Results, Sample
from bench.runner import run
from bench.servers import Place, Server
from bench.works import Kind, Work

PEERS = ("asyncio", "twisted", "threads")
WORK = Work("work", "Work", Kind.RATE, "works/s", PEERS)


def server(name: str, missing: str = "") -> Server:
    """One that is never started."""

    def command(place: Place) -> list[str]:
        raise AssertionError("it is started")

    return Server(name, name, command, lambda: missing)


class Taker:
    """
    Takes samples from nowhere, and notes which server had a turn.

    @ivar broken: the server that never gives a figure.
    """

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.turns: list[str] = []
        self.said: list[str] = []

    def take(self, work: Work, server: Server) -> Sample:
        """One sample."""
        self.turns.append(server.name)
        if server.name == self.broken:
            raise RunFailed("it broke")
        return Sample(float(len(self.turns)))

    def run(self, rounds: int, *servers: Server) -> Results:
        """All rounds; C{servers}: those that take part, or all."""
        chosen = {s.name: s for s in servers or map(server, PEERS)}
        return run([WORK], chosen, rounds, self.take, self.said.append)


class RunTests(SynchronousTestCase):
    """Tests for L{run}."""

    def test_servers_take_turns(self) -> None:
        """Each round asks every server once, and the rounds differ in their order."""
        taker = Taker()
        taker.run(rounds=12)
        rounds = [tuple(taker.turns[i : i + 3]) for i in range(0, 36, 3)]
        self.assertEqual({frozenset(turns) for turns in rounds}, {frozenset(PEERS)})
        self.assertGreaterEqual(len(set(rounds)), 4)

    def test_order_repeats(self) -> None:
        """Two runs ask in the same order, so that they can be compared."""
        first, second = Taker(), Taker()
        first.run(rounds=5)
        second.run(rounds=5)
        self.assertEqual(first.turns, second.turns)

    def test_samples_are_kept(self) -> None:
        """Every server has a sample of each round."""
        results = Taker().run(rounds=2)
        self.assertEqual([len(outcome.samples) for outcome in results.outcomes], [2, 2, 2])

    def test_only_chosen(self) -> None:
        """A server that was not asked for has no turn and no row."""
        taker = Taker()
        results = taker.run(1, server("threads"), server("socat"))
        self.assertEqual(taker.turns, ["threads"])
        self.assertEqual([outcome.server for outcome in results.outcomes], ["threads"])

    def test_failed(self) -> None:
        """A server that fails is reported and not asked again; the others continue."""
        taker = Taker(broken="twisted")
        results = taker.run(rounds=3)
        self.assertEqual(taker.turns.count("twisted"), 1)
        self.assertEqual([outcome.failed for outcome in results.outcomes], ["", "it broke", ""])
        self.assertIn("work 1 twisted: failed: it broke", taker.said)

    def test_missing(self) -> None:
        """A server that is not there has no turn, but a row with the reason."""
        taker = Taker()
        results = taker.run(1, server("asyncio"), server("twisted", missing="went away"))
        self.assertEqual(taker.turns, ["asyncio"])
        self.assertEqual([o.missing for o in results.outcomes], ["", "went away"])
