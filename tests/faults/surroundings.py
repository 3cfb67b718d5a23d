"""
What a daemon is started in so that something goes wrong: mounts of its own, system calls
that fail, files of others; and what is asked of it then.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from tests.support.needs import locate, need_right
from tests.support.polling import DEADLINE
from tests.support.processes import TWISTD, Daemon, Ended, SystemCase
from tests.support.sockets import read_exactly

#: One service at two addresses that stay, and the control socket.
INI = """
[socketd]
control = {directory}/control.sock
drain_timeout = 1s
[echo]
listen = tcp:{port}:interface=127.0.0.1, unix:{directory}/echo.sock
log_connections = no
"""


class FaultCase(SystemCase):
    """A test of the real daemon in bad surroundings."""

    def start(
        self, ini: str, before: Sequence[str] = (), twistd: Sequence[str] = (), **how: Any
    ) -> Daemon:
        """
        Start a daemon.

        @param before: stands before its command, such as L{mounted}.
        @param twistd: options of twistd itself.
        @param how: arguments of C{subprocess.Popen}.
        """
        file = self.write("socketd.ini", ini)
        command = [*before, *TWISTD, *twistd, "socketd", f"--config={file}"]
        given: dict[str, Any] = {"env": self.environment(), "cwd": self.directory}
        daemon = Daemon(command, **(given | how))
        self.addCleanup(daemon.kill)
        return daemon

    def subcommand(self, *words: str) -> Ended:
        """Run a command of C{socketd} that asks the daemon of L{INI}."""
        control = {"SOCKETD_CONTROL": f"{self.directory}/control.sock"}
        return self._run_to_end([sys.executable, "-m", "socketd", *words], control)

    def served(self, sock: socket.socket, data: bytes = b"hello") -> None:
        """Check that a connection is served."""
        sock.sendall(data)
        self.assertEqual(read_exactly(sock, len(data)), data)


def mounted(*commands: str) -> tuple[str, ...]:
    """
    Give what stands before a command that is to have mounts of its own
    (mount_namespaces(7)); whoever is not root makes them in a user namespace.

    @param commands: make the mounts.
    """
    unshare = ["unshare", "--mount"]
    if os.geteuid():
        unshare += ["--user", "--map-root-user"]
    need_right("a mount namespace", *unshare, "true")
    return (*unshare, "sh", "-ec", "\n".join((*commands, 'exec "$@"')), "sh")


def injected(*faults: str) -> tuple[str, ...]:
    """
    Give what stands before a command whose system calls are to fail, by strace(1).

    @param faults: such as C{accept4:error=ENFILE:when=1..3}.
    """
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    # The tracer stands aside, so that the daemon is our own child.
    options = ("-DDD", "-f", "--seccomp-bpf", "-qqq", "--output=/dev/null", f"--trace={calls}")
    return (locate("strace"), *options, *(f"--inject={fault}" for fault in faults))


def answers(address: Any, data: bytes = b"x") -> bool:
    """Say whether there is an echo at an address; a path is that of a UNIX socket."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(DEADLINE)
        try:
            sock.connect(address)
            sock.sendall(data)
            return read_exactly(sock, len(data)) == data
        except (FileNotFoundError, ConnectionError):
            return False


@contextmanager
def repeated(action: Callable[[], object]) -> Iterator[list[Exception]]:
    """
    Do something again and again in a thread, until the block ends or it fails.

    @return: how it failed, if it did.
    """
    problems: list[Exception] = []
    ended = Event()

    def run() -> None:
        try:
            while not ended.is_set():
                action()
        except Exception as problem:
            problems.append(problem)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield problems
    finally:
        ended.set()
        thread.join(DEADLINE)
