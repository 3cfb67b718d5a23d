"""Tests for L{socketd.workers.crew}."""

from __future__ import annotations

import errno
import os
import signal
from itertools import count
import sys
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import PROTOCOL_FAILED, Event, EventBus
from socketd.workers import crew
from socketd.workers.crew import (
    FIRST_PAUSE,
    GOOD_LIFE,
    GRACE,
    ID_GAP,
    LAST_PAUSE,
    MISSED,
    MISSED_AT_START,
    PING_INTERVAL,
    STARVED,
    Crew,
    Task,
    Worker,
)
from socketd.workers.link import LinkFailed
from tests.workers.fakes import ProcessReactor


class CrewTests(SynchronousTestCase):
    """Tests for L{Crew} and its L{Worker}s."""

    def setUp(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.observed: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {"serve": {}, "ping": {"last_id": 0}}
        self.stops: list[Deferred[None]] = []
        self.served = 0
        self.commits: list[int] = []
        self.refusals: list[str] = []
        self.handlers: dict[str, Any] = {
            "serve": self._serve,
            "ping": lambda: self.answers["ping"],
            "observe": lambda **values: self.observed.append(values),
            "stop": self._stop,
            "figures": lambda number: {"number": number},
            "prepare": self._prepare,
            "commit": lambda: self.commits.append(1),
            "drain": self._drain,
        }
        self.reactor = ProcessReactor(self.handlers)
        self.bus = EventBus(self.reactor)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.bus.watch(self._note, active=False)
        self.crew = Crew(self.reactor, self.bus, 2, self)

    def _note(self, event: Event, facts: dict[str, Any]) -> None:
        self.events.append((event.name, facts))

    def task(self, index: int) -> Task:
        """Give a worker what it has to serve, as the master does."""
        return {"for": index}, ()

    def serving(self) -> None:
        """Count the workers that began to serve."""
        self.served += 1

    def bury(self, worker: Worker) -> None:
        """Do nothing: what the dead have counted is the master's."""

    def queued(self, worker: Worker, count: Any, oldest: Any) -> None:
        """Do nothing: the queue is the master's."""

    def _serve(self, **values: Any) -> Any:
        self.given.append(values)
        if isinstance(self.answers["serve"], Exception):
            raise self.answers["serve"]
        return self.answers["serve"]

    def _prepare(self, **values: Any) -> None:
        if self.refusals:
            raise LinkFailed("\n".join(self.refusals))

    def _drain(self) -> None:
        raise LinkFailed("cannot")

    def _stop(self) -> Deferred[None]:
        self.stops.append(Deferred())
        return self.stops[-1]

    def start(self) -> None:
        """Start all workers."""
        self.crew.start()

    def names(self) -> list[str]:
        """List the events so far, and forget them."""
        found = [name for name, _ in self.events]
        self.events.clear()
        return found

    def test_start(self) -> None:
        """All are started, each with its part and its own connection ids."""
        self.start()
        self.assertEqual(
            self.given,
            [
                {"for": 0, "last_id": -1, "step": 2},
                {"for": 1, "last_id": 0, "step": 2},
            ],
        )
        self.assertEqual(self.names(), ["worker_serves"] * 2)
        self.assertEqual((self.served, self.crew.is_alive), (2, True))

    def test_ping(self) -> None:
        """Each is pinged once a second."""
        self.start()
        self.reactor.pump([PING_INTERVAL] * 20)
        self.assertFalse(any(process.killed for process in self.reactor.processes))

    def test_death(self) -> None:
        """One that dies is followed by another one, whose ids are above all that it gave."""
        self.start()
        self.answers["ping"] = {"last_id": 41}
        self.reactor.advance(PING_INTERVAL)
        self.names()
        self.reactor.processes[0].end(signal.SIGSEGV)
        self.assertFalse(self.crew.is_alive)
        facts = {"worker": 0, "pid": 1000, "reason": "killed by SIGSEGV", "seconds": 0.0}
        self.assertEqual(self.events, [("worker_died", facts)])
        self.reactor.advance(0)
        self.assertEqual(self.given[-1]["for"], 0)
        self.assertEqual(self.given[-1]["last_id"], 41 + 2 * ID_GAP)
        self.assertEqual((self.crew.deaths, self.crew.is_alive, self.served), (1, True, 3))

    def test_pauses(self) -> None:
        """The longer they die, the longer are the pauses; one good life ends that."""
        self.start()
        pauses = []
        for _ in range(10):
            self.reactor.processes[-1].end()
            pauses.append(self.events[-1][1]["seconds"])
            self.reactor.advance(pauses[-1])
        self.assertEqual(pauses[:4], [0.0, FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
        self.assertEqual(pauses[-1], LAST_PAUSE)
        self.assertEqual(self.events[-2][1]["reason"], "exited with status 0")
        self.reactor.pump([PING_INTERVAL] * round(GOOD_LIFE + 1))
        self.reactor.processes[-1].end()
        self.assertEqual(self.events[-1][1]["seconds"], 0.0)

    def test_hung(self) -> None:
        """One that does not answer is killed, once its time is over."""
        self.start()
        self.answers["ping"] = Deferred()
        self.reactor.pump([PING_INTERVAL] * MISSED)
        self.assertFalse(self.reactor.processes[0].killed)
        self.names()
        self.reactor.advance(PING_INTERVAL)
        self.assertTrue(all(process.killed for process in self.reactor.processes))
        self.reactor.pump([PING_INTERVAL] * MISSED)
        self.assertEqual(self.names(), ["worker_hung"] * 2)

    def test_starved(self) -> None:
        """One that has no core to answer on has more time, and an end, too."""
        self.start()
        self.answers["ping"] = Deferred()
        starved, other = self.reactor.processes
        waits = count(0.0, 0.9)
        self.patch(crew, "waited", lambda pid: next(waits) if pid == starved.pid else 0.0)
        self.reactor.pump([PING_INTERVAL] * round(MISSED / STARVED))
        self.assertEqual((starved.killed, other.killed), (False, True))
        self.reactor.advance(PING_INTERVAL)
        self.assertTrue(starved.killed)

    def test_late(self) -> None:
        """A master that was asleep kills no worker that answers then."""
        self.start()
        late: list[Deferred[Any]] = [Deferred(), Deferred()]
        left = iter(late)
        with mock.patch.dict(self.handlers, {"ping": lambda: next(left)}):
            self.reactor.advance(PING_INTERVAL)
        self.reactor.advance(3600.0)
        for answer in late:
            answer.callback(self.answers["ping"])
        self.reactor.pump([PING_INTERVAL] * MISSED)
        self.assertFalse(self.reactor.processes[0].killed)

    def test_hung_at_the_start(self) -> None:
        """To start may take longer, but has an end, too."""
        self.answers["serve"] = Deferred()
        self.start()
        self.reactor.pump([PING_INTERVAL] * (MISSED_AT_START - 1))
        self.assertFalse(self.reactor.processes[0].killed)
        self.reactor.advance(PING_INTERVAL)
        self.assertTrue(self.reactor.processes[0].killed)
        self.assertEqual((self.served, self.crew.is_alive), (0, False))

    def test_cannot_serve(self) -> None:
        """One that cannot serve is killed; the log has its reason."""
        self.answers["serve"] = LinkFailed("no such file")
        self.start()
        self.assertTrue(self.reactor.processes[1].killed)
        self.reactor.processes[1].end(signal.SIGKILL)
        self.assertEqual(self.events[-1][1]["reason"], "no such file")
        self.answers["serve"] = {}
        self.reactor.processes[0].end(signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual((self.served, self.crew.is_alive), (2, True))

    def test_cannot_start(self) -> None:
        """A process that the system refuses is tried again."""
        self.reactor.failure = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.start()
        self.assertEqual(self.events[-1][1]["reason"], os.strerror(errno.EAGAIN))
        self.reactor.failure = None
        self.reactor.advance(0)
        self.assertTrue(self.crew.is_alive)

    def test_other_user(self) -> None:
        """One that another user is to run, who cannot read the program, says so."""
        with mock.patch("os.access", return_value=False):
            self.start()
        reason = f"user {os.geteuid()} cannot read {sys.executable}; install socketd where "
        self.assertEqual(len(self.events), 2)
        for _, facts in self.events:
            self.assertEqual(facts["reason"][: len(reason)], reason)

    def test_stop(self) -> None:
        """All are asked to stop; that is done when all processes are gone."""
        self.start()
        self.reactor.processes[1].end()
        stopped = self.crew.stop(10.0)
        self.assertEqual(len(self.stops), 1)
        self.stops[0].callback(None)
        self.assertNoResult(stopped)
        self.reactor.processes[0].end()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.crew.deaths, 1)

    def test_stop_at_the_start(self) -> None:
        """One that does not serve yet has nothing to finish."""
        self.answers["serve"] = Deferred()
        self.start()
        self.crew.stop(10.0)
        self.assertTrue(all(process.killed for process in self.reactor.processes))
        self.assertEqual(self.stops, [])

    def test_stop_takes_too_long(self) -> None:
        """One that does not stop in time is killed."""
        self.start()
        stopped = self.crew.stop(10.0)
        self.reactor.advance(10.0 + GRACE)
        for process in self.reactor.processes:
            self.assertTrue(process.killed)
            process.end(signal.SIGKILL)
        self.successResultOf(stopped)

    def test_asked(self) -> None:
        """A question goes to all; one that is dead or fails has no answer."""
        self.start()
        answers = self.crew.ask("figures", number=3)
        self.assertEqual(self.successResultOf(answers), [{"number": 3}] * 2)
        self.reactor.processes[0].end()
        answers = self.crew.ask("figures", number=4)
        self.assertEqual(self.successResultOf(answers), [None, {"number": 4}])

    def test_observe(self) -> None:
        """Each is told whether anyone watches: when it serves, and when that changes."""
        self.start()
        self.observed.clear()
        self.bus.watch(self._note)
        self.assertEqual(self.observed, [{"heard": True, "watched": True}] * 2)
        self.bus.unwatch(self._note)
        self.observed.clear()
        self.reactor.processes[0].end()
        self.reactor.advance(0)
        self.assertIn({"heard": True, "watched": False}, self.observed)

    def test_events(self) -> None:
        """What a worker tells is an event of this daemon."""
        self.start()
        self.names()
        link = self.reactor.processes[0].link
        facts = {"service": "echo", "peer": "x", "error": "a\nb", "log_failure": "Trace\nback"}
        link.tell("event", name="protocol_failed", logged=False, facts=facts)
        ((name, found),) = self.events
        self.assertEqual((name, found["error"]), (PROTOCOL_FAILED.name, r"a\nb"))
        self.assertEqual(found["log_failure"].getTraceback(), "Trace\nback")

    def test_untrue(self) -> None:
        """One that tells what no worker has to tell is killed."""
        event = {"name": "protocol_failed", "logged": True, "facts": {"service": "echo"}}
        for about, values in (
            ("event", event | {"name": "listening"}),
            ("event", event | {"name": "nonsense"}),
            ("event", event | {"name": 7}),
            ("event", event | {"facts": []}),
            ("event", event),
            ("event", event | {"facts": {"service": "a", "peer": {}, "error": "b"}}),
            ("log", {"level": "nonsense", "text": "", "traceback": ""}),
            ("log", {"level": [], "text": "", "traceback": ""}),
        ):
            self.setUp()
            self.start()
            process = self.reactor.processes[1]
            self.names()
            process.link.tell(about, **values)
            self.assertTrue(process.killed, values)
            self.assertFalse(self.reactor.processes[0].killed)
            process.end(signal.SIGKILL)
            ((name, facts),) = self.events
            self.assertEqual(name, "worker_died")
            self.assertIn("it told", facts["reason"])

    def test_untrue_answers(self) -> None:
        """So is one whose answer to a ping is none; the others are served on."""
        for answer in ({}, {"last_id": "9"}, {"last_id": -2}):
            self.setUp()
            self.start()
            self.answers["ping"] = answer
            self.reactor.advance(PING_INTERVAL)
            self.assertTrue(all(process.killed for process in self.reactor.processes))

    def test_log(self) -> None:
        """What a library logs there is logged here."""
        self.start()
        link = self.reactor.processes[0].link
        lines: list[Any] = []
        self.patch(self.crew, "_log", mock.Mock(emit=lambda *_, **found: lines.append(found)))
        link.tell("log", level="warn", text="{odd}", traceback="")
        link.tell("log", level="critical", text="failed", traceback="ValueError: no")
        self.assertEqual([line["text"] for line in lines], ["{odd}", "failed"])
        self.assertIn("ValueError: no", lines[1]["log_failure"].getTraceback())

    def prepared(self) -> Any:
        """Have all prepare a reload, and return why they cannot."""
        return self.successResultOf(self.crew.prepare(lambda index: ({"number": index}, ())))

    def test_prepare(self) -> None:
        """What some cannot prepare is told once; one that does not serve has no say."""
        self.start()
        self.assertEqual(self.prepared(), [])
        self.refusals = ["no key", "no file"]
        self.assertEqual(self.prepared(), self.refusals)
        for worker in self.crew.workers:
            worker.is_serving = False
        self.assertEqual(self.prepared(), [])
        for process in self.reactor.processes:
            process.end(signal.SIGKILL)
        self.assertEqual(self.prepared(), [])

    def test_have(self) -> None:
        """One that fails at what does not fail is killed; one that is gone is left out."""
        self.start()
        self.successResultOf(self.crew.have("commit"))
        self.assertEqual(self.commits, [1, 1])
        self.reactor.processes[0].end(signal.SIGKILL)
        self.successResultOf(self.crew.have("commit"))
        self.assertEqual(self.commits, [1, 1, 1])
        self.successResultOf(self.crew.have("drain"))
        self.assertTrue(self.reactor.processes[1].killed)

    def test_held(self) -> None:
        """One that dies meanwhile is started after the reload, or not at all after a stop."""
        self.start()
        for _ in range(2):
            self.crew.hold()
            self.reactor.processes[-1].end(signal.SIGKILL)
            self.reactor.advance(LAST_PAUSE)
            count = len(self.reactor.processes)
            self.crew.release()
            self.assertEqual(len(self.reactor.processes), count + 1)
        self.crew.hold()
        self.reactor.processes[-1].end(signal.SIGKILL)
        self.reactor.advance(LAST_PAUSE)
        self.crew.stop(1.0)
        self.crew.release()
        self.assertEqual(len(self.reactor.processes), count + 1)
