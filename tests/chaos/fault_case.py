"""Fault injection into the real daemon: mounts of its own, and system calls that fail."""

from __future__ import annotations

import os
import socket
from typing import Any

from tests.support.needs import locate, need_right
from tests.support.polling import DEADLINE
from tests.support.processes import Ended, SystemCase
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
    """A test of the real daemon with injected faults."""

    def subcommand(self, *words: str) -> Ended:
        """Run a command of C{socketd} that asks the daemon of L{INI}."""
        control = {"SOCKETD_CONTROL": f"{self.directory}/control.sock"}
        return self.run_socketd(*words, **control)


def with_mounts(*commands: str) -> tuple[str, ...]:
    """
    Give what stands before a command that is to have mounts of its own
    (mount_namespaces(7)); without root they are made in a user namespace.

    @param commands: make the mounts.
    """
    unshare = ["unshare", "--mount"]
    if os.geteuid():
        unshare += ["--user", "--map-root-user"]
    need_right("a mount namespace", *unshare, "true")
    return (*unshare, "sh", "-ec", "\n".join((*commands, 'exec "$@"')), "sh")


def with_syscall_faults(*faults: str) -> tuple[str, ...]:
    """
    Give what stands before a command whose system calls are to fail, by strace(1).

    @param faults: such as C{accept4:error=ENFILE:when=1..3}.
    """
    calls = ",".join(fault.partition(":")[0] for fault in faults)
    # The tracer stands aside, so that the daemon is our own child.
    options = ("-DDD", "-f", "--seccomp-bpf", "-qqq", "--output=/dev/null", f"--trace={calls}")
    return (locate("strace"), *options, *(f"--inject={fault}" for fault in faults))


def echoes(address: Any, data: bytes = b"x") -> bool:
    """Say whether there is an echo at an address; a path is that of a UNIX socket."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(DEADLINE)
        try:
            sock.connect(address)
            sock.sendall(data)
            return read_exactly(sock, len(data)) == data
        except (FileNotFoundError, ConnectionError):
            return False
