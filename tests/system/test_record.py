"""C{socketd record} between a client and a server, and a daemon that serves what it wrote."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.polling import DEADLINE
from tests.support.ports import free_port
from tests.support.processes import Daemon, SystemCase
from tests.support.sockets import read_to_end

#: What the server says to each line; one that it does not know is counted.
ANSWERS = {
    b"NOOP\r\n": b"250 ok\r\n",
    b"BYTES\r\n": bytes(range(256)),
    b"QUIT\r\n": b"221 bye\r\n",
}


def serve(listening: socket.socket) -> None:
    """Serve one client: greet, answer each line, and close at C{QUIT}."""
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as lines:
        connection.sendall(b"220 ready\r\n")
        for count, line in enumerate(lines):
            connection.sendall(ANSWERS.get(line, b"%d\r\n" % count))
            if line == b"QUIT\r\n":
                return


def talk(address: tuple[str, int]) -> bytes:
    """Hold a conversation as a client that waits for each answer; return all that it is sent."""
    with socket.create_connection(address, DEADLINE) as client:
        heard = client.recv(11, socket.MSG_WAITALL)
        for line, length in ((b"NEXT", 3), (b"NOOP", 8), (b"NEXT", 3), (b"BYTES", 256)):
            client.sendall(line + b"\r\n")
            heard += client.recv(length, socket.MSG_WAITALL)
        client.sendall(b"QUIT\r\n")
        return heard + read_to_end(client)


class RecordTests(SystemCase):
    """Tests for C{socketd record} as a process."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.directory / "recorded.ini"
        self.address = ("127.0.0.1", free_port())

    @contextmanager
    def recorder(self, serve: Callable[[socket.socket], None]) -> Iterator[Daemon]:
        """Run a server and the command in front of it, until both end."""
        listening = closing(socket.create_server(("127.0.0.1", 0)))
        with listening as server, ThreadPoolExecutor() as pool:
            served = pool.submit(serve, server)
            host, port = server.getsockname()
            command = [sys.executable, "-m", "socketd", "record", f"{host}:{port}", str(self.file)]
            listen = "{}:{}".format(*self.address)
            recorder = Daemon([*command, "--listen", listen], env=self.environment())
            self.addCleanup(recorder.kill)
            recorder.errors.wait_for(f"^waiting for one client on {listen}$")
            yield recorder
            served.result(DEADLINE)

    def test_served(self) -> None:
        """What was recorded is served to the same client, which hears the same bytes."""
        with self.recorder(serve) as recorder:
            heard = talk(self.address)
            self.assertEqual(recorder.wait(), 0)
        self.assertIn(b"220 ready\r\n0\r\n250 ok\r\n2\r\n", heard)
        self.assertEqual(self.run_check(self.file).status, 0)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        with self.daemon(self.file.read_text()) as daemon:
            self.assertEqual(talk(daemon.address("recorded")), heard)
            self.assertEqual(talk(daemon.address("recorded")), heard)

    def test_interrupted(self) -> None:
        """Ctrl-C writes what was said until then."""
        with self.recorder(serve) as recorder:
            with socket.create_connection(self.address, DEADLINE) as client:
                self.assertEqual(client.recv(11, socket.MSG_WAITALL), b"220 ready\r\n")
                recorder.signal(signal.SIGINT)
                self.assertEqual(recorder.wait(), 130)
        self.assertIn(r'greeting = "220 ready\r\n"', self.file.read_text())

    def test_refused(self) -> None:
        """A file that is there, a datagram address and a place that is taken are refused."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.file.write_text("mine")
            free = f"127.0.0.1:{self.address[1]}"
            for server, file, listen, problem in (
                (f"127.0.0.1:{port}", self.file, free, f"{self.file} exists; --force would"),
                ("udp:127.0.0.1:7", "x.ini", free, "only streams are recorded"),
                (f"127.0.0.1:{port}", "x.ini", f"127.0.0.1:{port}", "address already in use"),
                (f"127.0.0.1:{port}", "x.ini", "udp:127.0.0.1:7", "is no place to listen"),
            ):
                ended = self.run_socketd("record", server, str(file), "--listen", listen)
                self.assertIn(problem, ended.errors)
                self.assertIn(ended.status, (1, 2))
        self.assertEqual(self.file.read_text(), "mine")
        self.assertEqual(list(Path(self.directory).glob("x.ini")), [])
