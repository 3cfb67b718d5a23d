"""A daemon whose TLS is misused, and a well-behaved client beside."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.chaos.exchanges import scrape
from tests.support.polling import DEADLINE, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import read_exactly
from tests.support.tls import TlsCase, connect_tls, peer_certificate, trusting_context

#: The complaints about files of certificates; they say which service keeps what it has.
_FILES = re.compile("keeps its old certificates;|reload failed, configuration unchanged:")

_COUNT = re.compile(r'socketd_connections_(?:refused|overdue)_total\{reason="(\w+)"')


class ConcurrentHandshakes:
    """
    Clients that verify the certificate, one after the other in a thread, while a block runs.

    @ivar count: how many there were.
    @ivar shown: the certificates that they got.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.count = 0
        self.shown: set[bytes] = set()
        self.problems: list[str] = []
        self._daemon = daemon
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> ConcurrentHandshakes:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ended.set()
        self._thread.join(DEADLINE)

    def _run(self) -> None:
        context = trusting_context()
        while not self._ended.is_set():
            try:
                self._connect(context)
            except (OSError, AssertionError) as problem:
                self.problems.append(repr(problem))
            self.count += 1

    def _connect(self, context: ssl.SSLContext) -> None:
        with connect_tls(self._daemon, "echo", context) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
            self.shown.add(peer_certificate(client))


class TlsFaultCase(TlsCase):
    """A daemon whose events are counted, with a well-behaved client."""

    def counting(self, *lines: str) -> str:
        """Write a configuration of C{echo} whose events are logged and can be counted."""
        return f"[socketd]\nhttp = tcp:0\nlog_level = debug\n{self.ini(*lines)}"

    @contextmanager
    def under_attack(self, *lines: str) -> Iterator[Daemon]:
        """
        Start a daemon; after the attack a well-behaved client that was connected before is
        served, and so is a new one; all descriptors are closed.
        """
        with self.daemon(self.counting(*lines)) as daemon:
            with connect_tls(daemon, "echo") as before:
                self.check_echo(before)
                self.counts(daemon)
                base = daemon.descriptors()
                yield daemon
                self.check_echo(before)
                with connect_tls(daemon, "echo") as after:
                    self.check_echo(after)
                wait_until(lambda: daemon.descriptors() <= base)
        errors = re.findall(r"^\S+ \[\S+#(?:error|critical)\] (.*)", daemon.output.text, re.M)
        self.assertEqual([line for line in errors if not _FILES.search(line)], [])

    def counts(self, daemon: Daemon) -> dict[str, int]:
        """Scrape how many connections were refused, or ended by a deadline, by the reason."""
        found = ((_COUNT.match(name), value) for name, value in self.scrape(daemon).items())
        return {name[1]: int(value) for name, value in found if name and value}

    def scrape(self, daemon: Daemon) -> dict[str, float]:
        """Read the daemon's figures."""
        with daemon.connect("http") as sock:
            return scrape(sock)

    def wait_for_counts(self, daemon: Daemon, **expected: int) -> None:
        """Wait until so many connections were counted, each by its reason, and no others."""
        total = sum(expected.values())
        wait_until(lambda: sum(self.counts(daemon).values()) >= total)
        self.assertEqual(self.counts(daemon), expected)

    def check_lines(self, daemon: Daemon, reason: str, count: int) -> None:
        """Check that each refused connection has one line in the log."""
        found = re.findall(rf"TLS handshake with .*: {reason}: ", daemon.output.text)
        self.assertEqual(len(found), count)
