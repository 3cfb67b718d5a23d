"""The commands for bans: sources that are not served until the ban expires or is lifted."""

from __future__ import annotations

import socket

from socketd.access.addresses import packed
from socketd.access.bans import BansFull
from socketd.common.errors import USAGE, CommandError
from socketd.control.requests import IOperatorSession, shown
from socketd.control.results import CommandResult
from socketd.daemon.daemon import Daemon
from socketd.settings.networks import Network, parse_networks
from socketd.settings.value_types import parse_duration


def ban(daemon: Daemon, session: IOperatorSession, source: str, duration: str) -> CommandResult:
    """Ban a network, and reset its live connections; without a duration until it is lifted."""
    network, seconds = _parse_source(source), _parse_duration(duration)
    try:
        daemon.bans.add(network, seconds)
    except BansFull as problem:
        raise CommandError(f"{problem}; unban one first") from None
    _forget_sources(daemon)
    return banned(str(network), seconds, _reset_banned(daemon))


def banned(source: str, seconds: float | None, connections_reset: int) -> CommandResult:
    """Say what L{ban} did."""
    expiry = "" if seconds is None else f" for {seconds:g} s"
    facts = {"source": source, "seconds": seconds, "connections_reset": connections_reset}
    text = f"banned {source}{expiry}; {connections_reset} connections reset"
    return CommandResult(text, facts=facts)


def unban(daemon: Daemon, session: IOperatorSession, source: str) -> CommandResult:
    """Lift the ban of exactly this network."""
    network = _parse_source(source)
    if not daemon.bans.remove(network):
        raise CommandError(f"{network} is not banned; see bans")
    _forget_sources(daemon)
    return CommandResult(f"{network} is no longer banned", facts={"source": str(network)})


def bans(daemon: Daemon, session: IOperatorSession) -> CommandResult:
    """List the bans with their remaining seconds."""
    now = daemon.reactor.seconds()
    rows = [
        (str(one.network), None if one.ends is None else round(one.ends - now, 1))
        for one in daemon.bans.current()
    ]
    return CommandResult(columns=("source", "seconds"), rows=rows)


def _parse_source(text: str) -> Network:
    try:
        networks = parse_networks(text)
    except ValueError as error:
        raise CommandError(f"the source {shown(str(error))}", USAGE) from None
    if len(networks) != 1:
        raise CommandError("write one address or network", USAGE)
    if not networks[0].prefixlen:
        raise CommandError("would ban every source; use drain for that", USAGE)
    return networks[0]


def _parse_duration(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise CommandError("the duration is not a duration; write 10m, 1h or 7d", USAGE) from None
    if not seconds:
        raise CommandError("the duration is 0; unban lifts a ban", USAGE)
    return seconds


def _forget_sources(daemon: Daemon) -> None:
    for service in daemon.services:
        service.forget_sources()


def _reset_banned(daemon: Daemon) -> int:
    count = 0
    for connection in daemon.connection_table:
        family, peer = connection.source
        if family != socket.AF_UNIX and not daemon.bans.admits(packed(peer[0])):
            connection.abortConnection()
            count += 1
    return count
