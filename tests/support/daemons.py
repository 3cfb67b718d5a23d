"""
A daemon with real sockets and a reactor that is turned by hand, for tests of what it
does from start to end.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.configuration import Configuration, configure
from socketd.daemon.daemon import Daemon
from socketd.daemon.state import Reloaded
from socketd.daemon.service import SocketService
from socketd.daemon.wiring import make_daemon
from tests.control.fakes import watch
from tests.support.certificates import NOW, Made
from tests.support.fakes import HandReactor, read_all
from tests.support.polling import wait_until

#: The configuration file, in the working directory of the tests.
FILE = Path("FILE")

#: Turns in which the daemon does all that needs no waiting.
TURNS = 200

#: Longer than anything takes on a busy machine, and between two evaluations of a condition
#: (seconds).
PATIENCE = 30.0
INTERVAL = 0.05

#: Where tcpi_unacked is in struct tcp_info (linux/tcp.h): how many wait at a socket that
#: listens.
TCP_INFO_WAITING = 24

#: Turns for the order of events, and for what must not happen.
FEW_TURNS = 5

ECHO = """
[echo]
listen = tcp:0:interface=127.0.0.1
"""


class DaemonCase(SynchronousTestCase):
    """
    A daemon whose file is a text, and its peers.

    @ivar reactor: turned by hand.
    @ivar text: what the file says, for the next reload.
    @ivar wall: how far the wall clock is before the monotonic one (seconds).
    @ivar runtime: a directory, with a name short enough for UNIX sockets.
    """

    daemon: Daemon

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.text = ""
        self.wall = NOW
        self.runtime = os.path.relpath(self.mktemp())
        os.makedirs(self.runtime)

    def configure(self) -> Configuration:
        """Read the text."""
        FILE.write_text(self.text)
        return configure(str(FILE), self.runtime, self.limit, self.clock, self.reactor.seconds)

    def clock(self) -> float:
        """Tell the time of day."""
        return self.wall + self.reactor.seconds()

    def make(self, text: str = ECHO, **more: Any) -> Daemon:
        """Make a daemon that is not started."""
        self.text = text
        self.limit = more.get("file_limit")
        configuration = self.configure()
        more = {"configure": self.configure} | more
        self.daemon = make_daemon(self.reactor, configuration, self.clock, **more)
        self.addCleanup(self.end, self.daemon)
        self.said = watch(self.daemon)
        return self.daemon

    def start(self, text: str = ECHO, **more: Any) -> Daemon:
        daemon = self.make(text, **more)
        daemon.privilegedStartService()
        daemon.startService()
        self.turn()
        return daemon

    def end(self, daemon: Daemon) -> None:
        """Stop a daemon, and reset the connections that are left."""
        if daemon.running:
            daemon.stopService()
        for service in daemon.services:
            service.close()
        daemon.abort()
        self.turn()

    def turn(self, times: int = FEW_TURNS) -> None:
        """Let the daemon serve what is ready."""
        self.reactor.turn(times)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until something is so."""
        for _ in self.turns():
            if condition():
                return

    def turns(self) -> Iterator[None]:
        """Turn while the caller has not what it waits for, and fail if that never comes."""
        for _ in range(TURNS):
            yield
            self.turn(1)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.reactor.wait(INTERVAL)
            self.turn(1)
            yield
        self.fail("it does not come")

    def reload(self, text: str) -> Reloaded:
        """Write the file again, and have it read."""
        self.text = text
        return self.daemon.reload()

    def reloaded(self, text: str) -> tuple[str, ...]:
        """
        Have a good file read.

        @return: what has changed.
        """
        outcome = self.reload(text)
        self.assertEqual(outcome.diagnostics, ())
        self.turn()
        return outcome.changes

    def refused(self, text: str) -> tuple[str, ...]:
        """
        Have a bad file read.

        @return: the complaints.
        """
        outcome = self.reload(text)
        self.assertNotEqual(outcome.diagnostics, ())
        self.assertEqual(outcome.changes, ())
        return outcome.diagnostics

    def service(self, name: str = "echo") -> SocketService:
        (found,) = (one for one in self.daemon.services if one.name == name)
        return found

    def address(self, name: str = "echo", kind: str = "tcp") -> Any:
        """Tell where a service is bound, for C{connect}."""
        found = [one for one in self.service(name).bound if one.listener.kind == kind]
        return found[0].sock.getsockname()

    def peer(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        sock = socket.socket(family, kind)
        self.addCleanup(sock.close)
        return sock

    def connect(self, address: Any, source: str = "") -> socket.socket:
        """Connect a peer, whether or not it is accepted."""
        is_path = isinstance(address, str)
        sock = self.peer(socket.AF_UNIX if is_path else socket.AF_INET)
        if source:
            sock.bind((source, 0))
        sock.connect(address)
        sock.setblocking(False)
        return sock

    def enter(self, name: str = "echo", kind: str = "tcp", source: str = "") -> socket.socket:
        """Connect a peer to a service, and wait until it is in."""
        before = len(self.daemon.connection_table)
        sock = self.connect(self.address(name, kind), source)
        self.until(lambda: len(self.daemon.connection_table) > before)
        return sock

    def until_waiting(self, count: int, kind: str = "tcp") -> None:
        """
        Wait until so many connections wait to be accepted, or datagrams have come: a busy kernel
        may take its time, also for loopback.
        """
        bound = [one for child in self.daemon.services for one in child.bound]
        socks = [one.sock for one in bound if one.listener.kind == kind]
        arrived = lambda: sum(map(_waiting, socks)) >= count  # noqa: E731
        wait_until(arrived, "they do not come", PATIENCE, INTERVAL)

    def ask(self, sock: socket.socket, data: bytes = b"hello") -> bytes:
        """Say something, and wait for an answer of the same length."""
        sock.send(data)
        return self.receive(sock, len(data))

    def receive(self, sock: socket.socket, length: int) -> bytes:
        """Wait for so many bytes, or the end."""
        received, ended = read_all(sock)
        for _ in self.turns():
            if len(received) >= length or ended:
                break
            more, ended = read_all(sock)
            received += more
        return received

    def ended(self, sock: socket.socket) -> str:
        """
        Wait for the end of a connection.

        @return: C{closed} or C{reset}.
        """
        for _ in self.turns():
            try:
                if read_all(sock)[1]:
                    return "closed"
            except ConnectionResetError:
                return "reset"
        raise AssertionError  # turns() has failed

    def ask_datagram(self, address: Any, data: bytes = b"hello") -> bytes | None:
        """
        Send a datagram.

        @return: the answer, or C{None} if none comes in a few turns.
        """
        sock = self.peer(kind=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.sendto(data, address)
        for _ in range(FEW_TURNS):
            self.turn(1)
            try:
                return sock.recv(65536)
            except BlockingIOError:
                continue
        return None

    def taken(self) -> str:
        """
        Listen somewhere.

        @return: a listener that cannot be bound.
        """
        sock = self.peer()
        sock.bind(("127.0.0.9", 0))
        sock.listen()
        return f"tcp:{sock.getsockname()[1]}:interface=127.0.0.9"

    def events(self, name: str) -> list[str]:
        """List the texts of what happened."""
        return [text for found, text in self.said if found == name]

    def certify(self, made: Made, name: str = "server") -> str:
        """
        Write a certificate with its key.

        @return: its path.
        """
        return made.write(f"{self.runtime}/{name}.pem")


def _waiting(sock: socket.socket) -> int:
    """Count the connections that wait to be accepted; of datagrams, whether there are any."""
    if sock.type == socket.SOCK_DGRAM:
        return len(select.select([sock], [], [], 0)[0])
    found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("I", found, TCP_INFO_WAITING)[0])


def descriptors() -> set[str]:
    """List the descriptors of this process, with what they are."""
    # What an earlier test has left to the collector is not to close in between.
    gc.collect()
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            # That of the list itself.
            continue
    return found
