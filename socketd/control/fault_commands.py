"""The commands for fault profiles: which services misbehave on purpose, and how."""

from __future__ import annotations

from collections.abc import Sequence

from socketd.common.commands import COMMANDS
from socketd.common.errors import CommandError
from socketd.control.requests import IOperatorSession, shown
from socketd.control.results import CommandResult, Value
from socketd.daemon.daemon import Daemon
from socketd.daemon.faults import switch, switch_open
from socketd.daemon.service import SocketService
from socketd.settings.diagnostics import nearest
from socketd.settings.faults.profile import OFF, FaultProfile

_COLUMNS = ("profile", "service", "seed", "connections", "acted", "faults")


def faults(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """
    List the profiles, each with the services at which it is on, the connections since then, and
    how often it has C{acted} since the start of the daemon.
    """
    on = [(one, one.fault) for one in daemon.snapshot().services if one.fault is not None]
    rows: list[Sequence[Value]] = []
    for name, profile in daemon.settings.faults.items():
        found = [(service, fault) for service, fault in on if fault.profile == name]
        for service, fault in found:
            acted = ", ".join(f"{one} {n}" for one, n in service.counters.faults.items())
            rows.append(
                (name, service.name, fault.seed, fault.connections, acted, profile.describe())
            )
        if not found:
            rows.append((name, None, profile.options.seed, None, None, profile.describe()))
    counts = {service.name: dict(service.counters.faults) for service, _ in on}
    return CommandResult(columns=_COLUMNS, rows=rows, facts={"acted": counts})


def fault(
    daemon: Daemon, session: IOperatorSession, service: str, profile: str, now: str
) -> CommandResult:
    """
    Switch the profile of a service, or C{off}, for what comes, and with C{now} for what is open.
    """
    if now not in ("", "now"):
        raise COMMANDS["fault"].misused()
    child = find_service(daemon, service)
    wanted = None if profile == OFF else _find_profile(daemon, child, profile)
    switch(child, wanted)
    count = switch_open(child) if now else 0
    running = child.service_state.faults
    return switched(service, profile, None if running is None else running.seed, count, now)


def switched(
    service: str, profile: str, seed: int | None, connections_switched: int, now: str
) -> CommandResult:
    """Say what L{fault} did."""
    text = f"fault of {service}: {profile}" + ("" if seed is None else f", seed {seed}")
    text += f"; {connections_switched} open connections switched" if now else ""
    facts = {"service": service, "profile": profile, "seed": seed}
    return CommandResult(text, facts=facts | {"connections_switched": connections_switched})


def find_service(daemon: Daemon, name: str) -> SocketService:
    """Look up a service that is served; raise L{CommandError} if there is none."""
    known = {child.name: child for child in daemon.services}
    if name not in known:
        raise CommandError(f"{shown(name)} is no service; {nearest(name, known)}")
    return known[name]


def _find_profile(daemon: Daemon, child: SocketService, name: str) -> FaultProfile:
    known = daemon.settings.faults
    profile = known.get(name)
    if profile is None:
        hint = nearest(name, known) if known else f"write a section [fault:{shown(name)}]"
        raise CommandError(f"{shown(name)} is no fault profile; {hint}")
    if why := profile.misfit(*child.settings.forms):
        raise CommandError(f"{name} {why}")
    return profile
