"""The web service of the real daemon, over real sockets."""

from __future__ import annotations

import http.client
import re
import socket
import struct
from contextlib import ExitStack

from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import connect_is_reset, read_to_end

INI = """
[socketd]
http = tcp:0
max_connections = 4

[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
max_per_source = 1

[strict]
protocol = echo
listen = tcp:0:interface=127.0.0.1
deny = any
"""


class WebTests(SystemCase):
    """/metrics and /healthz of a running daemon."""

    def get(self, daemon: Daemon, path: str) -> tuple[int, str]:
        """
        Ask for a page.

        @return: its status and its text.
        """
        host, port = daemon.address("http")
        self.assertEqual(host, "127.0.0.1")
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def value(self, text: str, name: str) -> float:
        """Find one figure in what was scraped."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found is not None, f"no {name} in:\n{text}"
        return float(found[1])

    def test_figures(self) -> None:
        """The figures are those of what clients did."""
        with self.daemon(INI) as daemon, ExitStack() as stack:
            self.assertEqual(self.get(daemon, "/healthz"), (200, "serving\n"))
            self.assertTrue(connect_is_reset(lambda: daemon.connect("strict")))
            first = stack.enter_context(daemon.connect("echo"))
            self.check_echo(first)
            self.assertTrue(connect_is_reset(lambda: daemon.connect("echo")))
            with daemon.connect("echo", "udp") as asking:
                asking.send(b"datagram")
                self.assertEqual(asking.recv(100), b"datagram")
            text = self.get(daemon, "/metrics")[1]
            for name, expected in (
                ('socketd_connections_open{service="echo"}', 1),
                ('socketd_connections_total{service="echo"}', 1),
                ('socketd_received_bytes_total{service="echo"}', 5),
                ('socketd_sent_bytes_total{service="echo"}', 5),
                ('socketd_datagrams_received_total{service="echo"}', 1),
                ('socketd_datagrams_sent_total{service="echo"}', 1),
                ('socketd_datagrams_kernel_dropped_total{service="echo"}', 0),
                ("socketd_serving", 1),
            ):
                self.assertEqual(self.value(text, name), expected, name)
            for service, reason in (("echo", "source_limit"), ("strict", "network")):
                labels = f'{{reason="{reason}",service="{service}"}}'
                name = f"socketd_connections_refused_total{labels}"
                self.assertEqual(self.value(text, name), 1, name)
            self.assertTrue(self.value(text, "process_resident_memory_bytes") > 0)

    def test_odd_clients(self) -> None:
        """
        Slow and silent clients, resets and too many at once do no harm: the next request is
        answered, and so is the service.
        """
        with self.daemon(INI) as daemon, ExitStack() as stack:
            address = daemon.address("http")
            for data in (b"", b"GET /me", b"GET / HTTP/1.1\r\nA: b\r\n", b"\0\xff") * 15:
                client = stack.enter_context(socket.create_connection(address, DEADLINE))
                client.sendall(data)
            with socket.create_connection(address, DEADLINE) as rude:
                rude.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with socket.create_connection(address, DEADLINE) as big:
                big.sendall(b"GET / HTTP/1.1\r\nA: " + b"b" * 8000 + b"\r\n\r\n")
                self.assertNotIn(b" 200 ", read_to_end(big))
            with socket.create_connection(address, DEADLINE) as half:
                half.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                half.shutdown(socket.SHUT_WR)
                self.assertTrue(read_to_end(half).endswith(b"serving\n"))
            self.assertEqual(self.get(daemon, "/metrics")[0], 200)
            with daemon.connect("echo") as client:
                self.check_echo(client, b"x")

    def test_draining(self) -> None:
        """While the daemon stops it says so, until its last connection has ended."""
        with self.daemon(INI) as daemon:
            with daemon.connect("echo") as client:
                self.check_echo(client, b"x")
                daemon.ask_to_stop()
                daemon.output.wait_for("stopping; ")
                status, text = self.get(daemon, "/healthz")
                self.assertEqual((status, text), (503, "stopping\n"))

    def test_unix(self) -> None:
        """It serves at a UNIX socket with the mode it was given, and removes it at the end."""
        path = self.directory / "http.sock"
        with self.daemon(INI.replace("tcp:0\n", f"unix:{path}:mode=600\n", 1)) as daemon:
            daemon.address("http", "unix")
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            with daemon.connect("http", "unix") as client:
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                self.assertTrue(read_to_end(client).endswith(b"\r\n\r\nserving\n"))
        self.assertFalse(path.exists())

    def test_taken(self) -> None:
        """An address that is taken stops the start with one line."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            file = self.write("taken.ini", INI.replace("tcp:0", f"tcp:{port}", 1))
            ended = self.run_twistd(file)
        self.assertEqual((ended.status, ended.errors.count("\n")), (1, 1))
        expected = f"[socketd] http: cannot listen at tcp 127.0.0.1:{port}: Address already in use"
        self.assertTrue(ended.errors.startswith(expected), ended.errors)

    def test_complaint(self) -> None:
        """
        A place that is none for HTTP is complained of with its line, by the daemon and by
        the check.
        """
        for place in ("udp:9155", "tcp:x"):
            file = self.write("bad.ini", INI.replace("tcp:0", place, 1))
            for ended in self.run_both(file):
                self.assertEqual(ended.status, 78, place)
                start = f"{file}:3: [socketd] http = {place}: "
                self.assertTrue(ended.errors.startswith(start), ended.errors)
