"""
Network namespaces for tests, in which they may forge what they like.

Root makes a network namespace (network_namespaces(7)); another user makes it inside a
user namespace. A process stays in it and hands out sockets of it (C{keeper.py}), so that
the test itself need not move.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.keeper import MAX_REQUEST, READY
from tests.support.needs import need, need_right

KEEPER = Path(__file__).with_name("keeper.py")

#: Longer than any step here takes on a busy machine (seconds).
PATIENCE = 10.0

#: Enters a network of its own; without root that needs a user namespace.
UNSHARE = ("unshare", "--net", *(("--user", "--map-root-user") if os.geteuid() else ()))


class Namespace:
    """
    One network, with an interface C{lo} that is up.

    @ivar pid: the process that keeps it; it ends with the test.
    @ivar command: what stands before a command that is to run inside.
    """

    def __init__(self, beside: Namespace | None = None) -> None:
        """
        @param beside: another one that this one shall be connected with.
        """
        need("ip")
        need_right("a network namespace", *UNSHARE, "true")
        self._interfaces = 0
        self._sockets, theirs = socket.socketpair()
        self._sockets.settimeout(PATIENCE)
        with theirs:
            self._keeper = _start(() if beside is None else beside.command, theirs)
        self.pid = self._keeper.pid
        enter = ["nsenter", f"--target={self.pid}", "--net"]
        if os.geteuid():
            enter += ["--user", "--preserve-credentials"]
        self.command: tuple[str, ...] = tuple(enter)
        if self._sockets.recv(MAX_REQUEST) != READY:
            complaint = self._complaint()
            self.close()
            raise AssertionError(f"no network namespace: {complaint}")
        self.run("ip", "link", "set", "lo", "up")

    def _complaint(self) -> str:
        errors: bytes = self._keeper.communicate(timeout=PATIENCE)[1]
        return errors.decode(errors="replace").strip()

    def run(self, *command: str) -> None:
        """
        Run a command inside.

        @raise AssertionError: when it fails.
        """
        program = [*self.command, *command]
        done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")

    def connect(self, other: Namespace, ours: str, theirs: str) -> str:
        """
        Connect two networks by a veth pair.

        @param ours: the address of this end, with its prefix length.
        @param theirs: the same for the other end.
        @return: the name of both interfaces.
        """
        name = f"veth{self._interfaces}"
        self._interfaces += 1
        veth = ("ip", "link", "add", name, "type", "veth", "peer", "name", name)
        self.run(*veth, "netns", str(other.pid))
        for namespace, address in ((self, ours), (other, theirs)):
            namespace.run("ip", "address", "add", address, "dev", name)
            namespace.run("ip", "link", "set", name, "up")
        return name

    def socket(self, family: int, kind: int, number: int = 0) -> socket.socket:
        """
        Make a socket inside; it stays there wherever it is used.

        @param number: its protocol, as socket(2) takes it.
        """
        self._sockets.send(json.dumps([family, kind, number]).encode())
        _, descriptors, _, _ = socket.recv_fds(self._sockets, MAX_REQUEST, 1)
        if not descriptors:
            raise AssertionError(f"no socket {family}, {kind}, {number}: {self._complaint()}")
        made = socket.socket(family, kind, number, fileno=descriptors[0])
        made.settimeout(PATIENCE)
        return made

    def close(self) -> None:
        """Give the network back."""
        self._sockets.close()
        try:
            self._keeper.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.stderr is not None:
            self._keeper.stderr.close()


def _start(before: tuple[str, ...], requests: socket.socket) -> subprocess.Popen[bytes]:
    """
    Start what keeps a namespace.

    @param before: enters the namespace that the new one shall be connected with.
    """
    unshare = UNSHARE[:2] if before else UNSHARE
    program = [*before, *unshare, sys.executable, str(KEEPER)]
    return subprocess.Popen(program, stdin=requests.fileno(), stderr=subprocess.PIPE)
