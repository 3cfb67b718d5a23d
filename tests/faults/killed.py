"""A daemon that is killed again and again, at random moments."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path
from random import Random
from statistics import median

from attrs import define, field

from tests.faults import figures
from tests.faults.fault_case import INI, FaultCase, echoes
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon

#: A start takes about so long (seconds), and what serves is given half of that at most.
START = 0.6


@define(eq=False)
class Restarts:
    """
    One daemon after the other, at the same addresses, with the same files.

    @ivar case: the test.
    @ivar random: chooses the moments.
    @ivar back: how long each that had one before took to serve again (seconds).
    """

    case: FaultCase
    random: Random
    back: list[float] = field(factory=list, init=False)
    _port: int = field(factory=free_port, init=False)
    _others: list[tuple[str, int]] = field(factory=list, init=False)

    def kill(self, times: int) -> None:
        """
        Kill it so often: while peers come and go and it reloads, and then in the start
        that follows; the next start serves, each time.
        """
        daemon = self._come_back()
        self.back.clear()
        for _ in range(times // 2):
            with repeating(lambda: echoes(("127.0.0.1", self._port))):
                daemon.signal(signal.SIGHUP)
                _pass(self.random.uniform(0, START / 2))
                daemon.kill()
                daemon = self._start()
                _pass(self.random.uniform(0, START))
                daemon.kill()
            daemon = self._come_back()
        daemon.ask_to_stop()
        self.case.assertEqual(daemon.wait(), 0)

    def note(self) -> None:
        """Say how fast all came back."""
        figures.note(
            self.case,
            f"back after {median(self.back):.2f} s (median),"
            f" {max(self.back):.2f} s (slowest)",
        )

    def _start(self) -> Daemon:
        directory = self.case.directory
        pid_file = f"--pidfile={directory}/twistd.pid"
        ini = INI.format(directory=directory, port=self._port)
        return self.case.daemon(ini, twistd=[pid_file])

    def _come_back(self) -> Daemon:
        """Start it, and wait until every address answers; the files of others stay."""
        directory = self.case.directory
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(f"{directory}/other.sock")
            other.listen()
            (directory / "notes").write_text("keep me")
            (directory / "link").symlink_to("nowhere")
            before = self._files()
            # One that was killed early in its start has not written it yet.
            is_stale = (directory / "twistd.pid").exists()
            began = time.monotonic()
            daemon = self._start()
            wait_until(lambda: echoes(("127.0.0.1", self._port)))
            self.back.append(time.monotonic() - began)
            assert echoes(f"{directory}/echo.sock")
            if is_stale:
                daemon.errors.find("Removing stale pidfile")
            self._ask(f"{directory}/control.sock")
            self.case.assertEqual(self._files(), before)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{directory}/other.sock")
        for name in ("other.sock", "notes", "link"):
            (directory / name).unlink()
        return daemon

    def _ask(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(path)
            sock.sendall(b"status\n")
            self.case.assertIn(b"1 services", sock.recv(4096))

    def _files(self) -> dict[str, int]:
        """List the files that are not the daemon's, by their inodes."""
        names = ("other.sock", "notes", "link")
        return {name: os.lstat(Path(self.case.directory, name)).st_ino for name in names}


def _pass(seconds: float) -> None:
    """Let time pass: what is waited for here is a moment."""
    select.select([], [], [], seconds)
