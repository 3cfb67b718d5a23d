"""Tests for L{bench.load}: the C programs are compiled and run."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from bench.cores import choose
from bench.load import COMPILER, FOLDER, SOURCES, LoadFailed, LoadReport, parse, program, run
from bench.measure import reply_size
from bench.peers.listening import BESIDE
from bench.process import free_port
from bench.works import choose as select
from tests.bench.short import SHORT, measure
from tests.support.needs import COMPILING, need
from tests.support.polling import DEADLINE, wait_until

#: Connections of the tests.
FEW = "8"

ECHO = ("echo", "--connections", FEW, "--size", "64")
BULK = ("echo", "--connections", "2", "--size", "65536", "--in-flight", "4")
CONNECTS = ("connects", "--connections", FEW, "--size", "64")
UDP = ("udp", "--connections", "2", "--size", "0", "--in-flight", "4")
IDLE = ("idle", "--connections", "150", "--size", "64")

WINDOW = ["begin", "end"]


def python_peer(name: str) -> list[str]:
    """The command line of a peer written in Python."""
    return [sys.executable, "-m", f"bench.peers.{name}", "--port", "0"]


def answers(port: int) -> bool:
    """Say whether a server listens at the other address."""
    try:
        socket.create_connection((BESIDE, port)).close()
    except OSError:
        return False
    return True


class ParseTests(SynchronousTestCase):
    """Tests for L{parse}."""

    def test_idle(self) -> None:
        """What a mode does not tell has no value."""
        line = (
            '{"mode": "idle", "seconds": 0.5, "messages": 100, "asked": 100, '
            '"errors": 0, "first_error": ""}'
        )
        self.assertEqual(parse(line), LoadReport("idle", 0.5, 100, 0, "", asked=100))


class BuildTests(SynchronousTestCase):
    """Tests for the C programs as they are."""

    def setUp(self) -> None:
        need(*COMPILING)

    def test_no_warnings(self) -> None:
        """They compile without a warning."""
        for source in SOURCES.values():
            command = [*COMPILER, "-Werror", "-o", self.mktemp(), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), source.name)


class PeerTests(SynchronousTestCase):
    """Tests for loads against real peers on this machine."""

    def setUp(self) -> None:
        need(*COMPILING)

    def start(self, command: list[str]) -> int:
        """Start a peer for one test, and return where it listens."""
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout
        word, port = process.stdout.readline().split()
        self.assertEqual(word, "ready")
        return int(port)

    def load(self, port: int, *arguments: str) -> tuple[LoadReport, list[str]]:
        """Run one short load, and return its report and the marks of its last window."""
        marks: list[str] = []
        report = measure([*arguments, "--port", str(port)], on_mark=marks.append)
        self.assertEqual((report.errors, report.first_error), (0, ""))
        self.assertGreater(report.messages, 0)
        return report, marks[-len(WINDOW):]

    def test_asyncio_streams(self) -> None:
        """Echo is measured in a window of its length, with the latency of each message."""
        port = self.start(python_peer("asyncio_echo"))
        report, marks = self.load(port, *ECHO)
        self.assertEqual(marks, WINDOW)
        self.assertEqual(report.bytes, report.messages * 64)
        self.assertEqual(report.unserved, 0)
        self.assertGreaterEqual(report.seconds, 0.2)
        self.assertTrue(0 < report.p50_us <= report.p99_us)

    def test_asyncio_modes(self) -> None:
        """Bulk, connections and datagrams are measured the same way."""
        port = self.start(python_peer("asyncio_echo"))
        for arguments in (BULK, CONNECTS, UDP):
            self.assertEqual(self.load(port, *arguments)[1], WINDOW)

    def test_every(self) -> None:
        """With a pace, no connection or socket sends more often."""
        port = self.start(python_peer("asyncio_echo"))
        for arguments in (ECHO, ("udp", "--connections", FEW, "--size", "0")):
            report, _ = self.load(port, *arguments, "--every", "0.05")
            most = int(FEW) * (report.seconds / 0.05 + 2)
            self.assertTrue(0 < report.messages <= most, report)

    def test_idle(self) -> None:
        """
        Idle connections are held until the mark is dealt with; then a sample of them answers.
        """
        report, marks = self.load(self.start(python_peer("asyncio_echo")), *IDLE)
        self.assertEqual(marks, ["held"])
        self.assertEqual((report.messages, report.asked), (150, 150))

    def test_half_close(self) -> None:
        """The peers that are not asyncio's give a half-closing client its whole reply too."""
        peers = [python_peer("twisted_plain"), python_peer("threads_echo")]
        for command in [*peers, [str(program("epoll_echo"))]]:
            self.load(self.start(command), *CONNECTS)

    def test_ask(self) -> None:
        """Questions of HTTP and of WebSocket are asked, and replies have to end as they should."""
        for peer, works in (("twisted_web", ("http", "websocket")), ("uvicorn_http", ("http",)),
                            ("websockets_echo", ("websocket",))):  # fmt: skip
            port = self.start([*python_peer(peer)[:-1], str(free_port())])
            for work in works:
                (found,) = select([work], False)
                wait_until(lambda: answers(port), "no server")
                size = reply_size(found, port)
                report, _ = self.load(port, *found.load, "--size", str(size))
                # A reply in two parts may be counted half.
                most = int(FEW) * size
                self.assertLess(abs(report.bytes - report.messages * size), most)

    def test_c_peers(self) -> None:
        """The C peers echo messages and blocks, and tell the time."""
        echo = self.start([str(program("epoll_echo"))])
        self.load(echo, *ECHO)
        self.load(echo, *BULK)
        self.load(self.start([str(program("udp_time"))]), *UDP)


class FailureTests(SynchronousTestCase):
    """Tests for what the load refuses to measure."""

    def setUp(self) -> None:
        need(*COMPILING)

    def serve(self, answer: Callable[[bytes], bytes]) -> int:
        """Answer one message of one connection, at the port that is returned."""
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(DEADLINE)

        def serve_one() -> None:
            with server, server.accept()[0] as connection:
                connection.sendall(answer(connection.recv(64)))

        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        self.addCleanup(thread.join, DEADLINE)
        return int(server.getsockname()[1])

    def failure(self, port: int, *arguments: str) -> str:
        """What the load says instead of measuring."""
        command = [*arguments, "--port", str(port), *SHORT]
        error = self.assertRaises(LoadFailed, run, command, choose().load, lambda mark: None)
        return str(error)

    def test_wrong_reply(self) -> None:
        """A reply that differs in one byte is no reply."""
        port = self.serve(lambda message: message[:-1] + bytes([message[-1] ^ 1]))
        said = self.failure(port, "echo", "--connections", "1", "--size", "64")
        self.assertIn("connection 0: the reply differs from what was sent", said)

    def test_short_reply(self) -> None:
        """A connection that ends before the reply is complete is an error."""
        port = self.serve(lambda message: message[:10])
        said = self.failure(port, "echo", "--connections", "1", "--size", "64")
        self.assertIn("connection 0: EOF", said)

    def test_not_listening(self) -> None:
        """A port without a listener is reported at once."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        self.assertIn("Connection refused", self.failure(port, *ECHO))

    def test_wrong_options(self) -> None:
        """What does not go together is told of."""
        for arguments, expected in (
            (("idle", "--every", "5"), "--every is for echo and datagrams only"),
            (("ntp", "--connections", "8", "--sources", "7"), "each socket needs one"),
            (("udp", "--size", "1233"), "--size of datagrams is 1232 at most"),
            (("nts", "--datagram", "23"), "--datagram has 48 to 1232 bytes"),
            (("nts", "--datagram", "zz" * 48), "--datagram: not hexadecimal"),
            (("ask", "--size", "9"), "--question and --answer go together"),
            (("echo", "--question", "a"), "--question and --answer go together"),
            (("echo", "--question", "a", "--answer", "bc"), "equally long"),
            (("idle", "--question", "a", "--answer", "b"), "--question is for echo only"),
        ):
            self.assertIn(expected, self.failure(1, *arguments))

    def test_wrong_option(self) -> None:
        """A slip on the command line is told of, with what would be right."""
        said = self.failure(1, "echo", "--connections", "many")
        self.assertIn("--connections many: a number from 1 to 100000 is wanted", said)
