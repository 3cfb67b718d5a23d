"""Tests for the load over TLS, and for the peers that answer it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import servers
from bench.cores import choose
from bench.load import LoadFailed, run
from bench.process import serving
from bench.servers import BY_NAME, Place
from bench.works import TLS_PEERS, WORKS
from tests.bench.short import SHORT, measure
from tests.support.needs import COMPILING, need

#: The loads of the works with TLS, by their names.
LOADS = {work.name: work.load for work in WORKS if work.name.startswith("tls-")}


class PeerTests(SynchronousTestCase):
    """Tests for each peer with TLS."""

    def setUp(self) -> None:
        need(*COMPILING)

    def test_every_peer(self) -> None:
        """
        The daemon, asyncio and plain Twisted echo messages and blocks over TLS, and shake hands;
        plain Twisted resumes no session.
        """
        self.assertEqual(set(LOADS), {"tls-64", "tls-bulk", "tls-connects", "tls-resumed"})
        self.assertEqual(TLS_PEERS, ("socketd-tls", "asyncio-tls", "twisted-tls"))
        for name in TLS_PEERS:
            self.assertEqual(BY_NAME[name].missing(), "", name)
            with serving(BY_NAME[name], choose().server) as running:
                for load in LOADS.values():
                    if "--resume" in load and name == "twisted-tls":
                        continue
                    report = measure([*load, "--port", str(running.port)])
                    self.assertEqual((report.errors, report.first_error), (0, ""), name)
                    self.assertGreater(report.messages, 0, name)


class MissingTests(SynchronousTestCase):
    """Tests for what cannot be measured."""

    def setUp(self) -> None:
        need(*COMPILING)

    def test_no_library(self) -> None:
        """Without OpenSSL's library each of them is missing, and it is said why."""
        self.patch(servers, "TLS_LIBRARY", "libnone.so.9")
        for name in TLS_PEERS:
            self.assertIn("libnone.so.9 is not installed", BY_NAME[name].missing())

    def test_plain_server(self) -> None:
        """A server that does not speak TLS is no peer of these works."""
        with serving(BY_NAME["asyncio"], choose().server) as running:
            arguments = [*LOADS["tls-64"], "--port", str(running.port), *SHORT]
            error = self.assertRaises(
                LoadFailed, run, arguments, choose().load, lambda mark: None
            )
        self.assertIn("Connection refused", str(error))

    def test_not_resumed(self) -> None:
        """A server that resumes no session is not measured as if it did."""
        with serving(BY_NAME["twisted-tls"], choose().server) as running:
            arguments = [*LOADS["tls-resumed"], "--port", str(running.port)]
            try:
                said = measure(arguments, lambda report: report.first_error).first_error
            except LoadFailed as error:  # the first connections were fast
                said = str(error)
        self.assertIn("the session is not resumed", said)

    def test_echo_only(self) -> None:
        """The other modes have no TLS."""
        arguments = ["udp", "--tls", "1", "--port", "1", *SHORT]
        error = self.assertRaises(LoadFailed, run, arguments, choose().load, lambda mark: None)
        self.assertIn("--tls is for echo and connects only", str(error))


class PlaceTests(SynchronousTestCase):
    """Tests for what a server is started with."""

    def test_certificate(self) -> None:
        """Each has its own certificate in its folder, and a key that no other user can read."""
        for name in TLS_PEERS:
            with tempfile.TemporaryDirectory() as folder:
                BY_NAME[name].command(Place(20001, Path(folder)))
                self.assertTrue((Path(folder) / "server.pem").exists(), name)
                mode = (Path(folder) / "server.key").stat().st_mode & 0o777
                self.assertEqual(mode, 0o600, name)
