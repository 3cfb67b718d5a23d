"""Tests for L{socketd.web.service}."""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import evolve
from twisted.application.service import IService
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.daemon.state import CannotStart, State
from socketd.settings.listeners import Listener
from socketd.web import service
from socketd.web.service import FRESH, WebService
from tests.support.fakes import HandReactor, read_all
from tests.web.fakes import make_daemon

LOOPBACK = Listener("tcp", interface="127.0.0.1")


class WebServiceTests(SynchronousTestCase):
    """Tests for L{WebService}, over real sockets."""

    def setUp(self) -> None:
        self.reactor = HandReactor()
        self.daemon = make_daemon(self.reactor)
        self.daemon.state = State.SERVING

    def start(self, listener: Listener = LOOPBACK) -> WebService:
        """Start the service."""
        web = WebService(self.daemon, listener)
        web.privilegedStartService()
        web.startService()
        self.addCleanup(self.stop, web)
        return web

    def stop(self, web: WebService) -> None:
        """Stop it; nothing may be left."""
        if web.running:
            stopped = web.stopService()
            self.reactor.turn()
            self.successResultOf(stopped)
        self.assertEqual(self.reactor.getReaders(), [])

    def connect(self, web: WebService) -> socket.socket:
        """Connect to it."""
        assert web.own.bound is not None
        client = socket.socket(web.own.bound.sock.family)
        self.addCleanup(client.close)
        client.connect(web.own.bound.sock.getsockname())
        client.setblocking(False)
        return client

    def ask(self, web: WebService, path: str, *headers: str) -> tuple[int, str]:
        """Ask for a page; return its status and its text."""
        client = self.connect(web)
        lines = (f"GET {path} HTTP/1.0", *headers, "", "")
        client.send("\r\n".join(lines).encode())
        self.reactor.turn(4)
        data, ended = read_all(client)
        self.assertTrue(ended)
        head, _, body = data.decode().partition("\r\n\r\n")
        client.close()
        self.reactor.turn(2)
        return int(head.split()[1]), body

    def test_service(self) -> None:
        """It is a service."""
        verifyObject(IService, self.start())

    def test_page(self) -> None:
        """The page is at loopback; its URL has a token, which is new at each start."""
        urls = []
        for _ in range(2):
            web = self.start()
            assert web.own.bound is not None
            port = web.own.bound.sock.getsockname()[1]
            urls.append(self.daemon.page or "")
            self.assertRegex(urls[-1], rf"\Ahttp://127\.0\.0\.1:{port}/#token=[\w-]{{32}}\Z")
            status, text = self.ask(web, "/", "Host: localhost")
            self.assertEqual((status, text[:15]), (200, "<!doctype html>"))
            self.stop(web)
        self.assertNotEqual(urls[0], urls[1])

    def test_page_places(self) -> None:
        """It is served where only this machine is, or everywhere, or nowhere, as it is said."""
        path = os.path.relpath(self.mktemp())
        local = (Listener("tcp6", interface="::1"), Listener("unix", path=path, mode=0o600))
        elsewhere = (Listener("tcp", interface="0.0.0.0"), Listener("tcp6", interface="::"))
        for wanted, places in (
            ("local", {local[0]: "http://[::1]:", local[1]: "http://localhost/"}),
            ("local", {Listener("tcp", interface="localhost"): "http://127.0.0.1:"}),
            ("everywhere", {elsewhere[0]: "http://127.0.0.1:", elsewhere[1]: "http://[::1]:"}),
            ("no", {LOOPBACK: "", local[1]: ""}),
            ("local", dict.fromkeys(elsewhere, "")),
        ):
            for listener, url in places.items():
                options = evolve(self.daemon.settings.daemon, status_page=wanted)
                self.daemon.settings = evolve(self.daemon.settings, daemon=options)
                self.daemon.page = None
                web = self.start(listener)
                status, _ = self.ask(web, "/", "Host: localhost")
                self.assertEqual(status, 200 if url else 404, (wanted, listener))
                self.assertEqual(bool(self.daemon.page), bool(url))
                self.assertTrue((self.daemon.page or "").startswith(url), self.daemon.page)
                self.stop(web)

    def test_health(self) -> None:
        """While the daemon serves the answer is 200, else 503 and what the daemon does."""
        web = self.start()
        for state, expected in (
            ("serving", (200, "serving\n")),
            ("reloading", (200, "serving\n")),
            ("draining", (503, "draining\n")),
            ("starting", (503, "starting\n")),
        ):
            self.daemon.state = State(state)
            self.assertEqual(self.ask(web, "/healthz"), expected)

    def test_metrics(self) -> None:
        """The figures are those of the daemon at that moment."""
        web = self.start()
        for count in (3, 4):
            self.daemon.service_states[0].counters.connections = count
            self.reactor.advance(FRESH)
            status, text = self.ask(web, "/metrics")
            self.assertEqual(status, 200)
            self.assertIn(f'\nsocketd_connections_total{{service="echo"}} {count}.0\n', text)
            self.assertIn("\nsocketd_event_loop_lag_seconds_count 0.0\n", text)

    def test_fresh(self) -> None:
        """However frequent the requests, the metrics are collected at most once in an interval."""
        web = self.start()
        asked: list[Any] = []

        def generate(registry: Any) -> bytes:
            asked.append(registry)
            return b"x"

        self.patch(service, "generate_latest", generate)
        for _ in range(5):
            self.assertEqual(self.ask(web, "/metrics"), (200, "x"))
        self.assertEqual(len(asked), 1)
        self.reactor.advance(FRESH)
        self.ask(web, "/metrics")
        self.assertEqual(len(asked), 2)

    def test_failure(self) -> None:
        """
        Figures that cannot be collected are an answer without a traceback, and a line
        in the log.
        """

        def fail(registry: Any) -> bytes:
            raise RuntimeError("a secret")

        web = self.start()
        self.patch(service, "generate_latest", fail)
        status, text = self.ask(web, "/metrics")
        self.assertEqual((status, text), (500, "the figures cannot be collected\n"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_aside(self) -> None:
        """Its connections are not the daemon's: no limit, no count and no watcher sees them."""
        web, seen = self.start(), []
        self.reactor.turn()
        self.daemon.shared.capacity.limit = 1
        self.daemon.shared.capacity.enter()
        self.daemon.event_bus.watch(lambda event, facts: seen.append(event))
        self.assertEqual(self.ask(web, "/healthz")[0], 200)
        self.assertEqual((seen, len(self.daemon.connection_table)), ([], 0))

    def test_announced(self) -> None:
        """The log has the address, with the port that the kernel chose."""
        seen: list[Any] = []
        self.daemon.event_bus.watch(lambda event, facts: seen.append((event.name, facts)))
        web = self.start()
        self.reactor.turn()
        ((name, facts),) = seen
        self.assertEqual((name, facts["service"]), ("listening", "http"))
        assert web.own.bound is not None
        self.assertIn(str(web.own.bound.sock.getsockname()[1]), facts["listener"])

    def test_unix(self) -> None:
        """It serves at a UNIX socket, whose file goes with it."""
        path: str = os.path.relpath(self.mktemp())
        web = self.start(Listener("unix", path=path, mode=0o600))
        self.assertEqual(self.ask(web, "/healthz"), (200, "serving\n"))
        self.stop(web)
        self.assertFalse(os.path.exists(path))

    def test_file_is_gone(self) -> None:
        """
        A socket whose file was removed makes the daemon unhealthy, and is there again
        when the daemon has prepared and carried out a change.
        """
        path: str = os.path.relpath(self.mktemp())
        web = self.start(Listener("unix", path=path))
        os.unlink(path)
        self.assertIn(f"http cannot be reached at unix {path}", self.daemon.snapshot().health)
        self.assertEqual(web.own.prepare(), [])
        self.assertEqual(web.own.commit(), [f"[socketd] http listens at unix {path} again"])
        self.assertEqual(self.ask(web, "/healthz"), (200, "serving\n"))

    def test_taken(self) -> None:
        """An address that cannot be had stops the start, in words."""
        first = self.start()
        assert first.own.bound is not None
        port = first.own.bound.sock.getsockname()[1]
        web = WebService(self.daemon, Listener("tcp", interface="127.0.0.1", port=port))
        problem = self.assertRaises(CannotStart, web.privilegedStartService)
        (line,) = problem.lines
        expected = f"[socketd] http: cannot listen at tcp 127.0.0.1:{port}: Address already in use"
        self.assertEqual(line.partition(" by ")[0], expected)
        self.assertIn("; write another port in socketd.ini", line)

    def test_stop(self) -> None:
        """Stopping ends connections that wait for nothing, and takes every timer back."""
        web = self.start()
        client = self.connect(web)
        self.reactor.turn(2)
        stopped = web.stopService()
        self.reactor.turn()
        self.successResultOf(stopped)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_close_before_start(self) -> None:
        """What is bound and never served can be closed, twice too."""
        web = WebService(self.daemon, LOOPBACK)
        web.privilegedStartService()
        web.close()
        web.close()
        self.assertIdentical(web.own.bound, None)
