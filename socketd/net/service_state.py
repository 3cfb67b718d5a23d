"""The state that all ports and connections of one service share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from socketd.access.policy import AccessPolicy
from socketd.common.counters import Counters, Counting
from socketd.common.events import MESSAGE_RECEIVED, PROTOCOL_FAILED, Event, EventBus
from socketd.common.text import escaped, hexadecimal
from socketd.net.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from socketd.faults.draws import ConnectionDraw
    from socketd.faults.service_faults import ServiceFaults


class Connection(Counting, Protocol):
    """A live connection, as the control commands see it."""

    connection_id: int
    began: float
    service_state: ServiceState
    tick: int
    handshaking: bool
    peer_known: bool

    @property
    def peer(self) -> str:
        """The peer's address as printable text."""

    def getPeer(self) -> IAddress:
        """The peer's address."""

    def check(self, now: float) -> None:
        """Check the deadlines."""

    def send(self, data: bytes) -> None:
        """Send application data."""

    def close(self) -> None:
        """Close after all data is sent."""

    def half_close(self) -> None:
        """Shut down the writing side after all data is sent."""

    def drain_and_close(self) -> None:
        """Serve data that has already arrived, then close."""

    @property
    def source(self) -> tuple[int, Any]:
        """The source that the access policy checked: an address family and an address."""

    @property
    def fault(self) -> ConnectionDraw | None:
        """How it misbehaves; C{None}: not at all."""

    def change_fault(self, draw: ConnectionDraw | None) -> None:
        """Misbehave as was drawn from now on, or no more; what is held is sent."""

    def reapply_policy(self, slot: Any, reason: str | None) -> None:
        """Apply a changed access policy to a live connection; reset it if refused."""

    def abortConnection(self) -> None:
        """Reset the connection."""


@define(eq=False)
class ConnectionTable:
    """
    All live connections of the daemon by id; ids are never reused.

    @ivar last_id: the last one that was allocated.
    @ivar step: the number of processes that allocate ids, each its own.
    """

    last_id: int = 0
    step: int = 1
    _live: dict[int, Connection] = field(factory=dict, init=False)

    def new_id(self) -> int:
        """Allocate a connection id."""
        self.last_id += self.step
        return self.last_id

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, connection_id: int) -> Connection | None:
        """Look up a live connection."""
        return self._live.get(connection_id)

    def enter(self, connection: Connection) -> None:
        """Add a new connection."""
        self._live[connection.connection_id] = connection

    def leave(self, connection: Connection) -> None:
        """Remove a closed connection."""
        del self._live[connection.connection_id]


@define(eq=False)
class ServiceState:
    """
    One service, as its ports and connections see it.

    @ivar connection_table: the live connections of the whole daemon.
    @ivar log_messages: C{no}, C{text} or C{hex}: whether and how each message is logged.
    @ivar awaits_us: whether the connection of an id waits for a reply from this side, and
        so is not idle.
    @ivar announced: whether connection events are logged or watched.
    @ivar observed: whether message events are logged or watched; a plain attribute, since
        it is read for each message.
    @ivar faults: the profile that is on, with its draws; C{None} is off.
    @ivar sources: what its protocol measures of each source, bounded by the protocol.
    @ivar draining: whether the daemon accepts no further connections.
    @ivar counters: the service's counters; those of a connection are added when it closes.
    """

    name: str
    event_bus: EventBus
    connection_table: ConnectionTable
    log_connections: bool = True
    log_messages: str = "no"
    policy: AccessPolicy = field(factory=AccessPolicy)
    wheel: TimerWheel = field()
    awaits_us: Callable[[int], bool] = field(default=lambda connection_id: False)
    observed: bool = field(default=False, init=False)
    announced: bool = field(default=False, init=False)
    draining: bool = field(default=False, init=False)
    faults: ServiceFaults | None = field(default=None, init=False)
    counters: Counters = field(factory=Counters, init=False)
    sources: OrderedDict[Any, Any] = field(factory=OrderedDict, init=False)
    _observers: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)
    _empty: list[Deferred[None]] = field(factory=list, init=False)

    @wheel.default
    def _make_wheel(self) -> TimerWheel:
        return TimerWheel(self.event_bus.clock)

    def __attrs_post_init__(self) -> None:
        self.event_bus.on_watched(self._update_observed)

    @property
    def connections(self) -> list[Connection]:
        """The live connections of this service."""
        return [
            connection for connection in self.connection_table if connection.service_state is self
        ]

    def enter(self, connection: Connection) -> None:
        """Add a new connection."""
        self._count += 1
        self.counters.connections += 1
        self.policy.capacity.enter()
        self.connection_table.enter(connection)

    def leave(self, connection: Connection) -> None:
        """Remove a closed connection and add its counters to the service's."""
        self._count -= 1
        self.counters.add(connection)
        self.connection_table.leave(connection)
        self.wheel.remove(connection)
        self.policy.capacity.leave()
        if not self._count:
            waiting, self._empty = self._empty, []
            for deferred in waiting:
                deferred.callback(None)

    def when_empty(self) -> Deferred[None]:
        """
        Wait until there are no live connections.

        @return: fires then, or at once if there are none.
        """
        if not self._count:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._empty.append(deferred)
        return deferred

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """Emit an event of this service."""
        self.event_bus.emit(event, logged, service=self.name, **facts)

    def discard(self) -> None:
        """Unsubscribe from the event bus; the service is no longer, or was never, served."""
        self.event_bus.off_watched(self._update_observed)

    def change_logging(self, log_connections: bool, log_messages: str) -> None:
        """Apply new log settings."""
        self.log_connections, self.log_messages = log_connections, log_messages
        self._update_observed()

    def observe(self, count: int) -> None:
        """Add watchers of its messages (who watch the event bus, too), or take some away."""
        self._observers += count
        self._update_observed()

    def _update_observed(self) -> None:
        watched = self.event_bus.watched
        self.announced = self.log_connections or watched
        self.observed = self.log_messages != "no" or watched or self._observers > 0

    def report(self, peer: str, problem: Exception) -> None:
        """
        Emit an exception of the protocol; the text is escaped, as it may hold the peer's data.
        """
        text = escaped(f"{type(problem).__name__}: {problem}".encode())
        self.emit(PROTOCOL_FAILED, peer=peer, error=text, log_failure=Failure(problem))

    def message(self, host: str, data: bytes, peer: str, connection: int | None) -> None:
        """
        Emit a message event for received data.

        @param connection: the id of the connection; C{None} for a datagram.
        """
        text = hexadecimal(data) if self.log_messages == "hex" else escaped(data)
        facts = {"host": host, "text": text, "peer": peer, "connection": connection}
        self.emit(MESSAGE_RECEIVED, self.log_messages != "no", **facts)
