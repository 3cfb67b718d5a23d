"""Tests of a running daemon with workers: how it reloads, drains and stops."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial

from tests.support.polling import DEADLINE, repeating
from tests.support.processes import Daemon
from tests.support.sockets import connect_is_reset, is_silent, read_to_end
from tests.support.workers import SOURCES, WorkersCase

INI = """
[socketd]
workers = 2
control = {directory}/control.sock
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
[here]
protocol = echo
listen = unix:{directory}/here.sock
[gone]
protocol = echo
listen = tcp:0:interface=127.0.0.1
"""

CHANGED = """
[socketd]
workers = 3
balance = flow
control = {directory}/control.sock
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
[here]
protocol = upper
listen = unix:{directory}/here.sock
[fresh]
protocol = upper
listen = tcp:0:interface=127.0.0.2
"""


class ReloadWorkersTests(WorkersCase):
    """A reload reaches all workers, or none."""

    def reload(self, daemon: Daemon, ini: str, line: str) -> None:
        """Write the file again, have it read, and wait for the line in the log."""
        self.write("socketd.ini", ini.format(directory=self.directory))
        daemon.signal(signal.SIGHUP)
        daemon.output.wait_for(line)

    def ask_all(self, daemon: Daemon, service: str, sources: list[str], answer: bytes) -> None:
        """Ask a service from each source."""
        for source in sources:
            with self.connect(daemon, source, service) as sock:
                self.check_echo(sock, b"x", answer)

    def test_changes(self) -> None:
        """
        In each worker, services are added, changed and removed; what is unchanged keeps its
        connections, and the number of workers changes with the next start.
        """
        with self.started(INI) as daemon:
            sources = [found[0] for found in self.sources_of(daemon)]
            kept = [self.connect(daemon, source) for source in sources]
            leaving = [self.connect(daemon, source, "gone") for source in sources]
            before = daemon.address("gone")
            inode = os.stat(daemon.address("here", "unix")).st_ino
            with repeating(partial(self._ask_datagram, daemon, sources)) as problems:
                changed = r"workers changed \(from the next start on\); .*balance changed \(from"
                self.reload(daemon, CHANGED, changed)
            self.assertEqual(problems, [])
            for sock in kept:
                self.check_echo(sock)
            self.assertEqual([read_to_end(sock) for sock in leaving], [b"", b""])
            self.assertRaises(OSError, socket.create_connection, before, DEADLINE)
            self.ask_all(daemon, "fresh", sources, b"X")
            self.assertEqual(os.stat(daemon.address("here", "unix")).st_ino, inode)
            self.ask_here(daemon, b"X")

    def ask_here(self, daemon: Daemon, answer: bytes) -> None:
        """Ask at the socket that workers share, so that each of them answers some time."""
        for _ in range(20):
            with daemon.connect("here", "unix") as sock:
                self.check_echo(sock, b"x", answer)

    def _ask_datagram(self, daemon: Daemon, sources: list[str]) -> None:
        for source in sources:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(DEADLINE)
                sock.bind((source, 0))
                sock.connect(daemon.address("echo", "udp"))
                self.check_echo(sock)

    def test_networks(self) -> None:
        """The open connections of each worker meet the new access rules."""
        with self.started(INI) as daemon:
            first, second = self.sources_of(daemon)
            stay, go = first[0], [first[1], second[0]]
            stays = self.connect(daemon, stay)
            goes = [self.connect(daemon, source) for source in go]
            for sock in (stays, *goes):
                self.check_echo(sock)
            deny = INI.replace("[here]", f"deny = {', '.join(go)}\n[here]")
            self.reload(daemon, deny, r"reloaded: \[echo\] deny changed")
            for sock in goes:
                self.assertRaises(ConnectionResetError, sock.recv, 1)
            self.check_echo(stays)

    def test_death(self) -> None:
        """
        A worker that dies in a reload delays it by no more than it takes to find that, and its
        successor serves what was applied.
        """
        with self.started(INI) as daemon:
            sources = [found[0] for found in self.sources_of(daemon)]
            kept = self.connect(daemon, sources[1])
            self.check_echo(kept)
            pid = self.serving(daemon, 0)
            os.kill(pid, signal.SIGSTOP)
            self.write("socketd.ini", CHANGED.format(directory=self.directory))
            daemon.signal(signal.SIGHUP)
            daemon.output.wait_for("reloaded: ")
            self.ask_all(daemon, "fresh", sources, b"X")
            self.check_echo(kept)
            self.assertNotEqual(self.serving(daemon, 0), pid)
            for _ in range(5):
                self.write("socketd.ini", INI.format(directory=self.directory))
                pid = self.serving(daemon, 1)
                daemon.signal(signal.SIGHUP)
                os.kill(pid, signal.SIGKILL)
                daemon.output.wait_for(r"reloaded: .*\[gone\] added")
                self.ask_here(daemon, b"x")
                self.reload(daemon, CHANGED, r"reloaded: .*\[gone\] removed")

    def test_drain(self) -> None:
        """
        A drained daemon accepts nothing, and its connections go on; a worker that is started
        meanwhile accepts nothing either, and all do after C{resume}.
        """
        with self.started(INI) as daemon:
            sources = [found[0] for found in self.sources_of(daemon)]
            kept = self.connect(daemon, sources[0])
            self.check_echo(kept)
            control = str(self.directory / "control.sock")
            self.output_of("drain", "--control", control)
            self.assertRaises(OSError, daemon.connect, "echo")
            self.assertRaises(OSError, daemon.connect, "here", "unix")
            self.check_echo(kept)
            pid = self.serving(daemon, 1)
            os.kill(pid, signal.SIGKILL)
            daemon.output.wait_for(rf"worker 1 \(process {pid}\) died")
            self.serving(daemon, 1)
            self.assertRaises(OSError, daemon.connect, "echo")
            self.output_of("resume", "--control", control)
            daemon.output.wait_for("echo listens on tcp")
            self.check_echo(kept)
            self.ask_here(daemon, b"x")

    def test_hung_at_stop(self) -> None:
        """A worker that hangs does not hold up the stop for all of C{drain_timeout}."""
        ini = INI.replace("workers", "drain_timeout = 1h\nworkers")
        with self.started(ini) as daemon:
            os.kill(self.serving(daemon, 0), signal.SIGSTOP)


class LimitTests(WorkersCase):
    """Limits are those of the daemon."""

    def test_sources(self) -> None:
        """The connections of a source are counted by one worker, so that its limit is exact."""
        with self.started(INI.replace("[here]", "max_per_source = 2\n[here]")) as daemon:
            for sources in self.sources_of(daemon):
                kept = [self.connect(daemon, sources[0]) for _ in range(2)]
                for sock in kept:
                    self.check_echo(sock)
                connect = partial(self.connect, daemon, sources[0])
                self.assertTrue(connect_is_reset(connect))

    def test_connections(self) -> None:
        """A service with fewer connections than there are workers has as many workers."""
        with self.started(INI.replace("[here]", "max_connections = 1\n[here]")) as daemon:
            for source in SOURCES[:8]:
                with self.connect(daemon, source) as sock, self.connect(daemon, source) as waits:
                    self.check_echo(sock)
                    self.assertEqual(self.number(daemon, sock) % 2, 1)
                    self.assertTrue(is_silent(waits, 0.01))
