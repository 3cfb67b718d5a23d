"""Streams that are long, slow, broken or many."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle

from tests.support.polling import DEADLINE
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import (
    address_of,
    close_with_reset,
    descriptor_limit,
    read_exactly,
    read_to_end,
)

MIB = 1024 * 1024

ECHO = "[echo]\nlisten = tcp:0:interface=127.0.0.1\n"

SERVER = """
[server]
protocol = reply
listen = tcp:0:interface=127.0.0.1
reply = I am a server
log_connections = {}
"""

REPLY = b"I am a server"

#: Sizes that agree with no buffer's.
ODD_SIZES = (1, 70001, 4095, 262147, 13, 99991, 65537)

#: Buffers in the kernel that one small answer fills.
SMALL_BUFFER = 4096

#: What one connection may cost the daemon; less than what a peer pushes by far.
MAX_GROWTH = MIB
PUSHED = 48 * MIB

#: A peer that is silent for so long has had its buffers filled (seconds).
SILENCE = 0.5

#: The grace of a close is 5 s. It begins again when the kernel takes something more, as it may do
#: once on a busy machine.
GRACE = 12.0

MANY = 2000

#: Descriptors left to a daemon; and clients, more than twice as many.
FEW_DESCRIPTORS = 40
MANY_CLIENTS = 100

#: Longer than the daemon waits before it tries to accept again (seconds).
SOME_TRIES = 1.5


def send_oddly(sock: socket.socket, data: bytes) -> None:
    """Send in pieces of odd sizes, then shut down writing."""
    start, view = 0, memoryview(data)
    for size in cycle(ODD_SIZES):
        if start >= len(data):
            break
        sock.sendall(view[start : start + size])
        start += size
    sock.shutdown(socket.SHUT_WR)


def read_oddly(sock: socket.socket) -> bytes:
    """Receive in pieces of odd sizes, up to the end."""
    received = bytearray()
    for size in cycle(reversed(ODD_SIZES)):
        data = sock.recv(size)
        if not data:
            break
        received += data
    return bytes(received)


def push(sock: socket.socket, piece: bytes = bytes(65536)) -> int:
    """
    Send a piece again and again until the other side takes no more; never read.

    @return: how many bytes it took.
    """
    sock.settimeout(SILENCE)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < PUSHED:
            sent += sock.send(piece)
    return sent


class CompleteTests(SystemCase):
    """Tests that nothing is lost."""

    def test_long(self) -> None:
        """64 MiB come back identical, written and read in odd-sized pieces."""
        data = random.Random(868).randbytes(64 * MIB)
        with self.daemon(ECHO) as daemon, ThreadPoolExecutor() as pool:
            with daemon.connect("echo") as client:
                sending = pool.submit(send_oddly, client, data)
                received = read_oddly(client)
                sending.result()
        self.assertTrue(received == data, f"{len(received)} bytes, or other ones")

    def test_half_close(self) -> None:
        """40 of 40 clients that send and shut down writing get all that is owed to them."""
        data = random.Random(7).randbytes(100_000)
        ini = f"{ECHO}so_sndbuf = {SMALL_BUFFER}\n"
        with self.daemon(ini) as daemon, ExitStack() as stack:
            clients = [stack.enter_context(daemon.connect("echo")) for _ in range(40)]
            for client in clients:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            complete = [read_to_end(client) == data for client in clients]
        self.assertEqual(complete, [True] * 40)

    def test_more_than_asked(self) -> None:
        """A client that sends more than the server wants gets its answer and a clean end."""
        ini = SERVER.format("yes") + "close = yes\n"
        with self.daemon(ini) as daemon, ExitStack() as stack:
            clients = [stack.enter_context(daemon.connect("server")) for _ in range(10)]
            for client in clients:
                client.sendall(bytes(MIB))
                client.shutdown(socket.SHUT_WR)
            for client in clients:
                self.assertEqual(read_to_end(client), REPLY)
                daemon.output.find(rf"{address_of(client)} \(server \d+\) closed: {MIB} bytes in")

    def test_half_close_of_lines(self) -> None:
        """The last line of a client that shuts down writing needs no line feed."""
        ini = "[upper]\nlisten = tcp:0:interface=127.0.0.1\nframing = line\n"
        with self.daemon(ini) as daemon, daemon.connect("upper") as client:
            client.sendall(b"one\ntwo\nthr")
            client.sendall(b"ee")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"ONE\nTWO\nTHREE")

    def test_framings(self) -> None:
        """A length in pieces is waited for; a silence ends a message while the client waits."""
        ini = "[ack]\nlisten = tcp:0:interface=127.0.0.1\nreply = !\noperator = never\nframing = "
        with self.daemon(ini + "length:2:at=4\n") as daemon, daemon.connect("ack") as client:
            client.sendall(b"\0\1\0\0\0")
            client.sendall(b"\2ab" + b"\0\2\0\0\0\1cd")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"\0\1\0\0\0\2ab!\0\2\0\0\0\1c!")
        with self.daemon(ini + "idle:10ms\n") as daemon, daemon.connect("ack") as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(6, socket.MSG_WAITALL), b"hello!")


class SlowTests(SystemCase):
    """Tests for peers that do not read."""

    def test_memory(self) -> None:
        """A peer that pushes and never reads is not read from, and costs little memory."""
        with self.daemon(ECHO) as daemon:
            self._exchange(daemon, bytes(MIB))
            before = daemon.resident()
            with daemon.connect("echo") as client:
                self.assertLess(push(client), PUSHED)
                self.assertLess(1024 * (daemon.resident() - before), MAX_GROWTH)
                self._exchange(daemon, b"others are served")
                close_with_reset(client)

    def test_close(self) -> None:
        """Closing does not hang on peers that neither read nor close."""
        ini = ECHO.rstrip() + f", unix:{self.directory / 'echo.sock'}\n"
        with self.daemon(ini, "--console") as daemon, ExitStack() as stack:
            kinds = ("tcp", "tcp", "unix")
            clients = [stack.enter_context(daemon.connect("echo", kind)) for kind in kinds]
            made = r"^connection from .* \(echo (\d+)\)$"
            numbers = [daemon.output.wait_for(made)[1] for _ in kinds]
            for client in clients[1:]:
                push(client)
            daemon.type("".join(f"close {number}\n" for number in numbers))
            asked = time.monotonic()
            for number in numbers:
                daemon.output.find(rf"^closing {number}$")
                daemon.output.find(rf"^connection from .* \(echo {number}\) reset here")
            self.assertLess(time.monotonic() - asked, GRACE)

    def _exchange(self, daemon: Daemon, data: bytes) -> None:
        with daemon.connect("echo") as client, ThreadPoolExecutor() as pool:
            pool.submit(send_oddly, client, data)
            self.assertEqual(len(read_to_end(client)), len(data))


class MalformedTests(SystemCase):
    """Tests for peers that break the rules."""

    lines = """
[upper]
listen = tcp:0:interface=127.0.0.1
framing = line
"""

    def test_endless_line(self) -> None:
        """A line of 1 MiB ends its connection behind the answers to the lines before."""
        with self.daemon(self.lines) as daemon:
            for message in (bytes(MIB), bytes(MIB) + b"\n"):
                with daemon.connect("upper") as client:
                    client.sendall(b"before\n" + message)
                    self.assertEqual(read_to_end(client), b"BEFORE\n")
            self._serves(daemon)

    def test_reset(self) -> None:
        """A client that resets in the middle of a message is gone, and no other."""
        with self.daemon(self.lines) as daemon:
            for _ in range(10):
                client = daemon.connect("upper")
                client.sendall(b"half a mess")
                self._reset(daemon, client)
            self._serves(daemon)

    def test_reset_with_answers(self) -> None:
        """So is one that resets while it is owed answers."""
        with self.daemon(self.lines) as daemon:
            client = daemon.connect("upper")
            push(client, b"line upon line\n" * 4000)
            self._reset(daemon, client)
            self._serves(daemon)

    def _reset(self, daemon: Daemon, client: socket.socket) -> None:
        name = address_of(client)
        close_with_reset(client)
        daemon.output.wait_for(rf"connection from {name} \(upper \d+\) reset by peer")

    def _serves(self, daemon: Daemon) -> None:
        with daemon.connect("upper") as client:
            self.check_echo(client, b"still there?\n", b"STILL THERE?\n")


class ManyConnectionsTests(SystemCase):
    """Tests for many connections."""

    def test_many(self) -> None:
        """2000 connections at once are all served."""
        with descriptor_limit(2 * MANY + 500), self.daemon(SERVER.format("no")) as daemon:
            with ExitStack() as stack:
                clients = [stack.enter_context(daemon.connect("server")) for _ in range(MANY)]
                for client in clients:
                    client.sendall(b"?")
                served = [read_exactly(client, len(REPLY)) == REPLY for client in clients]
            self.assertEqual(served.count(True), MANY)

    def test_log(self) -> None:
        """What peers can cause is logged up to a number of lines, and no further."""
        with self.daemon(SERVER.format("yes")) as daemon:
            for _ in range(1200):
                daemon.connect("server").close()
            with daemon.connect("server") as client:
                self.check_echo(client, b"?", REPLY)
            text = daemon.output.text
        self.assertEqual(text.count("connection from"), 2000)

    def test_out_of_descriptors(self) -> None:
        """
        Without descriptors left, live connections are served, and one line says that others
        wait; these are served once there is room.
        """
        with self.daemon(SERVER.format("no")) as daemon, ExitStack() as stack:
            daemon.address("server")
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS,) * 2)
            clients = [stack.enter_context(daemon.connect("server")) for _ in range(MANY_CLIENTS)]
            for client in clients:
                client.sendall(b"?")
            began = daemon.processor_seconds()
            served = self._served(clients)
            self.assertLess(daemon.processor_seconds() - began, SOME_TRIES / 3)
            self.assertGreater(served, 0)
            self.assertLess(served, FEW_DESCRIPTORS)
            self._check_complaints(daemon)
            for client in clients[:served]:
                self.check_echo(client, b"?", REPLY)
                client.close()
            for client in clients[served:]:
                client.settimeout(DEADLINE)
                self.assertEqual(read_exactly(client, len(REPLY)), REPLY)
                client.close()
            self._check_complaints(daemon)

    def _served(self, clients: list[socket.socket]) -> int:
        """Count the clients that get an answer; the first one without has a long time for it."""
        for number, client in enumerate(clients):
            client.settimeout(SOME_TRIES)
            try:
                self.assertEqual(read_exactly(client, len(REPLY)), REPLY)
            except TimeoutError:
                return number
        return len(clients)

    def _check_complaints(self, daemon: Daemon) -> None:
        line = "server cannot accept connections: Too many open files; retrying every 1.0 s"
        self.assertEqual(daemon.output.text.count("Too many open files"), 1)
        daemon.output.find(f"{line}$")
