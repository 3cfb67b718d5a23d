"""Daemons with workers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase

INI = """
[socketd]
workers = 2
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1, unix:{directory}/echo
"""

#: All of them meet one of two workers once in 2 ** 29 hashes.
SOURCES = [f"127.0.0.{number}" for number in range(1, 31)]


#: Longer than three processes take to start on a busy machine (seconds).
START = 4 * DEADLINE


class WorkersCase(SystemCase):
    """A daemon with two workers."""

    timeout = 10 * DEADLINE

    @contextmanager
    def started(self, ini: str = INI) -> Iterator[Daemon]:
        """Start a daemon, and wait until all serve."""
        with self.daemon(ini.format(directory=self.directory)) as daemon:
            self.serving(daemon, 0)
            self.serving(daemon, 1)
            yield daemon

    def serving(self, daemon: Daemon, worker: int) -> int:
        """Wait until a worker serves, and return its process id."""
        line = rf"worker {worker} serves \(process (\d+)\)$"
        return int(daemon.output.find(rf"{line}(?![\s\S]*worker {worker} \()", START)[1])

    def connect(
        self, daemon: Daemon, source: str, service: str = "echo", kind: str = "tcp"
    ) -> socket.socket:
        """Connect from a source."""
        address = daemon.address(service, kind)
        sock = socket.create_connection(address, DEADLINE, (source, 0))
        self.addCleanup(sock.close)
        return sock

    def number(self, daemon: Daemon, sock: socket.socket) -> int:
        """Find the id that a connection has in the log."""
        host, port = sock.getsockname()[:2]
        return int(daemon.output.find(rf"from {host}:{port} \(\w+ (\d+)\)$")[1])

    def sources_of(self, daemon: Daemon) -> tuple[list[str], list[str]]:
        """Sort the sources by the worker that they meet: each has its own connection ids."""
        found: tuple[list[str], list[str]] = [], []
        for source in SOURCES:
            with self.connect(daemon, source) as sock:
                self.check_echo(sock)
                found[(self.number(daemon, sock) - 1) % 2].append(source)
        self.assertTrue(all(found))
        return found


class WithWorkers(SystemCase):
    """Has two workers serve what a test writes."""

    timeout = 10 * DEADLINE

    # One worker meets all from 127.0.0.1.
    first, second = 2, 4

    _is_started = False

    def write(self, name: str, content: str | bytes) -> Path:
        if self._is_started and name == "socketd.ini" and isinstance(content, str):
            content = with_workers(content)
        return super().write(name, content)

    def twistd(self, *options: str, **how: Any) -> Daemon:
        """Start a daemon, and wait until all serve, where its log is known."""
        (file,) = (Path(one.removeprefix("--config=")) for one in options if ".ini" in one)
        file.write_text(with_workers(file.read_text()))
        self._is_started = True
        daemon = super().twistd(*options, **how)
        if "stdout" not in how and "twistd" not in how:
            for worker in range(2):
                daemon.output.find(f"worker {worker} serves", START)
        return daemon


def with_workers(ini: str) -> str:
    """Add two workers to a configuration that says nothing of them."""
    if re.search("^workers =", ini, re.MULTILINE):
        return ini
    more = "[socketd]\nworkers = 2\n"
    return ini.replace("[socketd]\n", more) if "[socketd]\n" in ini else f"{ini}\n{more}"
