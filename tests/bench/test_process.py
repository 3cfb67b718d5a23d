"""Tests for L{bench.process} and L{bench.measure}: servers as they are started and stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.cores import choose
from bench.measure import RunFailed, require_files
from bench.peers.asked import PROBES
from bench.process import LINE_LIMIT, ROOT, ServerFailed, free_port, last_line, serving
from bench.servers import BY_NAME, Place, Server


def broken(place: Place) -> list[str]:
    """A server that says why and ends."""
    return [sys.executable, "-c", "raise SystemExit('no such file')"]


class LogTests(SynchronousTestCase):
    """Tests for L{last_line}."""

    def log(self, text: str) -> Path:
        """A server's log."""
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def test_last_line(self) -> None:
        """Empty lines at the end are not what it said."""
        self.assertEqual(last_line(self.log("first\nlast\n\n  \n")), "last")

    def test_silent(self) -> None:
        """A server may have said nothing, or have no log."""
        self.assertEqual(last_line(self.log("")), "")
        self.assertEqual(last_line(Path("no such log")), "")

    def test_no_paths(self) -> None:
        """Where this project lies does not get into the results, and neither do long lines."""
        self.assertEqual(last_line(self.log(f"in {ROOT}/bench/x.py")), "in ./bench/x.py")
        self.assertEqual(len(last_line(self.log("x" * 1000))), LINE_LIMIT)


class ServingTests(SynchronousTestCase):
    """Tests for L{serving}."""

    def test_starts_and_stops(self) -> None:
        """A server runs on its core while it is needed, and not longer."""
        cores = choose().server
        with serving(BY_NAME["asyncio"], cores, PROBES["udp"]) as running:
            self.assertEqual(os.sched_getaffinity(running.pid), cores)
            self.assertGreater(running.start_seconds, 0)
        self.assertRaises(ProcessLookupError, os.kill, running.pid, 0)

    def test_does_not_start(self) -> None:
        """One that ends instead of answering is told of with its last word."""
        server, core = Server("broken", "broken", broken, lambda: ""), choose().server
        with self.assertRaises(ServerFailed) as caught, serving(server, core):
            self.fail("it answered")
        self.assertEqual(str(caught.exception), "ended with status 1: no such file")

    def test_ports_differ(self) -> None:
        """Two starts never share a port."""
        self.assertNotEqual(free_port(), free_port())


class LimitTests(SynchronousTestCase):
    """Tests for L{require_files}."""

    def test_enough(self) -> None:
        """A few descriptors can always be had."""
        require_files(3)

    def test_too_many(self) -> None:
        """What the system does not allow is told of in numbers."""
        error = self.assertRaises(RunFailed, require_files, 2**62)
        self.assertIn(f"{2**62} are needed", str(error))
