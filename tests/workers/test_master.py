"""Tests for L{socketd.workers.master}."""

from __future__ import annotations

import os
import select
import socket
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import STEERING_FAILED, Event
from socketd.configuration import Configuration
from socketd.daemon.state import CannotStart, State
from socketd.net.sockets.group import Sharing
from socketd.net.stream.refusal import listen_again, stop_listening
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.workers.master import MasterDaemon, make_master
from socketd.workers.messages import unpack
from tests.support.fakes import HandReactor
from tests.support.polling import DEADLINE
from tests.workers.fakes import ProcessReactor

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1, unix:@workers-test
[ipsla]
listen = udp:0:interface=127.0.0.1
"""


class MasterTests(SynchronousTestCase):
    """Tests for L{MasterDaemon}."""

    def setUp(self) -> None:
        self.asked: list[str] = []
        self.tasks: list[dict[str, Any]] = []
        self.stopped: Deferred[None] = Deferred()
        self.serves: Deferred[None] | None = None
        self.processes = ProcessReactor(
            {
                "serve": self._serve,
                "stop": lambda: self.asked.append("stop"),
                "abort": lambda: self.asked.append("abort"),
                "observe": lambda **values: None,
                "ping": lambda: {"last_id": 9, "connections": 4},
            }
        )

    def _serve(self, **values: Any) -> Any:
        self.tasks.append(values)
        for sock in values["socks"]:
            self.addCleanup(sock.close)
        return self.serves

    def start(self, sharing: Sharing = Sharing(2)) -> MasterDaemon:
        """Start a daemon with two workers."""
        settings = parse(INI, "FILE", installed(), "/run/x")
        self.reactor = HandReactor()
        parts = self.reactor, Configuration(settings), lambda: 0.0
        daemon = make_master(self.processes, sharing, *parts)
        self.events: list[Event] = []
        daemon.event_bus.watch(lambda event, facts: self.events.append(event))
        daemon.privilegedStartService()
        daemon.startService()
        for child in daemon.services:
            self.addCleanup(child.close)
        return daemon

    def test_tasks(self) -> None:
        """
        Each worker gets the settings and its own sockets: of the port of both one each, and the
        UNIX socket; a protocol that opens ports has one worker.
        """
        daemon = self.start()
        first, second = self.tasks
        self.assertEqual(unpack(first["settings"]), daemon.settings)
        names = [[(name, len(listeners)) for name, listeners in t["handed"]] for t in self.tasks]
        self.assertEqual(names, [[("echo", 3), ("ipsla", 1)], [("echo", 3), ("ipsla", 0)]])
        places = [[sock.getsockname() for sock in task["socks"]] for task in self.tasks]
        self.assertEqual(places[0][:3], places[1])
        self.assertEqual(_inode(first["socks"][2]), _inode(second["socks"][2]))
        for one, other in zip(first["socks"][:2], second["socks"]):
            self.assertNotEqual(_inode(one), _inode(other))

    def test_not_packed(self) -> None:
        """The options of a protocol that cannot be sent are an error of the start."""
        with mock.patch("socketd.workers.master.pack", side_effect=TypeError("cannot pickle it")):
            problem = self.assertRaises(CannotStart, self.start)
        self.assertEqual(problem.lines, ("workers = 1 only: cannot pickle it",))

    def test_state(self) -> None:
        """It serves as soon as all workers do."""
        self.serves = Deferred()
        daemon = self.start()
        self.assertEqual((daemon.state, daemon.is_alive), (State.STARTING, False))
        self.serves.callback(None)
        self.assertEqual((daemon.state, daemon.is_alive), (State.SERVING, True))
        self.assertEqual(daemon.snapshot().health, "serving")
        self.assertTrue(all(bound.is_serving for _, bound in daemon.listeners()))

    def test_steered_again(self) -> None:
        """Sources are steered, too, after all workers have stopped listening for a while."""
        daemon = self.start()
        bound = daemon.services[0].bound[0]
        for sock in bound.socks:
            backlog = stop_listening(sock)
        for sock in bound.socks:
            listen_again(sock, backlog)
        daemon.steer_again()
        # Each source of ten is met by one socket, whatever its port.
        for number in range(10):
            self.assertEqual(len({self._met(bound.socks, number) for _ in range(8)}), 1)

    def _met(self, socks: list[socket.socket], number: int) -> int:
        source = (f"127.0.1.{number}", 0)
        with socket.create_connection(socks[0].getsockname(), source_address=source):
            ready, _, _ = select.select(socks, [], [], DEADLINE)
            ready[0].accept()[0].close()
            return socks.index(ready[0])

    def test_deaths(self) -> None:
        """A death is counted."""
        daemon = self.start()
        self.processes.processes[1].end()
        self.assertEqual(daemon.snapshot().worker_deaths, 1)

    def test_connections(self) -> None:
        """The connections are those of the workers."""
        daemon = self.start()
        self.processes.advance(1)
        self.assertEqual(daemon.connection_count, 8)

    def test_stop(self) -> None:
        """It ends when its workers have ended, which are told a second signal."""
        daemon = self.start()
        stopped = daemon.stopService()
        daemon.abort()
        self.assertEqual(self.asked, ["stop", "stop", "abort", "abort"])
        self.assertNoResult(stopped)
        for process in self.processes.processes:
            process.end()
        self.successResultOf(stopped)

    def test_not_steered(self) -> None:
        """Where the system does not steer, the log says it, and the kernel's hash spreads."""
        with mock.patch("socketd.net.sockets.group.why_not_steered", lambda: "no such option"):
            sharing = Sharing(2).tried()
        daemon = self.start(sharing)
        self.assertIn(STEERING_FAILED, self.events)
        self.assertIsNone(daemon.services[0].bound[0].spread.prefixes)
        self.assertEqual(Sharing(2).tried(), Sharing(2))


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino
