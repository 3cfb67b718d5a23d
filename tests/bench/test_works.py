"""Tests for L{bench.works} and L{bench.servers}: the two tables."""

from __future__ import annotations

from pathlib import Path

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from bench.reach import SUBJECTS
from bench.servers import BY_NAME, SERVERS, Place
from bench.works import QUICK_PEERS, WORKS, Kind, Work, choose
from tests.support.needs import COMPILING, need


def names(works: tuple[Work, ...]) -> list[str]:
    return [work.name for work in works]


class ChooseTests(SynchronousTestCase):
    """Tests for L{choose}."""

    def test_choice(self) -> None:
        """
        A full run has every work, a quick one those that fit into a minute; what is asked for by
        name, or by what comes before a dash in a group of names, is measured even then.
        """
        for only, quick, expected in (
            ([], False, names(WORKS)),
            ([], True, ["pingpong-64", "bulk", "connects", "udp", "start"]),
            (["idle", "udp"], True, ["udp", "udp-2000", "idle"]),
            (["pingpong"], False, ["pingpong-1", "pingpong-64", "pingpong-1000"]),
        ):
            self.assertEqual(names(choose(only, quick=quick)), expected)

    def test_unknown(self) -> None:
        """An unknown name is answered with the known ones."""
        error = self.assertRaises(ValueError, choose, ["ping"], quick=False)
        self.assertIn("no work 'ping'; there are pingpong-1, ", str(error))


class TableTests(SynchronousTestCase):
    """Tests for what the tables hold."""

    def test_names_are_unique(self) -> None:
        """A name means one work or one server."""
        self.assertEqual(len(set(names(WORKS))), len(WORKS))
        self.assertEqual(len(BY_NAME), len(SERVERS))

    def test_every_peer_is_known(self) -> None:
        """A work names servers that there are, socketd first."""
        for work in WORKS:
            self.assertEqual(set(work.servers) - set(BY_NAME), set(), work.name)
            self.assertIn(work.servers[0], SUBJECTS)
        self.assertEqual(set(QUICK_PEERS) - set(BY_NAME), set())

    def test_load(self) -> None:
        """Shares, starts and the memory of workers are measured without the load generator."""
        without = ["shares", "workers-memory", "workers-start", "start"]
        self.assertEqual([w.name for w in WORKS if not w.load], without)

    def test_less_is_better(self) -> None:
        """What is no rate is better when less: memory, time, and deviations."""
        kinds = {work.kind for work in WORKS if work.less_is_better}
        self.assertEqual(kinds, set(Kind) - {Kind.RATE, Kind.BULK})


class CommandTests(SynchronousTestCase):
    """Tests for how servers are started."""

    def place(self, reactor: str = "") -> Place:
        """Somewhere."""
        folder = FilePath(self.mktemp())
        folder.makedirs()
        return Place(20001, Path(folder.path), reactor)

    def told(self, name: str) -> str:
        """What a server is told, on its command line or in a file that stands there."""
        place = self.place()
        said = BY_NAME[name].command(place)
        return " ".join([*said, *(path.read_text() for path in place.folder.iterdir())])

    def test_port_is_named(self) -> None:
        """Every server is told its port."""
        need(*COMPILING)
        for name in BY_NAME:
            self.assertIn("20001", self.told(name), name)

    def test_only_loopback(self) -> None:
        """What can be told where to listen is told 127.0.0.1."""
        for name in ("socketd", "xinetd", "socat", "chronyd"):
            self.assertIn("127.0.0.1", self.told(name), name)

    def test_reactor(self) -> None:
        """socketd runs on the reactor that was asked for, else on twistd's own choice."""
        socketd = BY_NAME["socketd"]
        self.assertIn("--reactor=poll", socketd.command(self.place("poll")))
        self.assertNotIn("--reactor", " ".join(socketd.command(self.place())))
