"""Workers and masters that are killed, stopped, and reloaded."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from tests.chaos import figures, test_processes
from tests.chaos.fault_case import INI, FaultCase, echoes
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.ports import free_port
from tests.support.processes import Daemon, SystemCase
from tests.support.workers import SOURCES, START, WithWorkers, WorkersCase, with_workers

#: A worker that hangs is found after 5 missed pings; all that waited is served so many seconds
#: after it was stopped, on a busy machine.
HANG = 5.0 + DEADLINE


class WorkerCase(WorkersCase):
    """A daemon with a worker that fails."""

    def _ask(self, daemon: Daemon, source: str) -> None:
        with socket.socket() as sock:
            sock.settimeout(START)
            sock.bind((source, 0))
            sock.connect(daemon.address("echo"))
            self.check_echo(sock)

    def _wait(self, daemon: Daemon, sources: list[str]) -> float:
        began = time.monotonic()
        for source in sources[:3]:
            self._ask(daemon, source)
        return time.monotonic() - began


class WorkerTests(WorkerCase):
    """kill -9 of workers, one after the other, under load."""

    #: Daemons, and kills of each: with each one the successor waits longer.
    daemons = 1
    kills = 3

    def test_killed(self) -> None:
        """
        Who comes to a worker that was killed is served by its successor; connections of the other
        one, and who comes to it, notice nothing.
        """
        waited: list[float] = []
        for _ in range(self.daemons):
            with self.started() as daemon, ExitStack() as stack:
                killed, other = self.sources_of(daemon)
                kept = stack.enter_context(self.connect(daemon, other[0]))
                loads = [
                    stack.enter_context(repeating(partial(self.check_echo, kept))),
                    stack.enter_context(repeating(partial(self._ask, daemon, other[1]))),
                ]
                for _ in range(self.kills):
                    os.kill(self.serving(daemon, 0), signal.SIGKILL)
                    waited.append(self._wait(daemon, killed))
                self.assertEqual(loads, [[], []])
        figures.note(
            self, f"served after {median(waited):.2f} s (median), {max(waited):.2f} s (slowest)"
        )


class HangTests(WorkerCase):
    """SIGSTOP of a worker."""

    def test_hung(self) -> None:
        """One that is stopped is found and killed; its successor serves what has waited."""
        with self.started() as daemon:
            sources, _ = self.sources_of(daemon)
            pid = self.serving(daemon, 0)
            os.kill(pid, signal.SIGSTOP)
            seconds = self._wait(daemon, sources)
            daemon.output.find(rf"worker 0 \(process {pid}\) has not answered")
        self.assertLess(seconds, HANG)
        figures.note(self, f"served {seconds:.1f} s after it stopped")


class MasterTests(FaultCase, WithWorkers):
    """kill -9 of masters, at any moment."""

    kills = 2
    seed = 17

    def test_killed(self) -> None:
        """No worker outlives its master, and a daemon that is started again serves."""
        print(f"seed {self.seed}")
        random, port = Random(self.seed), free_port()
        for turn in range(self.kills):
            ini = INI.format(directory=self.directory, port=port)
            # Every other one while it starts.
            file = self.write("socketd.ini", with_workers(ini))
            daemon = SystemCase.twistd(self, f"--config={file}")
            with repeating(lambda: echoes(("127.0.0.1", port))):
                if turn % 2:
                    wait_until(lambda: echoes(("127.0.0.1", port)), timeout=START)
                time.sleep(random.uniform(0, 1.0))
                daemon.signal(signal.SIGKILL)
                wait_until(lambda: not list(_group(daemon.pid)), "a worker is left")
            daemon.kill()
        with self.daemon(ini):
            for source in SOURCES[:8]:
                with socket.create_connection(("127.0.0.1", port), START, (source, 0)) as sock:
                    self.check_echo(sock)


class ReloadTests(WithWorkers, test_processes.ReloadTests):
    """Many reloads of a daemon with workers."""

    reloads = 20
    # A busy machine has three processes in its queue.
    half = 3 * test_processes.RELOAD
    slowest = 3 * test_processes.SLOWEST


def _group(leader: int) -> Iterator[int]:
    """List the living processes of a group (proc(5), stat)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            # It has just ended.
            continue
        if int(group) == leader and state != "Z":
            yield int(path.parent.name)
