"""A worker: a process that serves the sockets of its master."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from socketd.common.answers import Answer
from socketd.common.errors import CommandError
from socketd.common.lag import LagMeter
from socketd.configuration import Configuration
from socketd.control.commands import respond
from socketd.control.fault_commands import find_service
from socketd.control.requests import IOperatorSession
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import Switches, switch_open, take_switches
from socketd.daemon.reload import Reload
from socketd.daemon.summaries import Summaries
from socketd.daemon.wiring import make_daemon
from socketd.net.listen import Bound
from socketd.net.reactor.batch import BatchReactor
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.net.sockets.rlimit import raise_limit
from socketd.settings.diagnostics import SettingsError
from socketd.settings.listeners import Listener
from socketd.workers.certificates import Certificates, take_certificates, unpack_certificates
from socketd.workers.crew import LINK
from socketd.workers.figures import tell
from socketd.workers.link import Link, LinkFailed
from socketd.workers.relay import RelayBus, RelayLog, RelayQueue
from socketd.workers.task import take_standing, unpack

#: C{PR_SET_PDEATHSIG} of prctl(2).
_PARENT_DEATH = 1


#: The listeners of the sockets that come along, in their order, by service.
Handed = list[tuple[str, list[Listener]]]


@implementer(IOperatorSession)
class MastersOperator:
    """An operator at the master: what a session shows, the master shows."""

    def __init__(self, who: str) -> None:
        self.who = who

    def watch(self, service: str | None = None) -> None:
        raise CommandError("is for the master")

    attend = leave = watch


class WorkerProcess:
    """
    What a worker does for its master.

    @ivar link: the link to it.
    @ivar daemon: what serves, after L{serve}.
    @ivar queue: what tells of the connections that wait for an operator.
    """

    daemon: Daemon
    bus: RelayBus
    queue: RelayQueue

    def __init__(self, reactor: Any) -> None:
        asked = (
            self.serve, self.ping, self.request, self.switch, self.attend, self.observe,
            self.observe_connection, self.word, self.snapshot, self.prepare, self.commit,
            self.roll_back, self.certify, self.drain, self.resume, self.stop, self.abort,
        )  # fmt: skip
        self.link = Link({one.__name__: one for one in asked}, self._left_alone)
        self._reactor = reactor
        self._handed: dict[str, list[Bound]] = {}
        self._reload: Reload | None = None
        self._status = 1
        self._observed: dict[int, tuple[ServiceState | None, int]] = {}

    def _left_alone(self) -> None:
        """End at once: without the master, nothing here is of use."""
        os._exit(self._status)

    def serve(
        self,
        last_id: int,
        step: int,
        settings: bytes,
        certificates: Certificates,
        handed: Handed,
        limit: int | None,
        is_draining: bool,
        standing: dict[str, Any],
        attended: bool,
        socks: Sequence[socket.socket] = (),
    ) -> None:
        """
        Begin to serve.

        @param last_id: the id before that of the first connection; C{step} is between two.
        @param handed: the listeners of C{socks}, by service.
        @param standing: what operators have changed before.
        @param attended: whether operators attend.
        """
        found, reactor = unpack(settings), BatchReactor(self._reactor)
        self.bus = RelayBus(reactor, link=self.link)
        self._take(handed, socks)
        self.daemon = make_daemon(
            reactor,
            Configuration(found, unpack_certificates(found, certificates)),
            time.time,
            limit,
            event_bus=self.bus,
            connection_table=ConnectionTable(last_id, step),
            handed=self._handed,
        )
        self.daemon.privilegedStartService()
        self.daemon.startService()
        if is_draining:
            self.daemon.drain()
        self.queue = RelayQueue(self.daemon, self.link)
        self.link.drained = self._tell_rest
        take_standing(self.daemon, **standing)
        self.attend(attended)
        self._summaries = Summaries(self.daemon)
        self._summaries.startService()
        self._meter = LagMeter(reactor)
        self._meter.startService()

    def ping(self) -> dict[str, int]:
        """Show that the reactor turns."""
        return {"last_id": self.daemon.connection_table.last_id}

    def request(self, line: str, who: str) -> Deferred[dict[str, Answer]]:
        """Execute a request of an operator at the master, and return its answer."""
        answered = respond(self.daemon, line, MastersOperator(who))
        return answered.addCallback(lambda answer: {"answer": answer})

    def switch(self, faults: Switches, open_of: str = "") -> dict[str, int]:
        """
        Switch fault profiles as the master did.

        @param open_of: the service whose open connections are switched, too.
        """
        take_switches(self.daemon.services, self.daemon.settings.faults, faults)
        return {"count": switch_open(find_service(self.daemon, open_of)) if open_of else 0}

    def attend(self, attended: bool) -> None:
        """Note whether operators attend at the master."""
        if attended != self.daemon.operator.attended:
            operator = self.daemon.operator
            operator.attach(self._wait) if attended else operator.detach(self._wait)

    def _wait(self) -> None:
        """Do nothing: the master has the operators."""

    def observe(self, heard: bool, watched: bool) -> None:
        """See L{RelayBus.observe}."""
        self.bus.observe(heard, watched)

    def observe_connection(self, number: int, count: int) -> None:
        """Have the messages of a connection's service be events for more, or fewer, viewers."""
        state, viewers = self._observed.pop(number, (None, 0))
        connection = self.daemon.find(number)
        if state is None and connection is not None:
            state = connection.service_state
        if state is not None:
            state.observe(count)
            if viewers + count > 0:
                self._observed[number] = state, viewers + count

    def word(self, number: int, asked: float, reply: bytes) -> None:
        """Answer a connection that has waited since then."""
        question = self.daemon.operator.find(number)
        if question is not None and question.asked == asked:
            self.daemon.operator.answer(question, reply)

    def _tell_rest(self) -> None:
        self.bus.tell_lost()
        self.queue.changed()

    def snapshot(self) -> dict[str, Any]:
        """Return the figures of the daemon."""
        return tell(self.daemon.snapshot(), self._meter.lag)

    # Reload, drain and stop

    def _take(self, handed: Handed, socks: Sequence[socket.socket]) -> None:
        """Keep sockets for the services that are to bind them."""
        given = iter(socks)
        for name, listeners in handed:
            self._handed[name] = [Bound(one, next(given), is_copy=True) for one in listeners]

    def prepare(
        self,
        settings: bytes,
        certificates: Certificates,
        handed: Handed,
        socks: Sequence[socket.socket] = (),
    ) -> None:
        """
        Prepare a reload; nothing that is served changes.

        @param handed: the listeners of C{socks}, by service, of all that are added or changed.
        @raise LinkFailed: if this process cannot serve it.
        """
        self._take(handed, socks)
        found = unpack(settings)
        try:
            contexts = unpack_certificates(found, certificates)
            self._reload = self.daemon.prepare(Configuration(found, contexts))
        except SettingsError as problem:
            raise LinkFailed(str(problem)) from None
        finally:
            for bounds in self._handed.values():
                for bound in bounds:
                    bound.close()
            self._handed.clear()

    def commit(self) -> None:
        """Apply what was prepared."""
        reload, self._reload = self._reload, None
        if reload is not None:
            self.daemon.commit(reload)

    def roll_back(self) -> None:
        """Forget what was prepared."""
        reload, self._reload = self._reload, None
        if reload is not None:
            reload.roll_back()

    def certify(self, certificates: Certificates) -> None:
        """Use other certificates for new connections, those too that a reload has prepared."""
        prepared = self._reload.incoming if self._reload is not None else []
        for service in (*self.daemon.services, *prepared):
            if service.context is not None and service.name in certificates:
                take_certificates(service.context, certificates[service.name])

    def drain(self) -> None:
        """Stop accepting."""
        self.daemon.drain()

    def resume(self, handed: Handed, socks: Sequence[socket.socket] = ()) -> None:
        """Accept connections again."""
        self._take(handed, socks)
        self.daemon.resume()

    def stop(self) -> Deferred[None]:
        """Drain, and end the process when the master has the rest of the log."""
        self._summaries.stopService()
        return maybeDeferred(self.daemon.stopService).addCallback(self._end)

    def _end(self, result: Any) -> None:
        self._status = 0
        # After the answer.
        self._reactor.callLater(0, self.link.transport.loseConnection)

    def abort(self) -> None:
        """Reset the remaining connections."""
        self.daemon.abort()


def main() -> None:
    """Serve what comes by the link."""
    from twisted.internet import reactor as running

    reactor: Any = running
    reactor.seconds = time.monotonic
    # A worker that hangs would not see that the link is closed.
    ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    faulthandler.enable()
    raise_limit()
    os.set_inheritable(LINK, False)
    os.set_blocking(LINK, False)
    process = WorkerProcess(reactor)
    globalLogBeginner.beginLoggingTo([RelayLog(process.link)], redirectStandardIO=False)
    factory = Factory.forProtocol(lambda: process.link)
    reactor.adoptStreamConnection(LINK, socket.AF_UNIX, factory)
    os.close(LINK)
    # As in the master.
    gc.freeze()
    gc.enable()
    reactor.run(installSignalHandlers=False)
