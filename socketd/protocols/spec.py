"""
The context that protocols get, and what they may do; C{ProtocolSpec} is what their modules export.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from zope.interface import Interface

from socketd.common.counters import Counters
from socketd.common.events import Event
from socketd.common.operator_queue import OperatorQueue
from socketd.common.paths import state_directory
from socketd.common.system_clock import ClockState
from socketd.settings.model import ProtocolSpec as ProtocolSpec  # noqa: F401
from socketd.settings.options import option
from socketd.settings.value_types import SIZE, within

#: The longest reply of RFC 865, in bytes; more would only help amplification attacks.
MAX_AMPLIFY = 512


def udp_amplify_option(default: int | None = 0, more: str = "") -> Any:
    """Declare C{udp_amplify}; C{more}: what the manual says behind its sentence."""
    text = f"Answer a datagram with up to so many bytes however short it is{more}."
    return option(within(SIZE, 0, MAX_AMPLIFY, f"write 0 to {MAX_AMPLIFY}"), default, text)


class IDrainable(Interface):
    """A protocol that ends its connection by itself when the daemon stops."""

    def drain() -> None:
        """Finish what has begun, and close, in C{drain_timeout}; called once, while open."""


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
