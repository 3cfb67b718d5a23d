"""
What all listeners of one service share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from socketd.access.policy import AccessPolicy
from socketd.common.counters import Counters, Counting
from socketd.common.events import (
    MESSAGE_RECEIVED,
    PROTOCOL_FAILED,
    Event,
    EventBus,
    escaped,
    hexadecimal,
)
from socketd.net.timer_wheel import TimerWheel


class Connection(Counting, Protocol):
    """
    A live connection, as the control commands see it.
    """

    connection_id: int
    began: float
    service_state: ServiceState
    slot: int
    handshaking: bool
    known: bool

    @property
    def peer(self) -> str:
        """
        The address of the other side, for people.
        """

    def getPeer(self) -> IAddress:
        """
        The address of the other side.
        """

    def look(self, now: float) -> None:
        """
        Keep to the deadlines.
        """

    def send(self, data: bytes) -> None:
        """
        Send bytes.
        """

    def close(self) -> None:
        """
        Close, after what is owed is sent.
        """

    def drain_and_close(self) -> None:
        """
        Answer what has come already, and close.
        """

    @property
    def source(self) -> tuple[int, Any]:
        """
        Whom the door was asked about: a family, and an address of it.
        """

    def reapply_policy(self, slot_held: Any, reason: str | None) -> None:
        """
        Go on under another door, or end.
        """

    def abortConnection(self) -> None:
        """
        Reset, at once.
        """


@define(eq=False)
class ConnectionTable:
    """
    All live connections of the daemon; their ids are never used twice.
    """

    _live: dict[int, Connection] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)

    def new_id(self) -> int:
        """
        Give the id of one more connection.
        """
        self._last += 1
        return self._last

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, connection_id: int) -> Connection | None:
        """
        Look a live connection up.
        """
        return self._live.get(connection_id)

    def enter(self, connection: Connection) -> None:
        """
        Note a connection that has begun.
        """
        self._live[connection.connection_id] = connection

    def leave(self, connection: Connection) -> None:
        """
        Forget a connection that has ended.
        """
        del self._live[connection.connection_id]


def _never(connection_id: int) -> bool:
    """
    Say that no connection waits for this side.
    """
    return False


@define(eq=False)
class ServiceState:
    """
    One service, as its ports and connections see it.

    @ivar name: the service's name.
    @ivar event_bus: where events go.
    @ivar connection_table: the live connections of the whole daemon.
    @ivar log_connections: whether the log has a line for each connection.
    @ivar log_messages: C{no}, C{text} or C{hex}: how the log has each message.
    @ivar policy: what is asked of its connections.
    @ivar wheel: their deadlines.
    @ivar awaits_us: says of the id of a connection whether it waits for this side, and
        so is not idle.
    @ivar announced: whether anybody wants to know of each connection.
    @ivar observed: whether anybody wants to know of each message; a plain
        attribute, since each message looks at it.
    """

    name: str
    event_bus: EventBus
    connection_table: ConnectionTable
    log_connections: bool = True
    log_messages: str = "no"
    policy: AccessPolicy = field(factory=AccessPolicy)
    wheel: TimerWheel = field()
    awaits_us: Callable[[int], bool] = _never
    observed: bool = field(default=False, init=False)
    announced: bool = field(default=False, init=False)
    counters: Counters = field(factory=Counters, init=False)
    _count: int = field(default=0, init=False)
    _empty: list[Deferred[None]] = field(factory=list, init=False)

    @wheel.default
    def _make_wheel(self) -> TimerWheel:
        return TimerWheel(self.event_bus.clock)

    def __attrs_post_init__(self) -> None:
        self.event_bus.on_watched(self._update_observed)

    @property
    def connections(self) -> list[Connection]:
        """
        The live connections of this service.
        """
        return [
            connection for connection in self.connection_table if connection.service_state is self
        ]

    def enter(self, connection: Connection) -> None:
        """
        Note a connection that has begun.
        """
        self._count += 1
        self.counters.connections += 1
        self.policy.capacity.enter()
        self.connection_table.enter(connection)

    def leave(self, connection: Connection) -> None:
        """
        Take over the counts of a connection that has ended.
        """
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
        Wait until no connection is live.
        """
        deferred: Deferred[None] = Deferred()
        if self._count:
            self._empty.append(deferred)
        else:
            deferred.callback(None)
        return deferred

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """
        Say that something happened in this service.
        """
        self.event_bus.emit(event, logged, service=self.name, **facts)

    def discard(self) -> None:
        """
        Be told of nothing any more: nobody will serve here.
        """
        self.event_bus.off_watched(self._update_observed)

    def change_logging(self, log_connections: bool, log_messages: str) -> None:
        """
        Log from now on as a new configuration says.
        """
        self.log_connections, self.log_messages = log_connections, log_messages
        self._update_observed()

    def _update_observed(self) -> None:
        self.announced = self.log_connections or self.event_bus.watched
        self.observed = self.log_messages != "no" or self.event_bus.watched

    def report(self, peer: str, problem: Exception) -> None:
        """
        Say that the protocol raised; the text may hold bytes of the peer.
        """
        text = escaped(f"{type(problem).__name__}: {problem}".encode())
        self.emit(PROTOCOL_FAILED, peer=peer, error=text, log_failure=Failure(problem))

    def message(self, host: str, data: bytes, peer: str, connection: int | None) -> None:
        """
        Tell whoever wants to know of each message.

        @param connection: the id of the connection; C{None} for a datagram.
        """
        text = hexadecimal(data) if self.log_messages == "hex" else escaped(data)
        facts = {"host": host, "text": text, "peer": peer, "connection": connection}
        self.emit(MESSAGE_RECEIVED, self.log_messages != "no", **facts)
