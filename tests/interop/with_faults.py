"""
The ports of etc/faults.ini, each with a client of the outside: curl, OpenSSL's, ncat and requests
say of each what docs/FAULTS.md says that they say.
"""

from __future__ import annotations

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from subprocess import PIPE, STDOUT, Popen
from typing import Any

import requests
from attrs import frozen
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError, ReadTimeout, SSLError
from urllib3.util import Retry

from tests.interop.client_case import InteropCase
from tests.support.certificates import issued
from tests.support.faults_ini import FLAKY, at_free_ports, with_certificate
from tests.support.needs import locate
from tests.support.polling import DEADLINE
from tests.support.processes import Daemon

#: HTTP with profiles, which act below it.
HTTP = """
[recovering]
protocol = http
listen = tcp:0:interface=127.0.0.1
fault = recovering

[cut]
protocol = http
listen = tcp:0:interface=127.0.0.1
fault = cut

[slow]
protocol = http
listen = tcp:0:interface=127.0.0.1
fault = slow

[fault:recovering]
first = 3
reset = at once

[fault:cut]
close = after 300B

[fault:slow]
latency = 300ms
slice = 200 every 20ms
"""

#: Enough for the seeds of the file to show all that they draw.
MESSAGES = 60

#: More than the buffers of a connection that nothing is read from.
LARGE = 20_000_000

CURL = "curl -sS --http0.9 "
CONNECTED = r"CONNECTED\(0+3\)"


@frozen
class Row:
    """
    One client that meets one service.

    @ivar command: with C{{host}} and C{{port}}, and C{{large}}, a large file.
    @ivar status: its exit status, or several: a reset may come before its connect is done.
    @ivar says: the pattern of what it writes, errors too.
    @ivar takes: how long it takes at least (seconds).
    @ivar tries: how often it may try: of a socket that was reset, a client that looks late may
        read nothing.
    """

    service: str
    command: str
    status: int | tuple[int, ...]
    says: str
    given: bytes | None = None
    takes: float = 0.0
    tries: int = 1


NCAT = "ncat {host} {port}"
TEXT = rb"hello" + b"\n"
PATTERN = r" !\"#[\s\S]{96}"

#: The streams, in the order of the file.
ROWS = (
    Row("refused", CURL + "http://{host}:{port}/", 7, r"\(7\) Failed to connect"),
    Row("silent", CURL + "--max-time 1 http://{host}:{port}/", 28, r"with 0 bytes received"),
    Row("never-read", CURL + "--max-time 2 -H Expect: -T {large} http://{host}:{port}/", 28,
        r"timed out .* with 0 bytes received"),
    Row("slow-start", NCAT, 0, r"\Ahello\n\Z", TEXT, 5.0),
    Row("reset", CURL + "http://{host}:{port}/", (7, 56), r"\((7|56)\) .*(reset by peer|connect)"),
    Row("reset-in-handshake", "openssl s_client -connect {host}:{port}", 1,
        r"(?s)errno=104.*has read 0 bytes"),
    Row("reset-in-handshake", CURL + "https://{host}:{port}/", 35, r"\(35\) .*reset by peer"),
    Row("reset-in-server-hello", "openssl s_client -connect {host}:{port}", 1,
        r"(?s)errno=104.*no peer certificate available"),
    Row("empty", CURL + "http://{host}:{port}/", 52, r"\(52\) Empty reply from server"),
    Row("cut", NCAT + " --recv-only", 1, rf"\A{PATTERN}Ncat: Connection reset by peer\.\n\Z",
        tries=20),
    Row("short", CURL + "http://{host}:{port}/", 0, rf"\A{PATTERN}\Z"),
    Row("half-closed", NCAT + " --recv-only", 0, rf"\A{PATTERN}\Z"),
    Row("dribble", CURL + "-N --speed-limit 10 --speed-time 2 http://{host}:{port}/", 28,
        r"I.*\(28\) Operation too slow|\(28\) Operation too slow.*\nI"),
    Row("endless", CURL + "--max-time 1 -o /dev/null http://{host}:{port}/", 28,
        r"\(28\) .* with \d{6,} bytes received"),
    Row("twice", NCAT, 0, r"\Ahello\nhello\n\Z", TEXT),
    Row("garbage", "curl -sS http://{host}:{port}/", 1, r"\(1\) Received HTTP/0.9 when not allow"),
    Row("late", NCAT, 0, r"\Ahello\n\Z", TEXT, 0.5),
    Row("narrow", CURL + "--max-time 3 -o /dev/null http://{host}:{port}/", 28,
        r"\(28\) .* with [1-4]\d{3} bytes received"),
    Row("forgotten", NCAT, 1, r"Ncat: Connection reset by peer", None, 10.0),
)  # fmt: skip

#: The services of datagrams, in the order of the file.
DATAGRAMS = ("lossy", "bursts", "duplicated", "reordered", "damaged")

#: Longer than an answer waits that later ones are to overtake (seconds).
WAIT = 2.5


class FileCase(InteropCase):
    """A daemon on etc/faults.ini."""

    def serve_file(self) -> Daemon:
        """Start the daemon on the file, at other ports, with the service that is a comment."""
        made = issued("127.0.0.1")
        pem = made.write(str(self.directory / "server.pem"))
        text = with_certificate(pem)
        text = text.replace("[defaults]\n", "[defaults]\nlog_messages = text\n")
        return self.serve(at_free_ports(text))


class StreamTests(FileCase):
    """Tests for its services of streams."""

    def target(self, daemon: Daemon, service: str) -> tuple[str, int]:
        """Find where a service listens."""
        kind = "tls" if service == "reset-in-server-hello" else "tcp"
        host, port = daemon.address(service, kind)
        return host, port

    def meet(self, row: Row, address: tuple[str, int]) -> str:
        """Run a client to its end, once or until nothing is wrong; return what is."""
        wrong = ""
        for _ in range(row.tries):
            wrong = self.try_once(row, address)
            if not wrong:
                break
        return wrong

    def try_once(self, row: Row, address: tuple[str, int]) -> str:
        """Run a client to its end; return what is wrong."""
        host, port = address
        values = {"host": host, "port": port, "large": self.directory / "large"}
        command = [word.format(**values) for word in row.command.split()]
        command[0] = locate(command[0])
        began = time.monotonic()
        status, said = self.run_client(command, row.given)
        took = time.monotonic() - began
        expected = row.status if isinstance(row.status, tuple) else (row.status,)
        if status not in expected or not re.search(row.says, said) or took < row.takes:
            return f"{row.service}: {command} {status} after {took:.1f} s: {said[:500]!r}"
        return ""

    def run_client(self, command: list[str], given: bytes | None) -> tuple[int, str]:
        """Run a client; without anything given its input stays open."""
        pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "stderr": STDOUT}
        with Popen(command, **pipes, env=self.environment(), cwd=self.directory) as client:
            try:
                if given is None:
                    assert client.stdout is not None
                    said = client.stdout.read()
                    client.wait(DEADLINE)
                else:
                    said = client.communicate(given, timeout=DEADLINE)[0]
            finally:
                client.kill()
        return client.returncode, said.decode("utf-8", "replace")

    def test_streams(self) -> None:
        """Each service does to its client what its comment says, all at once."""
        with (self.directory / "large").open("wb") as file:
            file.truncate(LARGE)
        with self.serve_file() as daemon, ThreadPoolExecutor(len(ROWS)) as pool:
            addresses = [self.target(daemon, row.service) for row in ROWS]
            self.report(list(pool.map(self.meet, ROWS, addresses)))

    def fates(self, daemon: Daemon, service: str, count: int) -> str:
        """Connect again and again: r is a reset, s an answer."""
        found = ""
        for _ in range(count):
            command = [locate("ncat"), *map(str, daemon.address(service))]
            status, said = self.run_client(command, TEXT)
            ends = [(0, "hello\n"), (1, "Ncat: Connection reset by peer.\n")]
            self.assertIn((status, said), ends)
            found += "r" if status else "s"
        return found

    def test_again(self) -> None:
        """Who comes again is reset by chance, but the same in each run, or only at first."""
        with self.serve_file() as daemon:
            self.assertEqual(self.fates(daemon, "flaky", len(FLAKY)), FLAKY)
            self.assertEqual(self.fates(daemon, "recovering", 6), "rrrsss")
            self.assertEqual(self.fates(daemon, "failing", 3), "sss")
            command = CURL + "--max-time 1 http://{host}:{port}/"
            row = Row("failing", command, 28, "0 bytes received")
            self.assertEqual(self.meet(row, daemon.address("failing")), "")

    def test_requests(self) -> None:
        """Python's requests tells them apart by its exceptions."""
        with self.serve_file() as daemon, requests.Session() as session:
            session.trust_env = False
            for service, scheme, kind, says in (
                ("refused", "http", ConnectionError, "Connection refused"),
                ("silent", "http", ReadTimeout, "Read timed out"),
                ("reset", "http", ConnectionError, "Connection reset by peer"),
                ("reset-in-handshake", "https", (ConnectionError, SSLError), "reset by peer"),
                ("empty", "http", ConnectionError, "without response"),
                ("garbage", "http", ConnectionError, "BadStatusLine"),
            ):
                host, port = daemon.address(service)
                with self.assertRaises(kind, msg=service) as caught:
                    session.get(f"{scheme}://{host}:{port}/", timeout=1.0)
                self.assertIn(says, str(caught.exception), service)


class DatagramTests(FileCase):
    """Tests for its services of datagrams."""

    def ask_all(self, daemon: Daemon) -> list[list[str]]:
        """
        Send numbers, each once the one before has arrived.

        @return: what came back from each service, in lines.
        """
        with ExitStack() as stack:
            clients = {name: stack.enter_context(self.client(daemon, name)) for name in DATAGRAMS}
            for number in range(MESSAGES):
                for name, client in clients.items():
                    client.stdin.write(f"{name} {number:03}\n".encode())
                    daemon.output.find(rf"127\.0\.0\.1:{name} {number:03}\\n$")
            # By then a datagram that waits for later ones has left.
            time.sleep(WAIT)
            for client in clients.values():
                client.kill()
            received = [client.stdout.read().decode("latin-1") for client in clients.values()]
        return [text.split("\n")[:-1] for text in received]

    def client(self, daemon: Daemon, service: str) -> Any:
        """Start ncat, or socat where an answer may be cut to nothing, which ends ncat."""
        host, port = daemon.address(service, "udp")
        command = [locate("ncat"), "-u", host, str(port)]
        if service == "damaged":
            command = [locate("socat"), "-", f"UDP:{host}:{port}"]
        pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "bufsize": 0}
        return Popen(command, **pipes, env=self.environment(), cwd=self.directory)

    def test_datagrams(self) -> None:
        """Answers are lost, repeated, overtaken and damaged, the same ones in each run."""
        runs = []
        for _ in range(2):
            with self.serve_file() as daemon:
                runs.append(self.ask_all(daemon))
        self.assertEqual(*runs)
        asked = [[f"{name} {number:03}" for number in range(MESSAGES)] for name in DATAGRAMS]
        lossy, bursts, duplicated, reordered, damaged = runs[0]
        for found, sent in ((lossy, asked[0]), (bursts, asked[1])):
            self.assertEqual(found, [one for one in sent if one in found])
            self.assertTrue(0 < len(found) < MESSAGES, found)
        self.assertEqual(duplicated, [one for one in asked[2] for _ in range(2)])
        self.assertNotEqual(reordered, asked[3])
        self.assertEqual(sorted(reordered), asked[3])
        self.assertNotEqual(damaged, asked[4])


class HttpTests(InteropCase):
    """Profiles act below HTTP."""

    def test_under_http(self) -> None:
        """A client that tries again gets through; one whose answer is cut notices; one waits."""
        with self.serve(HTTP) as daemon, requests.Session() as session:
            session.trust_env = False
            session.mount("http://", HTTPAdapter(max_retries=Retry(5, backoff_factor=0)))
            url = "http://{}:{}/x".format(*daemon.address("recovering"))
            self.assertEqual(session.get(url, timeout=DEADLINE).json()["connection"], 4)
            cut = [locate("curl"), "-sS", "http://{}:{}/x".format(*daemon.address("cut"))]
            done = subprocess.run(cut, capture_output=True, timeout=DEADLINE)
            self.assertEqual(done.returncode, 18, done.stderr)
            url = "http://{}:{}/status/418".format(*daemon.address("slow"))
            answered = session.get(url, timeout=DEADLINE)
            self.assertEqual((answered.status_code, answered.text), (418, "418 I'm a Teapot\n"))
            self.assertGreater(answered.elapsed.total_seconds(), 0.3)
