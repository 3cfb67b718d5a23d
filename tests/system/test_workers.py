"""Tests of a running daemon with workers: how they share, and what happens when one dies."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from tests.support.certificates import Made, issued
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.processes import Daemon, children
from tests.support.sockets import exchange
from tests.support.tls import LOOPBACK, NAME, TlsCase, der, peer_certificate, start_tls
from tests.support.workers import INI, SOURCES, START, WorkersCase

TLS_INI = f"""
[socketd]
workers = 2
[echo]
listen = {LOOPBACK}
tls_certificate = {{directory}}/server.pem
"""


class SharingTests(WorkersCase):
    """Workers share what comes."""

    def test_source(self) -> None:
        """A source always meets the same worker."""
        with self.started() as daemon:
            found = self.sources_of(daemon)
            self.assertEqual(self.sources_of(daemon), found)

    def test_all_kinds(self) -> None:
        """Each kind of listener is served, from each source."""
        with self.started() as daemon:
            for source in SOURCES:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(DEADLINE)
                    client.bind((source, 0))
                    client.connect(daemon.address("echo", "udp"))
                    self.assertEqual(exchange(client, b"hello"), b"hello")
            with daemon.connect("echo", "unix") as sock:
                self.check_echo(sock)

    def test_one(self) -> None:
        """One worker is the daemon itself."""
        with self.daemon(INI.replace("= 2", "= 1").format(directory=self.directory)) as daemon:
            with daemon.connect("echo") as sock:
                self.check_echo(sock)
            self.assertEqual(children(daemon.pid), [])

    def test_second_daemon(self) -> None:
        """Another daemon does not get the port, although workers share it."""
        with self.started() as daemon:
            port = daemon.address("echo")[1]
            ini = f"[socketd]\nworkers = 2\n[echo]\nlisten = tcp:{port}:interface=127.0.0.1\n"
            ended = self.run_twistd(self.write("second.ini", ini))
            self.assertEqual(ended.status, 1)
            self.assertIn("Address already in use", ended.errors)


class TlsTests(WorkersCase, TlsCase):
    """Workers have the certificates, too."""

    def test_tls(self) -> None:
        """Each answers over TLS."""
        with self.started(TLS_INI) as daemon:
            self.check_shown(daemon, self.made)

    def check_shown(self, daemon: Daemon, made: Made) -> None:
        """Wait until each source is shown a certificate, and check that it is answered."""
        for source in SOURCES[:8]:
            wait_until(lambda: self.shown(daemon, source) == der(made), timeout=START)

    def shown(self, daemon: Daemon, source: str) -> bytes:
        """Say which certificate a source is shown."""
        with start_tls(self.connect(daemon, source, kind="tls")) as sock:
            self.check_echo(sock)
            return peer_certificate(sock)

    def test_renewed(self) -> None:
        """
        A renewed certificate is in use by all; one that cannot be used is told once, and a worker
        that is started again then has what the others have.
        """
        renewed = issued(NAME, number=1)
        with self.started(TLS_INI) as daemon:
            self.replace(renewed.pem() + renewed.key_pem())
            self.check_shown(daemon, renewed)
            self.replace(b"nothing")
            daemon.output.wait_for("echo keeps its old certificates; tls_certificate: ")
            for worker in range(2):
                pid = self.serving(daemon, worker)
                os.kill(pid, signal.SIGKILL)
                daemon.output.find(rf"worker {worker} \(process {pid}\) died")
            self.check_shown(daemon, renewed)
        self.assertEqual(daemon.output.text.count("keeps its old certificates"), 1)


class DeathTests(WorkersCase):
    """Workers, and the master, end where nothing has asked them to."""

    def test_worker(self) -> None:
        """
        When a worker is killed, the other one notices nothing, and what waits for the dead one is
        served by its successor.
        """
        with self.started() as daemon, ExitStack() as stack:
            first, second = self.sources_of(daemon)
            kept = stack.enter_context(self.connect(daemon, second[0]))
            waiting = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            waiting.settimeout(DEADLINE)
            waiting.bind((first[0], 0))
            waiting.connect(daemon.address("echo", "udp"))
            with repeating(lambda: self.check_echo(kept)) as problems:
                pid = self.serving(daemon, 0)
                # It reads nothing more.
                os.kill(pid, signal.SIGSTOP)
                waiting.send(b"hello")
                came = [stack.enter_context(self.connect(daemon, one)) for one in first]
                os.kill(pid, signal.SIGKILL)
                for sock in came:
                    self.check_echo(sock)
                self.assertEqual(waiting.recv(16), b"hello")
                with self.connect(daemon, second[1]) as sock:
                    self.check_echo(sock)
            self.assertEqual(problems, [])
            daemon.output.find(rf"worker 0 \(process {pid}\) died: killed by SIGKILL")
            self.assertNotEqual(self.serving(daemon, 0), pid)

    def test_hung(self) -> None:
        """One that does not answer is killed, and followed by another one."""
        with self.started() as daemon:
            first, _ = self.sources_of(daemon)
            pid = self.serving(daemon, 0)
            os.kill(pid, signal.SIGSTOP)
            daemon.output.wait_for(rf"worker 0 \(process {pid}\) has not answered")
            with self.connect(daemon, first[0]) as sock:
                self.check_echo(sock)

    def test_master(self) -> None:
        """When the master is killed, no worker is left, not even one that hangs."""
        daemon = self.daemon(INI.format(directory=self.directory))
        pids = [self.serving(daemon, worker) for worker in (0, 1)]
        self.assertEqual(children(daemon.pid), sorted(pids))
        os.kill(pids[0], signal.SIGSTOP)
        daemon.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(_exists, pids)), "a worker is left")

    def test_stop(self) -> None:
        """A stop answers what has come, and ends the connections."""
        with self.started() as daemon:
            sources = self.sources_of(daemon)
            with self.connect(daemon, sources[0][0]) as sock:
                self.check_echo(sock)
                sock.sendall(b"last")
                daemon.ask_to_stop()
                self.assertEqual(sock.recv(16), b"last")
                self.assertEqual(sock.recv(16), b"")


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
