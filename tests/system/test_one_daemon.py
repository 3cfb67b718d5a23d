"""A daemon with workers is one daemon to operators, scrapers and the page."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import Any, TextIO

from prometheus_client.parser import text_string_to_metric_families

from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import connect_is_reset, read_to_end
from tests.support.workers import SOURCES, START, WorkersCase

INI = """
[socketd]
workers = 2
control = {directory}/socketd/control.sock
http = tcp:0:interface=127.0.0.1
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1
[ack]
listen = tcp:0:interface=127.0.0.1
operator_timeout = 60s
[fault:slow]
latency = 1ms
"""


#: What the page's own requests have.
OWN = {"Sec-Fetch-Site": "same-origin"}


class OneDaemonCase(WorkersCase):
    """A daemon with two workers, asked as one."""

    def asked(self, **request: Any) -> dict[str, Any]:
        """Ask at the control socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(str(self.directory / "socketd" / "control.sock"))
            sock.sendall(json.dumps(request).encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            answer: dict[str, Any] = json.loads(read_to_end(sock))
        return answer

    def done(self, command: str, **arguments: Any) -> str:
        """Execute a command that must succeed, and return its sentence."""
        answer = self.asked(command=command, **arguments)
        self.assertTrue(answer["ok"], answer)
        return str(answer.get("text", ""))

    def rows(self, command: str, **arguments: Any) -> list[dict[str, Any]]:
        """Ask for a table."""
        rows: list[dict[str, Any]] = self.asked(command=command, **arguments)["rows"]
        return rows

    def one_of_each(
        self, daemon: Daemon, stack: ExitStack, service: str = "echo"
    ) -> list[socket.socket]:
        """Connect to both workers; the first connection is that of the first one."""
        found: dict[int, socket.socket] = {}
        for source in SOURCES:
            sock = self.connect(daemon, source, service)
            found.setdefault((self.number(daemon, sock) - 1) % 2, sock)
            if len(found) == 2:
                break
        return [stack.enter_context(found[worker]) for worker in (0, 1)]

    def connection(self, daemon: Daemon) -> HTTPConnection:
        """Make a connection to the page."""
        host, port = daemon.address("http")
        return HTTPConnection(host, port, timeout=DEADLINE)

    def page(self, daemon: Daemon, path: str) -> str:
        """Read a page of the daemon."""
        connection = self.connection(daemon)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def figures(self, daemon: Daemon) -> tuple[dict[str, float], dict[str, float]]:
        """Scrape: the counters and the other figures, by name and labels."""
        counters: dict[str, float] = {}
        others: dict[str, float] = {}
        for family in text_string_to_metric_families(self.page(daemon, "/metrics")):
            for sample in family.samples:
                name = sample.name + str(sorted(sample.labels.items()))
                counts = family.type == "counter" or sample.name.endswith(("_bucket", "_count"))
                (counters if counts else others)[name] = sample.value
        return counters, others


class CommandTests(OneDaemonCase):
    """Each command concerns the right worker, or all of them."""

    def test_connections(self) -> None:
        """A connection is found at whichever worker it is, by its id."""
        with self.started(INI) as daemon, ExitStack() as stack:
            socks = self.one_of_each(daemon, stack)
            ids = [self.number(daemon, sock) for sock in socks]
            found = [row["id"] for row in self.rows("connections")]
            self.assertEqual(found, sorted(found))
            self.assertLessEqual(set(ids), set(found))
            after = self.rows("connections", after=min(ids))
            self.assertNotIn(min(ids), [row["id"] for row in after])
            for number, sock in zip(ids, socks):
                shown = self.asked(command="show", id=number)["connection"]
                self.assertEqual((shown["id"], shown["service"]), (number, "echo"))
                self.assertEqual(self.done("reply", id=number, text="hi"), f"sent to {number}")
                self.assertEqual(sock.recv(16), b"hi")
            self.done("half-close", id=ids[0])
            self.assertEqual(socks[0].recv(16), b"")
            self.done("close", id=ids[0])
            self.done("reset", id=ids[1])
            self.assertRaises(ConnectionResetError, socks[1].recv, 16)
            answer = self.asked(command="show", id=ids[1])
            self.assertEqual(answer["error"], f"no connection {ids[1]}; see connections")
            self.assertFalse(self.asked(command="show", id="x")["ok"])

    def test_figures(self) -> None:
        """Status and services count what all have done."""
        with self.started(INI) as daemon, ExitStack() as stack:
            for sock in self.one_of_each(daemon, stack):
                self.check_echo(sock)
            self.assertEqual(self.asked(command="status")["connections"], 2)
            (echo, _) = self.rows("services")
            self.assertEqual((echo["open"], echo["messages"]), (2, 2))

    def test_changes(self) -> None:
        """A change is one of all workers, also of one that is started later."""
        with self.started(INI) as daemon, ExitStack() as stack:
            socks = self.one_of_each(daemon, stack)
            switched = self.asked(command="fault", service="echo", profile="slow", now="now")
            self.assertEqual(switched["connections_switched"], 2)
            names = [sock.getsockname()[0] for sock in socks]
            banned = self.asked(command="ban", source=names[1])
            self.assertEqual(banned["connections_reset"], 1)
            self.done("log-level", level="debug")
            pid = self.serving(daemon, 1)
            os.kill(pid, signal.SIGKILL)
            daemon.output.find(rf"worker 1 \(process {pid}\) died")
            self.serving(daemon, 1)
            self.assertTrue(connect_is_reset(partial(self.connect, daemon, names[1])))
            with self.connect(daemon, names[0]) as sock:
                self.check_echo(sock)
            (slow,) = self.rows("faults")
            self.assertEqual((slow["service"], slow["seed"]), ("echo", switched["seed"]))
            self.done("unban", source=names[1])
            with self.connect(daemon, names[1]) as sock:
                self.check_echo(sock)


class OperatorTests(OneDaemonCase):
    """An operator sees all workers as one daemon."""

    def session(self, *lines: str) -> TextIO:
        """Open a session at the control socket, which executes lines."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(str(self.directory / "socketd" / "control.sock"))
        self.addCleanup(sock.close)
        sock.sendall("".join(f"json {line}\n" for line in lines).encode())
        file = sock.makefile("r")
        self.addCleanup(file.close)
        return file

    def until(self, file: TextIO, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read answers and events until one is wanted."""
        for line in file:
            found: dict[str, Any] = json.loads(line)
            if wanted(found):
                return found
        raise AssertionError("the session has ended")

    def test_attended(self) -> None:
        """Who waits at any worker is in one queue, and gets the word that is for it."""
        with self.started(INI) as daemon, ExitStack() as stack:
            session = self.session("attend")
            self.until(session, lambda found: found.get("text") == "attending")
            socks = self.one_of_each(daemon, stack, "ack")
            for number, sock in enumerate(socks, 1):
                sock.sendall(b"hello")
                queue = self.until(session, lambda found: found.get("count") == number)
            oldest = [one["id"] for one in queue["oldest"]]
            self.assertEqual(oldest, [self.number(daemon, sock) for sock in socks])
            self.assertEqual({row["id"] for row in self.rows("waiting")}, set(oldest))
            self.assertEqual(self.asked(command="status")["waiting"], 2)
            for number, sock in zip(oldest, socks):
                self.assertEqual(self.done("answer", id=number, text="word"), f"answered {number}")
                while b"word" not in sock.recv(64):
                    pass
            self.until(session, lambda found: found.get("count") == 0)
            os.kill(self.serving(daemon, 1), signal.SIGKILL)
            self.until(session, lambda found: found.get("event") == "worker_serves")
            with self.connect(daemon, socks[1].getsockname()[0], "ack") as sock:
                sock.sendall(b"hello")
                self.until(session, lambda found: found.get("count") == 1)

    def test_console(self) -> None:
        """The console asks for the word for a connection of any worker."""
        ini = INI.format(directory=self.directory)
        with self.daemon(ini, "--console", terminal=True) as daemon:
            for _ in range(2):
                daemon.output.wait_for(r"worker \d serves", START)
            for sock in self.some(daemon):
                sock.sendall(b"hello")
                # The prompt for the one before may have been drawn more than once.
                daemon.output.wait_for(rf"{sock.getsockname()[0]}:hello")
                daemon.output.wait_for("input the word")
                daemon.type("word\n")
                while b"word" not in sock.recv(64):
                    pass

    def some(self, daemon: Daemon) -> list[socket.socket]:
        """Connect from so many sources that both workers are met."""
        return [self.connect(daemon, source, "ack") for source in SOURCES[:8]]

    def test_watched(self) -> None:
        """Messages at all workers are events for who watches."""
        with self.started(INI) as daemon, ExitStack() as stack:
            session = self.session("watch echo")
            self.until(session, lambda found: "text" in found)
            for sock in self.one_of_each(daemon, stack):
                self.check_echo(sock)
                peer = "{}:{}".format(*sock.getsockname())
                made = self.until(session, lambda found: found["event"] == "message_received")
                self.assertEqual(made["facts"]["peer"], peer)

    def test_page(self) -> None:
        """The page has one history and one stream, which tells the messages of a connection."""
        with self.started(INI) as daemon, ExitStack() as stack:
            socks = self.one_of_each(daemon, stack)
            number = self.number(daemon, socks[1])
            connection = self.connection(daemon)
            stack.callback(connection.close)
            connection.request("GET", f"/events?show={number}", headers=OWN)
            stream = connection.getresponse()
            self.assertEqual(self.told(stream, "hello")["services"], ["echo", "ack"])
            self.told(stream, "tick")
            for sock in socks:
                self.check_echo(sock)
            (message,) = self.told(stream, "messages")
            self.assertEqual(message["event"], "message_received")
            tick = self.told(stream, "tick")
            self.assertEqual(tick["status"]["connections"], 2)
            self.assertEqual(tick["rates"][""]["open"], 2)
            self.assertEqual(self.page(daemon, "/healthz"), "serving\n")

    def told(self, stream: HTTPResponse, event: str) -> Any:
        """Read a stream until an event comes."""
        for line in stream:
            if line == f"event: {event}\n".encode():
                return json.loads(stream.readline().removeprefix(b"data: "))
        raise AssertionError("the stream has ended")


class ScrapeTests(OneDaemonCase):
    """/metrics of a daemon whose workers die."""

    def ask(self, daemon: Daemon) -> None:
        """Send a datagram from each source; one that is for a dead worker is answered late."""
        for source in SOURCES:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((source, 0))
                sock.settimeout(0.1)
                sock.sendto(b"hello", daemon.address("echo", "udp"))
                try:
                    sock.recv(16)
                except TimeoutError:
                    pass

    def risen(self, daemon: Daemon, name: str, goal: float) -> dict[str, float] | None:
        """Scrape the counters, if one of them has come so far."""
        found, _ = self.figures(daemon)
        return found if found[name] >= goal else None

    def test_kill(self) -> None:
        """No counter goes back when a worker is killed under load, and the sums are right."""
        name = "socketd_datagrams_received_total[('service', 'echo')]"
        with self.started(INI) as daemon:
            before, others = self.figures(daemon)
            up = "socketd_worker_up[('worker', '{}')]".format
            self.assertEqual([others[up(0)], others[up(1)]], [1, 1])
            with repeating(lambda: self.ask(daemon)):
                for worker in (0, 1):
                    # What a worker had counted after it was asked last is lost with it.
                    goal = before[name] + 100
                    before = wait_until(lambda: self.risen(daemon, name, goal), "no load")
                    pid = self.serving(daemon, worker)
                    os.kill(pid, signal.SIGKILL)
                    for _ in range(5):
                        found, _ = self.figures(daemon)
                        back = [one for one, value in before.items() if found[one] < value]
                        self.assertEqual(back, [])
                        before = found
                    daemon.output.find(rf"worker {worker} \(process {pid}\) died")
                    self.serving(daemon, worker)
            after, _ = self.figures(daemon)
            self.assertEqual(after["socketd_worker_deaths_total[]"], 2)
            total = after[name]
            self.assertGreaterEqual(total, 200)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(DEADLINE)
                sock.connect(daemon.address("echo", "udp"))
                for _ in range(10):
                    sock.send(b"hello")
                    sock.recv(16)
            # A scrape right after another one has the same page.
            wait_until(lambda: self.figures(daemon)[0][name] > total, "no new figures")
            self.assertEqual(self.figures(daemon)[0][name], total + 10)

    def test_hung(self) -> None:
        """One that does not answer does not hold up a scrape, nor take its figures along."""
        with self.started(INI) as daemon:
            before, _ = self.figures(daemon)
            os.kill(self.serving(daemon, 0), signal.SIGSTOP)
            found, _ = self.figures(daemon)
            self.assertEqual([one for one in before if found[one] < before[one]], [])
            daemon.output.wait_for("worker 0 .* has not answered")
