"""
The workers of a master: started, pinged, killed when they hang, and started again when they die.

The master keeps their sockets: what waits in the queues of a dead worker is served by the next.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError, fail, gatherResults, succeed
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from socketd.common.cores import waited
from socketd.common.events import WORKER_DIED, WORKER_HUNG, WORKER_SERVES, EventBus
from socketd.common.text import printable
from socketd.common.timer import Timer
from socketd.workers import checks
from socketd.workers.link import Handlers, Link, LinkFailed, LinkLost, Malformed
from socketd.workers.relay import Told

#: Interval of pings (seconds), and how many of them may pass without an answer: counted, since a
#: machine that was asleep or a master that was late says nothing of a worker.
PING_INTERVAL, MISSED = 1.0, 5

#: What one counts that passed while the worker had no core for most of the time, as its successor
#: would have none: it has 20 seconds, less than the watchdog of the unit.
STARVED = MISSED / 20

#: How many may pass from the start of a worker until it serves.
MISSED_AT_START = 60

#: How long after the deadline of a stop a worker is killed (seconds).
GRACE = 5.0

#: Seconds until a worker that died is started again: at once, then this, doubled each time up to a
#: limit; forgotten when one has lived as long as the last one says.
FIRST_PAUSE, LAST_PAUSE, GOOD_LIFE = 0.1, 10.0, 60.0

#: The ids of connections go on so many above the last that is known of a dead worker: more than it
#: can have given since its last ping.
ID_GAP = 1_000_000

#: The program of a worker; no collection finds garbage among what is imported.
PROGRAM = "import gc; gc.disable(); from socketd.worker import main; main()"

#: The descriptor of the link in a worker.
LINK = 3

#: Signals that workers never see: a terminal and systemd send them to each process, and what they
#: mean the master says by the link.
BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: What a worker is given to serve: the values and the sockets of the question C{serve}.
Task = tuple[dict[str, Any], Sequence[socket.socket]]


class Worker(ProcessProtocol):
    """
    The place of one worker, and the process that has it at the moment.

    @ivar index: its number, from 0.
    @ivar link: the link to the process; C{None} if there is none.
    @ivar pid: the last process.
    @ivar is_serving: whether the process has said that it serves.
    """

    transport: Any

    def __init__(self, crew: Crew, index: int) -> None:
        self.index = index
        self.link: Link | None = None
        self.is_serving = False
        self._crew = crew
        self._last_id = index + 1 - crew.size
        self.pid = 0
        self._why = ""
        self._asked: float | None = None
        self._missed = self._waited = 0.0
        self._began = self._pause = 0.0
        self._restart = Timer(crew.reactor)
        self._ended: Deferred[None] | None = None

    def start(self) -> None:
        """Start a process, and have it serve."""
        crew, self._why, self._missed = self._crew, "", 0
        if crew.held is not None:
            crew.held.append(self)
            return
        self._began = self._asked = crew.reactor.seconds()
        try:
            link = self.link = self._spawn()
        except OSError as problem:
            self._gone(problem.strerror or str(problem))
            return
        values, socks = crew.master.task(self.index)
        answered = link.ask("serve", socks, last_id=self._last_id, step=crew.size, **values)
        answered.addCallback(self._serves).addErrback(self._failed)

    def _spawn(self) -> Link:
        check_readable()
        reactor = self._crew.reactor
        heard: Handlers = {
            "event": self._crew.emit,
            "log": self._crew.log,
            "queue": partial(self._crew.master.queued, self),
        }
        link = Link(heard, lambda: None, self.refuse)
        factory = Factory.forProtocol(lambda: link)
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.devnull) as nothing:
            # The number is for those who list processes.
            command = sys.executable, "-P", "-c", PROGRAM, f"worker {self.index}"
            environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            # Only what it prints in its last need; its log goes by the link.
            kept = {0: nothing.fileno(), 1: 2, 2: 2, LINK: theirs.fileno()}
            # Inherited from the first moment on; a handler would be set too late.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
            try:
                process = reactor.spawnProcess(self, command[0], command, environ, childFDs=kept)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self.pid = process.pid
            ours.setblocking(False)
            reactor.adoptStreamConnection(ours.fileno(), ours.family, factory)
        return link

    def _serves(self, values: Any) -> None:
        self.is_serving, self._asked, self._missed = True, None, 0
        self._crew.observe()
        self._crew.master.serving()
        self._crew.event_bus.emit(WORKER_SERVES, worker=self.index, pid=self.pid)

    def _failed(self, failure: Failure) -> None:
        """Kill a process that cannot serve; the end of one that is gone is noted by itself."""
        failure.trap(LinkFailed)
        if not failure.check(LinkLost):
            self._why = failure.getErrorMessage()
            self.kill()

    def check(self, now: float) -> None:
        """Ping it, or kill it if it has not answered in time."""
        if self.link is None:
            return
        before, self._waited = self._waited, waited(self.pid)
        if self._asked is None:
            self._asked = now
            self.link.ask("ping").addCallback(self._answered).addErrback(self._failed)
            return
        was_starved = self._waited - before > PING_INTERVAL / 2
        missed = self._missed
        self._missed += STARVED if was_starved else 1
        # Once: what does not end then hangs in the kernel.
        if missed < (MISSED if self.is_serving else MISSED_AT_START) <= self._missed:
            facts: dict[str, Any] = {"worker": self.index, "pid": self.pid}
            self._crew.event_bus.emit(WORKER_HUNG, seconds=round(now - self._asked, 1), **facts)
            self.kill()

    def _answered(self, values: dict[str, Any]) -> None:
        size = self._crew.size
        last_id = checks.count(values.get("last_id"), 1 - size)
        self._asked, self._missed = None, 0
        # Rounded up to the ids of this one, whatever it says.
        self._last_id = max(self._last_id, last_id + (self._last_id - last_id) % size)

    def refuse(self, why: str) -> None:
        """Kill a process that sent what is malformed."""
        self._why = why
        self.kill()

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self.link is not None:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                pass

    def tell(self, about: str, **values: Any) -> None:
        """Send it a message."""
        if self.link is not None:
            self.link.tell(about, **values)

    def ask(
        self, about: str, socks: Sequence[socket.socket] = (), **values: Any
    ) -> Deferred[dict[str, Any]]:
        """Ask it, as L{Link.ask} does."""
        return fail(LinkLost()) if self.link is None else self.link.ask(about, socks, **values)

    def prepare(
        self, values: dict[str, Any], socks: Sequence[socket.socket]
    ) -> Deferred[list[str]]:
        """Have it prepare a reload; fires with why it cannot, one line each."""
        return self.ask("prepare", socks, **values).addCallbacks(lambda _: [], self._refuses)

    def _refuses(self, failure: Failure) -> list[str]:
        failure.trap(LinkFailed)
        # One that is gone, or does not serve what there is now, is followed by one that will.
        is_heard = self.is_serving and not failure.check(LinkLost)
        return failure.getErrorMessage().splitlines() if is_heard else []

    def have(
        self, about: str, values: dict[str, Any], socks: Sequence[socket.socket]
    ) -> Deferred[Any]:
        """Have it do what does not fail: if it does, it is killed, and its successor is right."""
        return self.ask(about, socks, **values).addErrback(self._failed)

    def stop(self) -> Deferred[None]:
        """Have it drain and end; fires when the process is gone."""
        self._restart.stop()
        if self.link is None:
            return succeed(None)
        self._ended = Deferred()
        if self.is_serving:
            self.link.ask("stop").addErrback(self._failed)
        else:
            self.kill()
        return self._ended

    def processEnded(self, reason: Failure) -> None:
        """Note the end of the process, and start another one."""
        link, self.link = self.link, None
        if link is not None:
            link.transport.abortConnection()
        self._last_id += ID_GAP * self._crew.size
        if self._ended is not None:
            self._ended.callback(None)
        else:
            self._gone(self._why or _reason(reason))

    def _gone(self, why: str) -> None:
        now = self._crew.reactor.seconds()
        pause = 0.0 if now - self._began > GOOD_LIFE else self._pause
        self.is_serving = False
        self._crew.deaths += 1
        self._crew.master.bury(self)
        facts: dict[str, Any] = {"worker": self.index, "pid": self.pid, "reason": why}
        self._crew.event_bus.emit(WORKER_DIED, seconds=pause, **facts)
        self._restart.start(pause, self.start)
        self._pause = min(LAST_PAUSE, max(FIRST_PAUSE, 2 * pause))


def check_readable() -> None:
    """
    See that this user can start a worker, which C{twistd --uid} may have changed since the start.

    @raise PermissionError: if not.
    """
    for path in (sys.executable, __file__):
        if not os.access(path, os.R_OK, effective_ids=True):
            why = f"user {os.geteuid()} cannot read {path}; install socketd where that user can"
            raise PermissionError(errno.EACCES, why)


@define(eq=False)
class Crew:
    """
    All workers of a master.

    @ivar reactor: Twisted's own; it starts processes, and its transports carry sockets.
    @ivar size: how many workers there are.
    @ivar master: the L{socketd.workers.master.MasterDaemon}, which knows what a worker has to
        serve, and is told what has become of one.
    @ivar deaths: how many processes have died.
    @ivar held: the workers that are to start when L{release} is called; C{None}: at once.
    """

    reactor: Any
    event_bus: EventBus
    size: int
    master: Any
    workers: list[Worker] = field(init=False)
    deaths: int = field(default=0, init=False)
    held: list[Worker] | None = field(default=None, init=False)
    _checks: LoopingCall = field(init=False)
    _log: Logger = field(factory=lambda: Logger(namespace="twisted.worker"), init=False)

    def __attrs_post_init__(self) -> None:
        self.workers = [Worker(self, index) for index in range(self.size)]
        self._checks = LoopingCall(self._check)
        self._checks.clock = self.reactor

    @property
    def is_alive(self) -> bool:
        """Whether each worker serves."""
        return all(worker.is_serving for worker in self.workers)

    def owner(self, connection_id: int) -> Worker:
        """Return the worker that gives the id of a connection."""
        return self.workers[(connection_id - 1) % self.size]

    def start(self) -> None:
        """Start all workers."""
        for worker in self.workers:
            worker.start()
        self.event_bus.on_watched(self.observe)
        self._checks.start(PING_INTERVAL, now=False)

    def stop(self, timeout: float) -> Deferred[Any]:
        """
        Have all drain and end; fires when all processes are gone.

        @param timeout: the seconds after which those that are left are killed.
        """
        self.held = None
        deadline = self.reactor.callLater(timeout + GRACE, self._kill)
        stopped = gatherResults([worker.stop() for worker in self.workers])
        return stopped.addBoth(self._end, deadline)

    def _end(self, result: Any, deadline: Any) -> None:
        if self._checks.running:
            self._checks.stop()
        if deadline.active():
            deadline.cancel()

    def _kill(self) -> None:
        for worker in self.workers:
            worker.kill()

    def _check(self) -> None:
        for worker in self.workers:
            worker.check(self.reactor.seconds())

    # All at once

    def hold(self) -> None:
        """Start no worker until L{release}: what they are to serve is about to change."""
        self.held = []

    def release(self) -> None:
        """Start the workers that were held."""
        held, self.held = self.held, None
        for worker in held or ():
            worker.start()

    def prepare(self, task: Callable[[int], Task]) -> Deferred[list[str]]:
        """Have all prepare a reload; fires with why some cannot, one line each."""
        asked = [worker.prepare(*task(worker.index)) for worker in self.workers]
        return gatherResults(asked).addCallback(lambda found: list(dict.fromkeys(chain(*found))))

    def have(
        self, about: str, task: Callable[[int], Task] = lambda index: ({}, ())
    ) -> Deferred[Any]:
        """Have all do what does not fail; fires when they have."""
        asked = (worker.have(about, *task(worker.index)) for worker in self.workers)
        return gatherResults(list(asked))

    def tell(self, about: str, **values: Any) -> None:
        """Send a message to each worker."""
        for worker in self.workers:
            worker.tell(about, **values)

    def observe(self) -> None:
        """Tell all workers whether there are watchers."""
        self.tell("observe", heard=self.event_bus.heard, watched=self.event_bus.watched)

    def ask(
        self, about: str, within: float | None = None, **values: Any
    ) -> Deferred[list[dict[str, Any] | None]]:
        """
        Ask each worker.

        @param within: the seconds that an answer may take.
        @return: fires with the answers by worker, C{None} where there is none.
        """
        return gatherResults([self.ask_one(one, about, within, **values) for one in self.workers])

    def ask_one(
        self, worker: Worker, about: str, within: float | None = None, **values: Any
    ) -> Deferred[dict[str, Any] | None]:
        """Ask one worker, as L{ask} does all."""
        asked: Deferred[Any] = worker.ask(about, **values)
        if within is not None:
            asked.addTimeout(within, self.reactor)
        return asked.addErrback(lambda failure: failure.trap(LinkFailed, TimeoutError) and None)

    # What the workers tell

    def emit(self, name: str, logged: bool, facts: dict[str, Any]) -> None:
        """Emit an event of a worker as one of this daemon."""
        event, taken = checks.event(name, facts)
        self.event_bus.emit(event, bool(logged), **taken)

    def log(self, level: str, text: str, traceback: str) -> None:
        """Log what a library in a worker has logged."""
        found = {one.name: one for one in LogLevel.iterconstants()}.get(checks.text(level))
        if found is None:
            raise Malformed("it told what is no line of a log")
        more = {"log_failure": Told(printable(str(traceback)))} if traceback else {}
        self._log.emit(found, "{text}", text=printable(str(text)), **more)


def _reason(failure: Failure) -> str:
    problem: Any = failure.value
    if isinstance(problem, ProcessTerminated) and problem.signal:
        return f"killed by {signal.Signals(problem.signal).name}"
    return f"exited with status {problem.exitCode or 0}"
