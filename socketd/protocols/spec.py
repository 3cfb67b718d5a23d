"""The specification that a protocol module exports, and the context that its protocols get."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from zope.interface import Interface

from socketd.common.counters import Counters
from socketd.common.events import Event
from socketd.common.operator_queue import OperatorQueue
from socketd.common.paths import state_directory
from socketd.common.system_clock import ClockState
from socketd.settings.listeners import Listener
from socketd.settings.options import option
from socketd.settings.value_types import SIZE, within

#: The longest reply of RFC 865, in bytes; more would only help amplification attacks.
MAX_AMPLIFY = 512


def udp_amplify_option() -> Any:
    """Declare C{udp_amplify}; C{reply_floor} of the protocol's specification must return it."""
    return option(
        within(SIZE, 0, MAX_AMPLIFY, f"write 0 to {MAX_AMPLIFY}"),
        0,
        "Answer a datagram with up to so many bytes however short it is.",
    )


class IDrainable(Interface):
    """A protocol that ends its connection by itself when the daemon stops."""

    def drain() -> None:
        """
        Finish what has begun, and close; C{drain_timeout} bounds it. It is called once, on a
        connection that is open.
        """


class IFarewell(Interface):
    """A protocol with something to say before an operator or a deadline closes its connection."""

    def say_farewell() -> None:
        """Write it, on a connection that is open; the close follows."""


class ServiceRecord(Protocol):
    """
    Where a protocol records what it has done.

    @ivar announced: whether events of connections are logged or watched.
    @ivar log_connections: whether they are logged.
    @ivar counters: the counters of the service.
    @ivar sources: what a protocol that measures keeps of each source, the latest last; it bounds
        them.
    @ivar draining: whether clients are to go elsewhere: no further connection is accepted.
    """

    announced: bool
    log_connections: bool
    counters: Counters
    sources: OrderedDict[Any, Any]
    draining: bool

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """Emit an event of the service."""


@define
class NoRecord:
    """The record of a protocol without a service: counters that nothing reads."""

    announced: bool = False
    log_connections: bool = False
    counters: Counters = field(factory=Counters)
    sources: OrderedDict[Any, Any] = field(factory=OrderedDict)
    draining: bool = False

    def emit(self, event: Event, logged: bool = True, **facts: Any) -> None:
        """No-op: there is no log."""


def _open_no_port(protocol: DatagramProtocol, host: str, port: int) -> Callable[[], None]:
    raise OSError("no daemon is there to open a port")


@frozen
class ProtocolContext:
    """
    Services of the daemon that a protocol may use.

    @ivar wall_clock: returns the time of day, in seconds since 1970.
    @ivar operator: the queue of connections that wait for the operator's reply.
    @ivar clock_state: returns the kernel's state of the clock, at most about two seconds old.
    @ivar clock: runs timers; by default the clock of the operator's queue.
    @ivar service: the name of the service, which is its section's.
    @ivar record: its counters and its events.
    @ivar references: the options of the services that its own options name, by option.
    @ivar state: the daemon's state directory; it may not exist.
    @ivar kept: what protocols share between their services, and over reloads, by file.
    @ivar open_port: opens a UDP port beside its listeners, at an address and one of the ports of
        C{further_ports}, for a protocol: with the access policy, the counters and the end of the
        service. Returns what closes it; raises C{OSError} if it cannot be opened, or
        L{socketd.settings.model.MAX_FURTHER} are.
    """

    wall_clock: Callable[[], float]
    operator: OperatorQueue
    clock_state: Callable[[], ClockState] = ClockState
    clock: IReactorTime = field(
        default=Factory(lambda context: context.operator.clock, takes_self=True), kw_only=True
    )
    service: str = field(default="", kw_only=True)
    record: ServiceRecord = field(factory=NoRecord, kw_only=True)
    references: Mapping[str, Any] = field(factory=dict, kw_only=True)
    state: str = field(factory=lambda: state_directory(os.environ), kw_only=True)
    kept: dict[str, Any] = field(factory=dict, kw_only=True)
    open_port: Callable[[DatagramProtocol, str, int], Callable[[], None]] = field(
        default=_open_no_port, kw_only=True
    )


@frozen
class NoOptions:
    """The options of a protocol without options of its own."""


@frozen
class ProtocolSpec:
    """
    The specification of one protocol.

    @ivar options: an attrs class made of L{socketd.settings.options.option}.
    @ivar stream: makes the protocol of one connection; C{None} if streams are not supported.
    @ivar datagram: makes the protocol of one port; C{None} if datagrams are not supported.
    @ivar reply_floor: maps the options to the reply size (bytes) that is allowed however short the
        datagram is; a longer reply must not exceed its request.
    @ivar shortest_reply: maps the options to the size (bytes) of the shortest reply to an empty
        datagram.
    @ivar source_ports: reserved source ports that are served nevertheless; such a protocol must
        not answer replies, or two services could loop.
    @ivar udp_rate: the default rate limit per source (datagrams per second).
    @ivar udp_burst: the default burst per source (datagrams).
    @ivar timestamped: whether its C{DatagramProtocol} reads C{transport.received_at}.
    @ivar ip_header: whether it reads C{transport.ip_header}, too: the TTL and the TOS of the
        current datagram; C{transport.mark(TOS)} has the next answer leave with TTL 255 and that
        TOS.
    @ivar further_ports: maps the options to the UDP ports that C{context.open_port} may open.
    @ivar refusals: maps the options and the listeners to what is wrong with them together: pairs
        of an option's name and the error; an empty name stands for the section.
    @ivar hints: maps the options, the listeners, and the listeners of the services that refer to
        it, to what is valid and may not be meant: pairs of an option that is given, and a message.
    @ivar references: its options that name another service, and the protocol of that.
    @ivar fixed: common options that it gives their only value, as written in a file.
    @ivar defaults: common options that have another default for it, as written in a file.
    """

    options: type[Any] = NoOptions
    stream: Callable[[Any, ProtocolContext], IProtocol] | None = None
    datagram: Callable[[Any, ProtocolContext], DatagramProtocol] | None = None
    reply_floor: Callable[[Any], int] = lambda options: 0
    shortest_reply: Callable[[Any], int] = lambda options: 0
    source_ports: Container[int] = frozenset()
    udp_rate: float = 1.0
    udp_burst: int = 8
    timestamped: bool = False
    ip_header: bool = False
    further_ports: Callable[[Any], range] = lambda options: range(0)
    refusals: Callable[[Any, Sequence[Listener]], Iterable[tuple[str, ValueError]]] = (
        lambda options, listeners: ()
    )
    hints: Callable[
        [Any, Sequence[Listener], Sequence[Listener]], Iterable[tuple[str, str]]
    ] = lambda options, listeners, users: ()
    references: Mapping[str, str] = field(factory=dict)
    fixed: Mapping[str, str] = field(factory=dict)
    defaults: Mapping[str, str] = field(factory=dict)
