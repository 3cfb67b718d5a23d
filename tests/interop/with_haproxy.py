"""
HAProxy in front of two daemons, with the configuration of F{etc/haproxy}; and curl, which
writes the header of a balancer too.
"""

from __future__ import annotations

import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from attrs import define, field

from tests.interop.client_case import InteropCase
from tests.support.needs import locate
from tests.support.polling import DEADLINE, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon
from tests.support.sockets import address_of, read_exactly

EXAMPLE = Path(__file__).parent.parent.parent / "etc" / "haproxy" / "haproxy.cfg"

BACKEND = """
[echo]
listen = haproxy:tcp:0:interface=127.0.0.1
proxy_from = 127.0.0.1
"""

#: How the variant of the example begins.
VARIANT = "    #   "

#: Clients that talk while a daemon dies, and those that come right after.
CLIENTS = 20

MESSAGE = b"socketd " * 8


@define(eq=False)
class Client:
    """
    A client that talks until it is told to stop, or its connection ends.

    @ivar answers: how many messages came back.
    @ivar failed: how its connection ended, if it did.
    """

    sock: socket.socket
    stop: Event
    answers: int = 0
    failed: str = field(default="")

    def talk(self) -> None:
        """Send a message, read it back, and again."""
        while not self.stop.is_set():
            try:
                self.sock.sendall(MESSAGE)
                received = read_exactly(self.sock, len(MESSAGE))
            except ConnectionError as problem:
                self.failed = str(problem)
                return
            if received != MESSAGE:
                self.failed = f"came back: {received!r}"
                return
            self.answers += 1


class BalancerTests(InteropCase):
    """Tests for the example, at ports of loopback."""

    def configuration(self, port: int, daemons: list[Daemon]) -> Path:
        """Write the example with the addresses of a test."""
        text = EXAMPLE.read_text().replace("bind :7007", f"bind 127.0.0.1:{port}")
        for number, daemon in enumerate(daemons, 11):
            address = "{}:{}".format(*daemon.address("echo"))
            self.assertIn(f"192.0.2.{number}:7007", text)
            text = text.replace(f"192.0.2.{number}:7007", address)
        return self.write("haproxy.cfg", text)

    def balance(self, port: int, daemons: list[Daemon]) -> None:
        """Start HAProxy, and wait until it serves."""
        file = self.configuration(port, daemons)
        # In the foreground, without a master process.
        command = [locate("haproxy"), "-db", "-q", "-f", str(file)]
        given: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        haproxy = subprocess.Popen(command, stderr=subprocess.DEVNULL, **given)
        self.addCleanup(haproxy.wait)
        self.addCleanup(haproxy.kill)
        for daemon in daemons:
            # Its first check: by then it listens itself.
            daemon.output.find(r"connection from 127\.0\.0\.1:")

    def check(self, text: str) -> None:
        """Have HAProxy read a configuration."""
        file = self.write("check.cfg", text)
        command = [locate("haproxy"), "-c", "-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("[WARNING]", done.stderr)

    def test_example(self) -> None:
        """HAProxy takes the example without a warning, and with its variant too."""
        text = EXAMPLE.read_text()
        self.check(text)
        variant = [line for line in text.splitlines() if line.startswith(VARIANT)]
        self.assertEqual(len(variant), 3)
        lines = [
            line
            for line in text.splitlines()
            if not re.match(r"    (option tcp-check|tcp-check|default-server) ?", line)
        ]
        place = lines.index(variant[-1])
        lines[place:place] = ["    " + line.removeprefix(VARIANT) for line in variant]
        self.check("\n".join([*lines, ""]))

    def test_daemon_dies(self) -> None:
        """
        When one of two daemons is killed under load, no connection of the other one is
        lost, and all that connect then are served; the logs have the real source of each.
        """
        dying, port = self.serve(BACKEND), free_port()
        dying.address("echo")
        with self.serve(BACKEND) as staying:
            self.balance(port, [dying, staying])
            stop = Event()
            with ThreadPoolExecutor(CLIENTS) as pool:
                clients = [Client(self.connect(port), stop) for _ in range(CLIENTS)]
                names = {address_of(client.sock): client for client in clients}
                talks = [pool.submit(client.talk) for client in clients]
                try:
                    served = [self.find_sources(daemon, names) for daemon in (dying, staying)]
                    dying.kill()
                    for _ in range(CLIENTS):
                        self.be_served(port)
                finally:
                    stop.set()
                for talk in talks:
                    talk.result(DEADLINE)
        lost, kept = ([names[name] for name in found] for found in served)
        self.assertEqual(len(lost) + len(kept), CLIENTS)
        self.assertTrue(lost and kept)
        self.assertEqual([client.failed for client in kept], [""] * len(kept))
        self.assertTrue(all(client.answers for client in kept))
        self.assertTrue(all(client.failed for client in lost))

    def connect(self, port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.addCleanup(sock.close)
        return sock

    def be_served(self, port: int) -> None:
        """Connect, and get an answer."""
        sock = self.connect(port)
        sock.sendall(MESSAGE)
        self.assertEqual(read_exactly(sock, len(MESSAGE)), MESSAGE)

    def find_sources(self, daemon: Daemon, names: dict[str, Client]) -> list[str]:
        """
        List those of some clients that a daemon's log has as a source; each is shared out
        to one of two daemons, half to each.
        """

        def found() -> list[str]:
            text = daemon.output.text
            sources = re.findall(r"connection from (\S+) \(echo \d+\)$", text, re.M)
            return [name for name in sources if name in names]

        # Among those of HAProxy's own checks.
        wait_until(lambda: len(found()) >= CLIENTS // 2, "not all have come")
        return found()


class CurlTests(InteropCase):
    """Tests for the header of version 1 as curl writes it."""

    def test_header(self) -> None:
        """The daemon takes curl's header, and sends back the request behind it."""
        with self.serve(BACKEND) as daemon:
            host, port = daemon.address("echo")
            url = f"http://{host}:{port}/hello"
            command = [locate("curl"), "-sS", "--http0.9", "--haproxy-protocol", url]
            command += ["--max-time", "2"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
            # An echo never ends, so curl is told to.
            self.assertEqual(done.returncode, 28, done)
            self.assertRegex(done.stdout, r"\AGET /hello HTTP/1\.1\n")
            daemon.output.wait_for(r"connection from 127\.0\.0\.1:\d+ \(echo 1\)$")
