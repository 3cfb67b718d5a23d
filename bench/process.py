"""One server: start it on its core, wait for its first answer, stop it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.cores import on_cores
from bench.peers.asked import Probe
from bench.peers.listening import HOST
from bench.servers import Place, Server

ROOT = Path(__file__).parent.parent

#: Ports are taken from here, each start the next one: below the kernel's own choice for
#: outgoing connections, and none twice, so that no run meets the leavings of another.
FIRST_PORT, LAST_PORT = 20000, 29999

#: Seconds that a server has to answer, to end after SIGTERM; both far from what a sound one needs.
START_LIMIT = 20.0
STOP_LIMIT = 3.0

#: Seconds between two attempts to get an answer: the resolution of the start time.
POLL = 0.001

#: Seconds that one attempt waits for its answer.
ATTEMPT_LIMIT = 0.5

#: A line of a server's log is cut here before it goes into a table.
LINE_LIMIT = 160

#: What would make a Python server start slower here than where it is installed.
UNWANTED_ENVIRONMENT = ("PYTHONDONTWRITEBYTECODE", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG")

#: How far apart two processes with neighbouring numbers begin: more ports than a test process
#: takes, so that two that run at the same time do not wait at the same one for their servers.
STEP = 100

_ports = itertools.cycle(range(FIRST_PORT + os.getpid() * STEP % 5000, LAST_PORT))


class ServerFailed(Exception):
    """A server did not come up, or did not stay."""


@dataclass(frozen=True)
class Running:
    """
    A server that answers.

    @ivar start_seconds: from the moment it was started to its first answer.
    """

    pid: int
    port: int
    log: Path
    start_seconds: float

    def last_line(self) -> str:
        """The last thing it said."""
        return last_line(self.log)


def last_line(log: Path) -> str:
    """The last line of a log that is not empty, without the folder that this project is in."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].replace(str(ROOT), ".")[:LINE_LIMIT] if said else ""


def free_port() -> int:
    """A number at which neither streams nor datagrams are served."""
    for port in itertools.islice(_ports, LAST_PORT - FIRST_PORT):
        if _is_free(port):
            return port
    raise ServerFailed(f"no free port from {FIRST_PORT} to {LAST_PORT}")


def _is_free(port: int) -> bool:
    """Whether both kinds of socket can be bound to it."""
    stream = socket.socket(type=socket.SOCK_STREAM)
    datagram = socket.socket(type=socket.SOCK_DGRAM)
    with stream, datagram, suppress(OSError):
        stream.bind((HOST, port))
        datagram.bind((HOST, port))
        return True
    return False


@contextmanager
def serving(
    server: Server, cores: Collection[int], probe: Probe | None = None, reactor: str = ""
) -> Iterator[Running]:
    """
    Run a server as long as the block lasts.

    @param probe: what it is asked until it answers; L{None}: an echo.
    @raise ServerFailed: if it does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Place(free_port(), Path(folder), reactor)
        command = server.command(place)
        began = time.monotonic()
        process = _start(command, place, cores)
        try:
            _wait_for_answer(process, place, probe)
            yield Running(process.pid, place.port, place.log, time.monotonic() - began)
        finally:
            _stop(process)


def _start(command: list[str], place: Place, cores: Collection[int]) -> subprocess.Popen[bytes]:
    """A process group of its own, on its cores, with everything it says in one file."""
    environment = {k: v for k, v in os.environ.items() if k not in UNWANTED_ENVIRONMENT}
    with on_cores(cores), place.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )


def _wait_for_answer(process: subprocess.Popen[bytes], place: Place, probe: Probe | None) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + START_LIMIT
    while not (_answers(probe, place.port) if probe else _answers_stream(place.port)):
        if process.poll() is not None:
            said = last_line(place.log)
            raise ServerFailed(f"ended with status {process.returncode}: {said}")
        if time.monotonic() > deadline:
            raise ServerFailed(f"no answer within {START_LIMIT:g} s: {last_line(place.log)}")
        time.sleep(POLL)


def _answers_stream(port: int) -> bool:
    """Whether a byte comes back."""
    with suppress(OSError), socket.create_connection((HOST, port), ATTEMPT_LIMIT) as client:
        client.sendall(b"?")
        return client.recv(1) == b"?"
    return False


def _answers(probe: Probe, port: int) -> bool:
    """Whether a datagram is answered."""
    with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(ATTEMPT_LIMIT)
        client.connect((HOST, port))
        client.send(probe.datagram)
        return len(client.recv(probe.size + 1)) == probe.size
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; then end what is left of its group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_LIMIT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
