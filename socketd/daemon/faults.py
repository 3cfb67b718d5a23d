"""Switches the fault profiles of running services: at the start, at a reload, by an operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from socketd.common.events import FAULT_CHANGED
from socketd.daemon.service import SocketService
from socketd.settings.faults.profile import OFF, FaultProfile

if TYPE_CHECKING:
    from socketd.faults.service_faults import ServiceFaults

#: The profile that is on at a service, and its seed; C{None} if none is. By service.
Switches = Mapping[str, tuple[str, int] | None]


def switch(child: SocketService, profile: FaultProfile | None, drawn: int | None = None) -> None:
    """
    Switch a service to a profile, from its next connection and datagram on; numbers begin at 1.

    @param profile: C{None} switches off; held datagrams are sent then.
    @param drawn: the seed, where the profile has none and another process has drawn it.
    """
    state = child.service_state
    state.faults = faults = None if profile is None else _begin(profile, child.name)
    if faults is not None and drawn is not None:
        faults.seed = drawn
    for bound in child.served:
        if bound.port is not None:
            bound.port.update_faults()
    if faults is None:
        state.emit(FAULT_CHANGED, fault=OFF, profile=None, seed=None)
    else:
        name, seed = faults.profile.name, faults.seed
        text = f"{name}, seed {seed}: {faults.profile.describe()}"
        state.emit(FAULT_CHANGED, fault=text, profile=name, seed=seed)


def _begin(profile: FaultProfile, service: str) -> ServiceFaults:
    # Lazy, for most daemons have no fault profile.
    from socketd.faults.service_faults import ServiceFaults

    return ServiceFaults(profile, service)


def switch_open(child: SocketService) -> int:
    """
    Switch the open connections of a service to the profile that it has; what they hold is sent.

    @return: the number of connections.
    """
    faults = child.service_state.faults
    connections = child.service_state.connections
    for connection in connections:
        connection.change_fault(None if faults is None else faults.draw_connection())
    return len(connections)


def follow_file(
    child: SocketService, former: SocketService | None, profiles: Mapping[str, FaultProfile]
) -> str:
    """
    Apply the profiles of a file that was read again.

    An unchanged profile keeps its counts. What an operator has switched stays as long as the
    file still has that profile and says the same of the service as before.

    @param former: the service before; C{None} if it is new.
    @return: what is no longer as an operator switched it; empty if nothing.
    """
    name = child.settings.common.fault
    faults = child.service_state.faults
    current = None if faults is None else faults.profile
    gone = ""
    if former is not None and former.settings.common.fault == name:
        if current is None or current.name in profiles:
            name = current.name if current else ""
        else:
            gone = f"[{child.name}] fault {current.name} is gone; now {name or OFF}"
    if profiles.get(name) != current:
        switch(child, profiles.get(name))
    return gone


def switches(services: Iterable[SocketService]) -> Switches:
    """List the profiles that are on."""
    on = [(child.name, child.service_state.faults) for child in services]
    return {name: None if one is None else (one.profile.name, one.seed) for name, one in on}


def take_switches(
    services: Iterable[SocketService], profiles: Mapping[str, FaultProfile], wanted: Switches
) -> None:
    """Switch the services at which another process has another profile or seed."""
    children = {child.name: child for child in services}
    for name, found in switches(children.values()).items():
        if found != wanted.get(name):
            profile, drawn = wanted.get(name) or ("", None)
            switch(children[name], profiles.get(profile), drawn)
