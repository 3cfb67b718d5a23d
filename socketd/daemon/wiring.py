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
from socketd.net.listen import Bound
from socketd.net.service_state import ConnectionTable
from socketd.net.sockets.activation import Inherited
from socketd.net.sockets.group import Sharing
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
    sharing: Sharing = Sharing(),
    make: type[Daemon] = Daemon,
    event_bus: EventBus | None = None,
    connection_table: ConnectionTable | None = None,
    handed: dict[str, list[Bound]] | None = None,
) -> Daemon:
    """
    Make a daemon with its services; nothing is bound.

    @param file_limit: the descriptor limit of the process; C{None}: not a constraint.
    @param configure: reads the configuration again; raises C{SettingsError}.
    @param make: what it is made by.
    @param handed: see L{Shared.handed}.
    """
    clock_watch = ClockWatch(read_kernel, wall_clock, reactor.seconds)
    shared = Shared(
        reactor,
        event_bus or EventBus(reactor),
        ConnectionTable() if connection_table is None else connection_table,
        Capacity(None),
        Bans(reactor.seconds),
        TimerWheel(reactor),
        ProtocolContext(wall_clock, OperatorQueue(reactor), lambda: clock_watch.state),
        HostAddresses(reactor.seconds).current,
        inherited,
        sharing,
        handed,
    )
    settings, contexts = configuration.settings, configuration.contexts
    services = [
        SocketService(shared, one, shared.make_state(one), contexts.get(one.name))
        for one in settings.services
    ]
    return make(settings, shared, clock_watch, services, file_limit, configure)
