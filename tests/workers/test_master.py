"""Tests for L{socketd.workers.master}."""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.counters import Counters
from socketd.common.lag import Lag
from socketd.common.events import OPERATOR_ANSWERED, STEERING_FAILED, Event
from socketd.configuration import Configuration
from socketd.control.commands import answer
from socketd.control.reports import queue_event
from socketd.daemon.daemon import CHECK_INTERVAL
from socketd.daemon.faults import switch, switches
from socketd.daemon.snapshot import ServiceSnapshot, Snapshot
from socketd.daemon.state import CannotStart, State
from socketd.net.sockets.group import Sharing
from socketd.net.stream.refusal import listen_again, stop_listening
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.networks import parse_networks
from socketd.workers.figures import tell
from socketd.workers.link import LinkFailed
from socketd.workers.master import FIGURES, MasterDaemon, make_master
from socketd.workers.task import share_out, standing, take_standing, unpack
from tests.support.fakes import HandReactor
from tests.support.polling import DEADLINE
from tests.workers.fakes import ProcessReactor

INI = """
[echo]
listen = tcp:0:interface=127.0.0.1, udp:0:interface=127.0.0.1, unix:@workers-test
[fault:late]
latency = 1s
[ipsla]
listen = udp:0:interface=127.0.0.1
"""


#: What a worker counts.
ECHO = ServiceSnapshot("echo", 2, Counters(connections=3))


class MasterTests(SynchronousTestCase):
    """Tests for L{MasterDaemon}."""

    def setUp(self) -> None:
        self.asked: list[str] = []
        self.switched: list[Any] = []
        self.said: list[Any] = []
        self.shown: list[Any] = []
        self.tasks: list[dict[str, Any]] = []
        self.stopped: Deferred[None] = Deferred()
        self.figures: Any = tell(Snapshot(State.SERVING, "", services=(ECHO,), waiting=1), Lag())
        self.serves: Deferred[None] | None = None
        self.prepares: list[Deferred[None]] | None = None
        self.ini = INI
        self.processes = ProcessReactor(
            {
                "serve": self._serve,
                "stop": lambda: self.asked.append("stop"),
                "abort": lambda: self.asked.append("abort"),
                "prepare": self._prepare,
                "commit": lambda: self.asked.append("commit"),
                "roll_back": lambda: self.asked.append("roll_back"),
                "drain": lambda: self.asked.append("drain"),
                "resume": self._resume,
                "observe": lambda **values: None,
                "ping": lambda: {"last_id": 9},
                "snapshot": lambda: self.figures,
                "switch": lambda faults: self.switched.append(faults),
                "word": lambda **values: self.said.append(values),
                "observe_connection": lambda **values: self.shown.append(values),
                "attend": lambda attended: self.asked.append(f"attend {attended}"),
            }
        )

    def _serve(self, **values: Any) -> Any:
        self.tasks.append(values)
        for sock in values.get("socks", ()):
            self.addCleanup(sock.close)
        return self.serves

    def _take(self, **values: Any) -> list[tuple[str, int]]:
        for sock in values.get("socks", ()):
            sock.close()
        return [(name, len(listeners)) for name, listeners in values["handed"]]

    def _prepare(self, **values: Any) -> Any:
        self.asked.append(f"prepare {self._take(**values)}")
        if self.prepares is None:
            return None
        self.prepares.append(Deferred())
        return self.prepares[-1]

    def answer(self) -> None:
        """Have all that were asked to prepare say that they have, now and later."""
        prepares, self.prepares = self.prepares, None
        for one in prepares or ():
            one.callback(None)

    def _resume(self, **values: Any) -> None:
        self.asked.append(f"resume {self._take(**values)}")

    def start(self, sharing: Sharing = Sharing(2)) -> MasterDaemon:
        """Start a daemon with two workers."""
        settings = parse(INI, "FILE", installed(), "/run/x")
        self.reactor = HandReactor()
        parts = self.reactor, Configuration(settings), lambda: 0.0
        daemon = make_master(self.processes, sharing, *parts)
        daemon.configure = lambda: Configuration(parse(self.ini, "FILE", installed(), "/run/x"))
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
        shared = share_out(daemon.settings, Sharing(2), 0, None)
        self.assertEqual(unpack(first["settings"]), shared)
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

    def test_figures(self) -> None:
        """What it shows is what the workers have counted; those that died, too."""
        daemon = self.start()
        self.assertEqual(daemon.snapshot().services[0].counters.connections, 0)
        self.successResultOf(daemon.refresh())
        for deaths in (0, 1):
            found = daemon.snapshot()
            self.assertEqual(found.services[0].counters.connections, 6)
            self.assertEqual((found.connections, found.waiting), (4 - 2 * deaths, 2 - deaths))
            workers = [(one.is_serving, one.connections) for one in found.workers]
            self.assertEqual(workers, [(True, 2), (False, 0) if deaths else (True, 2)])
            if not deaths:
                self.processes.processes[1].end()
        self.processes.advance(0)
        self.successResultOf(daemon.refresh())
        self.assertEqual(daemon.snapshot().services[0].counters.connections, 9)

    def test_late_figures(self) -> None:
        """A worker that is late does not hold up the others; what it tells then counts."""
        daemon = self.start()
        figures, self.figures = self.figures, Deferred()
        refreshed = daemon.refresh()
        self.processes.advance(FIGURES / 2)
        self.assertNoResult(refreshed)
        self.processes.advance(FIGURES / 2)
        self.successResultOf(refreshed)
        self.assertEqual(daemon.snapshot().services[0].counters.connections, 0)
        self.figures.callback(figures)
        self.assertEqual(daemon.snapshot().services[0].counters.connections, 3)

    def test_untrue_figures(self) -> None:
        """One that tells what no worker tells is killed."""
        daemon = self.start()
        for found in ({}, {"services": 7}, {"odd": 7}):
            self.figures = found
            process = self.processes.processes[-1]
            self.successResultOf(daemon.refresh())
            self.assertTrue(process.killed)
            process.end(signal.SIGKILL)
            self.processes.advance(60)

    def test_checked(self) -> None:
        """They are collected once a second, as what a worker has counted since dies with it."""
        daemon = self.start()
        self.reactor.advance(CHECK_INTERVAL)
        self.assertEqual(daemon.snapshot().services[0].counters.connections, 6)

    def test_health(self) -> None:
        """Without one of the workers, some sources are not served."""
        daemon = self.start()
        self.processes.processes[1].end()
        self.assertEqual(daemon.snapshot().health, "worker 1 does not serve")
        self.processes.advance(0)
        self.assertEqual(daemon.snapshot().health, State.SERVING)

    def test_standing(self) -> None:
        """One that is started again has what operators have changed before."""
        daemon = self.start()
        (network,) = parse_networks("192.0.2.0/24")
        daemon.bans.add(network, 60.0)
        daemon.event_bus.level = LogLevel.warn
        switch(daemon.services[0], daemon.settings.faults["late"])
        daemon.operator.attach(lambda: None)
        self.assertEqual(self.asked, ["attend True"] * 2)
        self.processes.processes[1].end()
        self.processes.advance(0)
        task = self.tasks[-1]
        self.assertTrue(task["attended"])
        for child in daemon.services:
            child.close()
        other = self.start()
        take_standing(other, **task["standing"])
        self.assertEqual(standing(other), standing(daemon))
        self.assertEqual([one.network for one in other.bans.current()], [network])
        self.assertEqual(switches(other.services), switches(daemon.services))
        self.assertIsNotNone(switches(other.services)["echo"])

    def test_operator(self) -> None:
        """Who waits at a worker waits here: it has a name, is answered, and dies with it."""
        daemon = self.start()
        found = {"id": 2, "service": "echo", "peer": "x", "said": "hi", "asked": 1.0}
        link = self.processes.processes[1].link
        link.tell("queue", count=1, oldest=[found | {"until": 9.0}])
        event = queue_event(daemon)
        self.assertEqual((event["count"], event["oldest"][0]["peer"]), (1, "x"))
        (question,) = daemon.operator.waiting
        self.assertEqual(list(daemon.connection_ids), [2])
        answer(daemon, question, b"word", "me")
        self.assertEqual(self.said, [{"number": 2, "asked": 1.0, "reply": b"word"}])
        self.assertEqual(self.events[-1], OPERATOR_ANSWERED)
        link.tell("queue", count=2, oldest=[found | {"until": 9.0, "asked": 2.0}])
        self.processes.processes[1].end()
        self.assertEqual(daemon.operator.count, 0)

    def test_untrue_queue(self) -> None:
        """A worker whose queue is none is killed."""
        self.start()
        self.processes.processes[1].link.tell("queue", count=1, oldest=7)
        self.assertTrue(self.processes.processes[1].killed)

    def test_observed(self) -> None:
        """The messages of a connection are observed where it is."""
        daemon = self.start()
        end = daemon.observe(4)
        end()
        self.assertEqual(self.shown, [{"number": 4, "count": 1}, {"number": 4, "count": -1}])
        self.processes.processes[1].end()
        daemon.observe(4)()
        self.assertEqual(len(self.shown), 2)

    def test_deaths(self) -> None:
        """A death is counted."""
        daemon = self.start()
        self.processes.processes[1].end()
        self.assertEqual(daemon.snapshot().worker_deaths, 1)

    def test_connections(self) -> None:
        """The connections are those of the workers; they are counted for a drain and a stop."""
        daemon = self.start()
        facts: list[int] = []
        daemon.event_bus.watch(lambda event, found: facts.append(found.get("connections", -1)))
        daemon.drain()
        self.assertEqual((daemon.connection_count, facts.pop()), (4, 4))
        self.figures["services"][0]["connections"] = 7
        daemon.stopService()
        self.assertEqual((daemon.connection_count, facts.pop()), (14, 14))

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

    def test_reload(self) -> None:
        """
        All prepare what is added or changed, and only then it is applied; who asks meanwhile gets
        one reload for all.
        """
        daemon = self.start()
        self.ini += "max_connections = 9\n[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.ini = self.ini.replace("[ipsla]", "[gone]\nprotocol = ipsla")
        self.prepares = []
        done = daemon.reload()
        more = [daemon.reload(), daemon.reload()]
        self.assertEqual(len(daemon.services), 2)
        both = [f"prepare [('gone', {number}), ('upper', 1)]" for number in (1, 0)]
        self.assertEqual(self.asked, both)
        self.answer()
        names = [child.name for child in daemon.services]
        self.assertEqual(names, ["echo", "gone", "upper"])
        self.assertEqual(self.successResultOf(done).diagnostics, ())
        self.assertEqual(self.asked, both + ["commit"] * 2 + ["prepare []"] * 2 + ["commit"] * 2)
        self.assertEqual([self.successResultOf(one).changes for one in more], [(), ()])
        self.assertEqual((daemon.state, daemon.reloads["done"]), (State.SERVING, 2))

    def test_refused(self) -> None:
        """What one worker cannot serve changes nothing anywhere."""
        daemon = self.start()
        before = daemon.settings
        self.ini += "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.prepares = []
        done = daemon.reload()
        self.prepares.pop().errback(LinkFailed("no such file"))
        self.answer()
        self.assertEqual(self.successResultOf(done).diagnostics, ("no such file",))
        self.assertEqual(self.asked[2:], ["roll_back", "roll_back"])
        self.assertEqual((daemon.settings, daemon.state), (before, State.SERVING))

    def test_too_few_connections(self) -> None:
        """Each worker has one connection at least; the next start has fewer workers."""
        daemon = self.start()
        self.ini = "[socketd]\nmax_connections = 1\n" + INI
        found = self.successResultOf(daemon.reload()).diagnostics
        expected = "FILE:2: [socketd] max_connections = 1: is less than the 2 workers; start the"
        self.assertEqual(found, (f"{expected} daemon again for that",))
        self.assertEqual(Sharing.asked(parse(self.ini, "FILE", installed(), "/run/x")).workers, 1)

    def test_stop_in_a_reload(self) -> None:
        """A stop overtakes a reload, of which nothing is left."""
        daemon = self.start()
        self.ini += "[upper]\nlisten = tcp:0:interface=127.0.0.1\n"
        self.prepares = []
        done = daemon.reload()
        daemon.stopService()
        self.answer()
        found = self.successResultOf(done).diagnostics
        self.assertEqual(found, ("cannot reload while stopping",))
        self.assertEqual(daemon.state, State.STOPPING)
        self.assertNotIn("commit", self.asked)

    def test_drain(self) -> None:
        """All drain, and accept again with new sockets; a successor is told of the drain."""
        daemon = self.start()
        self.successResultOf(daemon.drain())
        self.assertIsNone(daemon.drain())
        self.processes.processes[1].end()
        self.processes.advance(0)
        self.assertEqual([task["is_draining"] for task in self.tasks], [False, False, True])
        self.assertEqual(self.successResultOf(daemon.resume()), ())
        resumed = [f"resume [('echo', 3), ('ipsla', {number})]" for number in (1, 0)]
        self.assertEqual(self.asked, ["drain", "drain", *resumed])
        self.assertEqual(daemon.resume(), ("cannot resume while serving",))

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
