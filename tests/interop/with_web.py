"""Prometheus' own check of what /metrics answers, and curl as a client of HTTP."""

from __future__ import annotations

import subprocess

from tests.interop.client_case import InteropCase
from tests.support.needs import locate
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon
from tests.support.sockets import read_exactly

INI = """
[socketd]
http = tcp:0

[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
"""

CURL = ("-sS", "--max-time", str(DEADLINE))


class WebClientTests(InteropCase):
    """Programs that ask over HTTP get what they expect."""

    def curl(self, *arguments: str) -> bytes:
        """Run curl up to its end."""
        command = [locate("curl"), *CURL, *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE).stdout

    def url(self, daemon: Daemon, path: str) -> str:
        """Write the URL of a page."""
        host, port = daemon.address("http")
        return f"http://{host}:{port}{path}"

    def test_promtool(self) -> None:
        """promtool finds nothing to complain of in the figures."""
        with self.serve(INI) as daemon:
            with daemon.connect("echo") as client:
                client.sendall(b"x")
                read_exactly(client, 1)
            figures = self.curl(self.url(daemon, "/metrics"))
        self.assertIn(b'\nsocketd_connections_total{service="echo"} 1.0\n', figures)
        command = [locate("promtool"), "check", "metrics"]
        ran = subprocess.run(command, input=figures, capture_output=True, timeout=DEADLINE)
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, b"", b""))

    def test_curl(self) -> None:
        """
        curl is served over HTTP/1.0 and 1.1, again on the same connection, HEAD too, and
        is told when it asks for what is not there.
        """
        with self.serve(INI) as daemon:
            page, none = self.url(daemon, "/healthz"), self.url(daemon, "/none")
            self.assertEqual(self.curl(page, page), b"serving\n" * 2)
            self.assertEqual(self.curl("--http1.0", page), b"serving\n")
            self.assertIn(b"Content-Length: 8\r\n", self.curl("--head", page))
            status = ("--output", "/dev/null", "--write-out", "%{http_code} %{num_connects},")
            self.assertEqual(self.curl(*status, page, page), b"200 1,serving\n200 0,")
            self.assertEqual(self.curl(*status, none), b"404 1,")
            self.assertEqual(self.curl(*status, "--data", "x=1", page), b"413 1,")
