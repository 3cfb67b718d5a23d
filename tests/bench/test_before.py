"""Tests for L{bench.before}."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import before
from bench.reach import EVERYWHERE
from bench.results import Outcome, Results, Sample
from bench.servers import Place
from bench.works import choose


def outcome(server: str, *figures: float) -> Outcome:
    """Make what one server reached in the rounds of UDP."""
    return Outcome("udp", server, tuple(Sample(figure) for figure in figures))


class BeforeTests(SynchronousTestCase):
    """Tests for the comparison with another checkout."""

    def setUp(self) -> None:
        self.checkout = Path(self.mktemp()).resolve()
        self.twistd = self.checkout / ".venv" / "bin" / "twistd"
        self.twistd.parent.mkdir(parents=True)

    def test_servers(self) -> None:
        """The other checkout serves with its own twistd, and is told the same."""
        self.twistd.touch()
        servers = before.servers(self.checkout)
        place = Place(7007, self.checkout)
        now, then = (servers[name].command(place) for name in ("socketd", "socketd-before"))
        self.assertEqual(then, [str(self.twistd), *now[1:]])
        self.assertEqual(len(servers), 2 * len(EVERYWHERE))

    def test_no_environment(self) -> None:
        """Without an environment there it is said how to make one."""
        error = self.assertRaises(ValueError, before.servers, self.checkout)
        self.assertIn("run make test in", str(error))

    def test_works(self) -> None:
        """Only socketd and the other checkout take part, with TLS and without."""
        works = before.works(choose(["udp", "tls"], quick=False))
        pairs = {work.name: work.servers for work in works}
        self.assertEqual(pairs["udp"], ("socketd", "socketd-before"))
        self.assertEqual(pairs["tls-64"], ("socketd-tls", "socketd-tls-before"))

    def test_ratios(self) -> None:
        """The ratio is the median of those of the rounds."""
        works = before.works(choose(["udp"], quick=False))
        results = Results((outcome("socketd", 3, 8, 5), outcome("socketd-before", 2, 4, 5)))
        row = before.ratios(works, results).splitlines()[2]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        self.assertEqual(cells, ["udp", "datagrams/s", "4.00", "5.00", "1.50", "above 1", "-"])
