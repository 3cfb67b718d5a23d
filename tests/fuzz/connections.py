"""
What both state machines of connections share: a protocol that does what it is told, producers that
keep to their contract, the machine itself, and the balance at the end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.access.policy import AccessPolicy, Deadlines, Slot
from socketd.access.rates import Sources
from socketd.common.events import Event, EventBus
from socketd.faults.draws import ConnectionDraw
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.settings.networks import Prefixes
from tests.fuzz.stream_faults import HARMS, draw_of, held_by, places, profiles, waits_for_time
from tests.support.fakes import HandReactor

#: Sent bytes repeat at a prime, so that a lost or moved piece of any usual size shows.
PERIOD = 251
PATTERN = bytes(range(PERIOD)) * 4096

#: The source that all connections of a machine have.
SOURCE = socket.inet_aton("192.0.2.7")

#: How far time goes with a turn where something waits for it (seconds).
STEP = 0.02

#: As many as the kernel lets one connection have: no limit is to be met here.
MANY = 1000


class Deliberate(Exception):
    """What a protocol raises when it is told to."""


class World:
    """
    A reactor, and a service whose events are counted.

    @ivar counts: how often each event was emitted.
    @ivar problems: what a protocol raised without being told to: a broken contract.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.reactor = HandReactor()
        self.sources = Sources(MANY, None, MANY, Prefixes(), self.reactor.seconds)
        policy = AccessPolicy(sources=self.sources, deadlines=deadlines)
        event_bus = EventBus(self.reactor, LogLevel.critical)
        self.service_state = ServiceState("fuzz", event_bus, ConnectionTable(), policy=policy)
        self.counts: dict[str, int] = {}
        self.problems: list[BaseException] = []
        event_bus.watch(self._count)

    def _count(self, event: Event, facts: dict[str, Any]) -> None:
        event.format.format(**facts)
        self.counts[event.name] = self.counts.get(event.name, 0) + 1
        failure = facts.get("log_failure")
        if failure is not None and not failure.check(Deliberate):
            self.problems.append(failure.value)

    def check_problems(self) -> None:
        """Raise what a protocol has raised: a connection only logs it."""
        if self.problems:
            raise self.problems[0]

    def slot(self) -> Slot:
        """Admit one connection."""
        key = self.sources.key(SOURCE)
        assert self.sources.enter(key) is None
        return Slot(self.sources, key)

    def check_balance(self) -> None:
        """See that nothing is left of the connections."""
        assert not self.reactor.readers, self.reactor.readers
        assert not self.reactor.writers, self.reactor.writers
        assert not self.reactor.getDelayedCalls(), self.reactor.getDelayedCalls()
        assert len(self.service_state.connection_table) == 0
        assert len(self.sources) == 0
        assert self.service_state.policy.capacity.occupancy == 0


def pattern(start: int, size: int) -> bytes:
    """Give the bytes that stand from an offset on; both sides send the same."""
    first = start % PERIOD
    return PATTERN[first : first + size]


class Actor(Protocol):
    """
    A protocol that does at each call what it was told to do there.

    @ivar acts: what to do at C{made}, C{data}, C{read}, C{write} and C{lost}.
    @ivar calls: how often each of these was called.
    @ivar received: how many bytes it was handed.
    @ivar raised: how often it raised.
    @ivar was_reset: whether the connection was reset on our side.
    @ivar may_receive: says whether bytes may come now.
    """

    transport: Any

    def __init__(self, acts: dict[str, Callable[[], None]]) -> None:
        self.acts = acts
        self.calls = {"made": 0, "data": 0, "read": 0, "write": 0, "lost": 0}
        self.received = 0
        self.raised = 0
        self.was_reset = False
        self.may_receive: Callable[[], bool] = lambda: True

    def act(self, call: str) -> None:
        """Note a call, and do what was told."""
        self.calls[call] += 1
        try:
            if call in self.acts:
                self.acts[call]()
        except Deliberate:
            self.raised += 1
            raise

    def connectionMade(self) -> None:
        assert self.calls == dict.fromkeys(self.calls, 0), self.calls
        self.act("made")

    def dataReceived(self, data: bytes) -> None:
        assert data
        assert self.calls["lost"] == 0, "bytes behind the end"
        assert self.may_receive(), "bytes while reading is paused"
        assert data == pattern(self.received, len(data))
        self.received += len(data)
        self.act("data")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.calls["made"] == 1
        self.was_reset = reason.check(ConnectionAborted) is not None
        self.act("lost")


@implementer(IHalfCloseableProtocol)
class HalfActor(Actor):
    """One that is told of each half of the end."""

    def readConnectionLost(self) -> None:
        assert self.calls["lost"] == 0
        self.act("read")

    def writeConnectionLost(self) -> None:
        assert self.calls["lost"] == 0
        self.act("write")


class Producer:
    """
    What both kinds of producers have.

    @ivar paused: whether to wait.
    @ivar stopped: whether the connection has ended.
    """

    def __init__(self, connection: StreamConnection, write: Callable[[int], None]) -> None:
        self.connection = connection
        self.write = write
        self.paused = self.stopped = False

    def stopProducing(self) -> None:
        """Note that nothing is wanted any more; this is called once."""
        assert not self.stopped
        self.stopped = True


@implementer(IPushProducer)
class PushProducer(Producer):
    """One that writes by itself, unless it was paused."""

    def push(self, size: int) -> None:
        """Write, unless paused; too much pauses it."""
        if not self.paused and not self.stopped:
            self.write(size)
            live = self.connection.state.is_alive
            full = self.connection._buffered > HIGH_WATER
            assert self.paused or self.stopped or not (live and full)

    def pauseProducing(self) -> None:
        assert not self.paused and not self.stopped
        self.paused = True

    def resumeProducing(self) -> None:
        """Continue; only a paused producer is told, when all is sent."""
        assert self.paused and not self.stopped
        assert self.connection._buffer is None
        self.paused = False


@implementer(IPullProducer)
class PullProducer(Producer):
    """
    One that writes a piece each time it is asked, and at last unregisters.

    @ivar pieces: how many are left.
    """

    def __init__(
        self, connection: StreamConnection, write: Callable[[int], None], size: int, pieces: int
    ) -> None:
        super().__init__(connection, write)
        self.size = size
        self.pieces = pieces
        self.asked = 0

    def resumeProducing(self) -> None:
        """Write the next piece, or unregister; only the first may come while bytes wait."""
        assert not self.stopped
        assert not self.asked or self.connection._buffer is None
        self.asked += 1
        if self.pieces:
            self.pieces -= 1
            self.write(self.size)
        else:
            self.connection.unregisterProducer()


class ConnectionMachine(RuleBasedStateMachine):
    """
    One connection, and what its protocol may do to it.

    @ivar written: how many bytes the protocol wrote.
    @ivar owed: how many of these the peer has to get if nothing goes wrong.
    @ivar taken: how many the peer has read.
    @ivar sent: how many the peer has sent.
    @ivar excused: whether something went wrong for which a connection is reset.
    """

    world: World
    connection: StreamConnection
    peer: socket.socket
    actor: Actor

    def reset_counts(self) -> None:
        """Begin with nothing written and nothing wrong."""
        self.written = self.owed = self.taken = self.sent = self.last_sent = 0
        self.excused, self.quiet = False, 0.0

    @property
    def transport(self) -> Any:
        """What the protocol writes to."""
        return self.actor.transport

    @property
    def live(self) -> bool:
        """Whether the protocol has a connection that is not being reset."""
        made = self.actor.calls["made"] == 1
        return made and self.connection.connected and self.connection.state.is_alive

    def take_draw(self, options: Any, at: str) -> ConnectionDraw | None:
        """Draw of a profile; one that ends a connection is an excuse."""
        self.excused = self.excused or options in HARMS
        return draw_of(options, at)

    @rule(options=profiles, at=places)
    def change_fault(self, options: Any, at: str) -> None:
        """An operator switches another profile on, or none."""
        if self.connection.state.is_alive:
            self.connection.change_fault(self.take_draw(options, at))

    def turn_and_wait(self) -> None:
        """Let the reactor turn, and time pass if something waits for it."""
        self.world.reactor.turn()
        if waits_for_time(self.connection):
            self.world.reactor.advance(STEP)

    def do(self, act: Any) -> None:
        """Do one thing to the connection, now."""
        if self.actor.transport is not None:
            name, *arguments = act
            getattr(self, "do_" + name.replace(" ", "_"))(*arguments)

    def do_at_once(self, act: Any) -> None:
        """Do something outside of the protocol's hooks."""
        if self.live:
            try:
                self.do(act)
            except Deliberate:
                self.connection.abortConnection()

    def do_nothing(self) -> None:
        """Do nothing."""

    def do_write(self, size: int) -> None:
        """Write so many bytes, and note whether they have to arrive."""
        raise NotImplementedError

    def do_lose(self) -> None:
        """Close."""
        self.transport.loseConnection()

    def do_write_and_lose(self, size: int) -> None:
        """Write, and close."""
        self.do_write(size)
        self.do_lose()

    def do_abort(self) -> None:
        """Reset."""
        self.excused = True
        self.transport.abortConnection()

    def do_raise(self) -> None:
        """Fail, which resets the connection."""
        self.excused = True
        raise Deliberate

    def do_pause(self) -> None:
        self.transport.pauseProducing()

    def do_resume(self) -> None:
        self.transport.resumeProducing()

    def note_progress(self) -> None:
        """Begin to count the quiet time again if bytes have left."""
        if self.connection.bytes_sent != self.last_sent:
            self.last_sent, self.quiet = self.connection.bytes_sent, 0.0

    @invariant()
    def keeps_to_the_contract(self) -> None:
        """Nothing waits without a cause, and nothing is told twice."""
        if not hasattr(self, "actor"):
            return
        self.note_progress()
        self.world.check_problems()
        calls = self.actor.calls
        assert max(calls[name] for name in ("made", "read", "write", "lost")) <= 1, calls
        assert self.excused or not self.actor.was_reset, "reset without a cause"
        if self.connection.connected:
            buffer, count = self.connection._buffer, self.connection._buffered
            assert count == sum(map(len, buffer or ())) + held_by(self.connection)
            assert buffer is None or count > held_by(self.connection)
            self.check_connected()
        elif calls["made"]:
            assert calls["lost"] == 1

    def check_connected(self) -> None:
        """See what must hold while there is a connection."""
        raise NotImplementedError

    def teardown(self) -> None:
        """End, and see that nothing is left."""
        if not hasattr(self, "actor"):
            return
        try:
            self.world.check_problems()
            self.end()
        finally:
            # Also where a test has failed: the next one has its own connection.
            self.peer.close()
            self.connection.connectionLost(Failure(ConnectionDone()))

    def end(self) -> None:
        raise NotImplementedError

    def check_ended(self) -> None:
        """See that nothing is left of the connection."""
        assert not self.connection.connected, "it does not end"
        assert self.connection.getHandle().fileno() < 0
        self.keeps_to_the_contract()
        assert self.taken <= self.written and self.actor.received <= self.sent
        counts = self.world.counts
        assert counts.get("connection_made", 0) == counts.get("connection_lost", 0) <= 1
        self.world.check_balance()
