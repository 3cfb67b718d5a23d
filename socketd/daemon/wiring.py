"""Makes the parts of a daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from socketd.access.bans import Bans
from socketd.access.capacity import Capacity
from socketd.common.events import EventBus
from socketd.common.operator_queue import OperatorQueue
from socketd.common.system_clock import ClockWatch, read_kernel
from socketd.configuration import Configuration
from socketd.daemon.daemon import Daemon
from socketd.daemon.service import Shared, SocketService
from socketd.net.service_state import ConnectionTable
from socketd.net.sockets.activation import Inherited
from socketd.net.sockets.local_addresses import HostAddresses
from socketd.net.timer_wheel import TimerWheel
from socketd.protocols.spec import ProtocolContext


def make_daemon(
    reactor: Any,
    configuration: Configuration,
    wall_clock: Callable[[], float],
    file_limit: int | None = None,
    inherited: Inherited = Inherited(),
    configure: Callable[[], Configuration] | None = None,
) -> Daemon:
    """
    Make a daemon with its services; nothing is bound.

    @param file_limit: the descriptor limit of the process; C{None}: not a constraint.
    @param configure: reads the configuration again; raises C{SettingsError}.
    """
    event_bus, connection_table = EventBus(reactor), ConnectionTable()
    operator, bans = OperatorQueue(reactor), Bans(reactor.seconds)
    clock_watch = ClockWatch(read_kernel, wall_clock, reactor.seconds)
    shared = Shared(
        reactor,
        event_bus,
        connection_table,
        Capacity(None),
        bans,
        TimerWheel(reactor),
        ProtocolContext(wall_clock, operator, lambda: clock_watch.state),
        HostAddresses(reactor.seconds).current,
        inherited,
    )
    return Daemon(
        reactor,
        configuration.settings,
        wall_clock,
        event_bus,
        connection_table,
        operator,
        bans,
        clock_watch,
        shared,
        _make_services(shared, configuration),
        file_limit,
        configure,
    )


def _make_services(shared: Shared, configuration: Configuration) -> list[SocketService]:
    contexts = configuration.contexts
    return [
        SocketService(shared, one, shared.make_state(one), contexts.get(one.name))
        for one in configuration.settings.services
    ]
