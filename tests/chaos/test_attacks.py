"""Peers and pages of others that want more of the real daemon than its service."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import ExitStack
from functools import partial
from random import Random

from socketd.net.faults.datagrams import FAULT_QUEUE, MAX_HELD
from socketd.protocols.rules.ruleset import MAX_STEPS, compile_expression
from socketd.web.guard import TOKEN
from socketd.web.live import MAX_VIEWERS
from tests.chaos import figures
from tests.chaos.fault_case import FaultCase
from tests.chaos.peers import PeersCase
from tests.support.polling import DEADLINE, repeating, wait_until
from tests.support.processes import Daemon
from tests.support.sockets import exchange, read_exactly

#: The page, and services whose messages it shows.
PAGE = """
[socketd]
http = tcp:0
control = {directory}/control.sock
[echo]
listen = tcp:0:interface=127.0.0.1
[ack]
listen = tcp:0:interface=127.0.0.1
operator = auto
operator_timeout = 60s
"""

#: What would run if a page took it for more than text.
EVIL = b"</script><img src=x onerror=alert(1)>\x1b[2J\r\n\r\nevent: hello\r\ndata: 1\r\n\r\n"

#: What a viewer that does not read may cost (bytes), the kernel's buffers aside.
VIEWER = 256 * 1024

#: Asks RE2 for a state for each set of 1000 letters before: it forgets and makes them without end.
BOMB = "[ab]*a[ab]{1000}c"

#: The most messages of each attacker that another client waits for: one in the turn in which it
#: asks, one in the next, and one that was answered before.
TURNS = 3

ATTACKERS = 4

#: What the answers that are held may cost (bytes): 4 MiB of data, and as much around it.
HELD = 8 * 1024 * 1024


class PageTests(FaultCase):
    """The status page, attacked."""

    def ask(self, daemon: Daemon, method: str, path: str, body: str = "", **headers: str) -> str:
        """Send a request; return status, head and body."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        host, port = daemon.address("http")
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return f"{answer.status}\n{answer.headers}\n{answer.read().decode()}"
        finally:
            connection.close()

    def follow(self, daemon: Daemon, query: str = "") -> socket.socket:
        """Begin the stream of a viewer, whose buffer is as small as it can be."""
        viewer = socket.socket()
        self.addCleanup(viewer.close)
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        viewer.settimeout(DEADLINE)
        viewer.connect(daemon.address("http"))
        viewer.sendall(f"GET /events{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self.assertEqual(read_exactly(viewer, 12), b"HTTP/1.1 200")
        return viewer

    def test_other_sites(self) -> None:
        """
        By the name of another site, or from its page, nothing is told and nothing changed; the
        owner of the token changes it.
        """
        body = json.dumps({"command": "reset", "id": 1})
        with self.daemon(PAGE.format(directory=self.directory)) as daemon:
            host, port = daemon.address("http")
            token = self.subcommand("web").output.strip().partition("#token=")[2]
            known = {TOKEN.decode(): token, "Content-Type": "application/json"}
            with daemon.connect("echo") as client:
                self.check_echo(client)
                for path in ("/", "/page.js", "/events", "/history"):
                    answer = self.ask(daemon, "GET", path, Host=f"evil.example:{port}")
                    self.assertTrue(answer.startswith("403\n"), answer)
                    self.assertNotIn("echo", answer)
                for headers in (
                    known | {"Host": f"evil.example:{port}"},
                    known | {"Origin": "http://evil.example"},
                    known | {"Origin": "null"},
                    known | {"Sec-Fetch-Site": "same-site"},
                    {"Content-Type": "application/json"},
                    {"Content-Type": "application/json", "Cookie": f"token={token}"},
                ):
                    answer = self.ask(daemon, "POST", "/command", body, **headers)
                    self.assertTrue(answer.startswith("403\n"), headers)
                    self.assertNotIn("Access-Control", answer)
                form = known | {"Content-Type": "text/plain"}
                answer = self.ask(daemon, "POST", "/command", body, **form)
                self.assertTrue(answer.startswith("415\n"), answer)
                self.check_echo(client)
                own = known | {"Origin": f"http://{host}:{port}"}
                answer = self.ask(daemon, "POST", "/command", body, **own)
                self.assertTrue(answer.startswith("200\n"), answer)
                self.assertRaises(ConnectionResetError, client.recv, 1)

    def test_markup(self) -> None:
        """
        Markup, terminal codes and the form of the stream itself come to the page inside of one
        JSON string, as visible text, and no browser may take the stream for a page.
        """
        with self.daemon(PAGE.format(directory=self.directory)) as daemon:
            with daemon.connect("echo") as client:
                self.check_echo(client, EVIL)
                viewer, seen = self.follow(daemon, "?show=1"), b""
                self.check_echo(client, EVIL)
                while b"event: tick" not in seen.partition(b"onerror")[2]:
                    seen += viewer.recv(4096)
        head, _, body = seen.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: text/event-stream", head)
        self.assertIn(b"X-Content-Type-Options: nosniff", head)
        self.assertIn(b"default-src 'none'", head)
        self.assertEqual(body.splitlines().count(b"event: hello"), 1)
        self.assertIn(rb"onerror=alert(1)>\\x1b[2J\\r\\n", body)
        self.assertNotIn(b"\x1b", body)

    def test_slow_viewers(self) -> None:
        """
        Viewers that do not read cost bounded memory, delay no client and no other page, and one
        more is told that there are enough.
        """
        took = []
        with self.daemon(PAGE.format(directory=self.directory)) as daemon, ExitStack() as stack:
            shown = stack.enter_context(daemon.connect("echo"))
            self.check_echo(shown)
            before = daemon.private_bytes()
            viewers = [self.follow(daemon, "?show=1") for _ in range(MAX_VIEWERS)]
            ended = time.monotonic() + 4.0
            while (began := time.monotonic()) < ended:
                self.assertEqual(exchange(shown, b"\xff" * 2000), b"\xff" * 2000)
                took.append(time.monotonic() - began)
            self.assertTrue(self.ask(daemon, "GET", "/events").startswith("503\n"))
            self.assertTrue(self.ask(daemon, "GET", "/healthz").startswith("200\n"))
            grown = daemon.private_bytes() - before
            self.assertLess(grown, MAX_VIEWERS * VIEWER)
            for viewer in viewers:
                viewer.close()
            wait_until(lambda: self.ask(daemon, "HEAD", "/healthz").startswith("200\n"))
            self.follow(daemon)
        median = sorted(took)[len(took) // 2]
        figures.note(
            self,
            f"{MAX_VIEWERS} viewers cost {grown // 1024} KiB; meanwhile {len(took)} answers, one"
            f" in {median * 1e6:.0f} us",
        )


class ExpressionTests(FaultCase):
    """Regular expressions, and messages that make them take long."""

    def test_bomb(self) -> None:
        """
        Expressions that could take too long are refused; and while peers send the messages for
        which the allowed ones take longest, others have their turn between them.
        """
        size = MAX_STEPS // compile_expression(BOMB).programsize
        message = bytes(Random(18).choices(b"ab", k=size - 1)) + b"\n"
        ini = f"""
[rules]
protocol = reply
listen = tcp:0:interface=127.0.0.1
max_message = {size}
rules =
    /{BOMB}/ -> "found"
    /(b+)+c$/ -> "found"
    * -> "none"
[echo]
listen = tcp:0:interface=127.0.0.1
"""
        ended = self.run_check(self.write("bomb.ini", ini))
        self.assertEqual(ended.status, 78)
        fits = int(ended.errors.rpartition("max_message = ")[2])
        message = message[-fits:]
        answered, waited = [0] * ATTACKERS, 0
        with self.daemon(ini.replace(f"= {size}", f"= {fits}")) as daemon, ExitStack() as stack:
            client = stack.enter_context(daemon.connect("echo"))

            def attack(sock: socket.socket, number: int) -> None:
                self.check_echo(sock, message, b"none")
                answered[number] += 1

            attackers = [stack.enter_context(daemon.connect("rules")) for _ in answered]
            problems = [
                stack.enter_context(repeating(partial(attack, sock, number)))
                for number, sock in enumerate(attackers)
            ]
            wait_until(lambda: all(answered))
            began = daemon.processor_seconds()
            for _ in range(10):
                before = sum(answered)
                self.check_echo(client)
                waited = max(waited, sum(answered) - before)
            wait_until(lambda: sum(answered) >= 10 * ATTACKERS)
            each = (daemon.processor_seconds() - began) / sum(answered)
            self.assertEqual(problems, [[]] * ATTACKERS)
        self.assertLessEqual(waited, TURNS * ATTACKERS)
        figures.note(
            self, f"a message takes {each * 1e3:.0f} ms; another client waited for {waited}"
        )


class HeldTests(PeersCase):
    """More answers than a fault profile may hold."""

    #: Datagrams that are sent.
    count = 100_000

    def test_held(self) -> None:
        """
        A profile that would hold all of very many answers holds a part in bounded memory; the
        rest is counted, as is what the kernel had no room for; others are served, and the stop
        takes no longer.
        """
        ini = """
[socketd]
http = tcp:0
drain_timeout = 1s
[fault:hold]
latency = 1h
[held]
protocol = echo
fault = hold
listen = udp:0:interface=127.0.0.1
[echo]
listen = tcp:0:interface=127.0.0.1
"""
        with self.daemon(ini) as daemon, daemon.connect("held", "udp") as flood:
            with daemon.connect("echo") as other:
                self.check_echo(other)
                before = daemon.private_bytes()
                with repeating(lambda: self.check_echo(other)) as load:
                    for number in range(self.count):
                        flood.send(b"%0100d" % number)
                    wait_until(lambda: self._counted(daemon) == self.count, "not all are counted")
                grown = daemon.private_bytes() - before
                held = self._held(daemon)
            began = time.monotonic()
            daemon.stop()
            stopped = time.monotonic() - began
        self.assertEqual(load, [])
        self.assertEqual(held, MAX_HELD)
        self.assertLess(grown, HELD)
        figures.note(
            self,
            f"{self.count} datagrams: {held:.0f} held, {grown // 1024} KiB more; stopped after"
            f" {stopped:.1f} s",
        )

    def _counted(self, daemon: Daemon) -> float:
        """Say how many datagrams the daemon or the kernel has counted."""
        names = ("datagrams_received_total", "datagrams_kernel_dropped_total")
        return sum(self.figure(daemon, name, service="held") for name in names)

    def _held(self, daemon: Daemon) -> float:
        labels = {"reason": FAULT_QUEUE, "service": "held"}
        dropped = self.figure(daemon, "datagrams_dropped_total", **labels)
        return self.figure(daemon, "datagrams_received_total", service="held") - dropped
