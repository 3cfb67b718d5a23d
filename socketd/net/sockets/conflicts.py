"""
Address conflicts between the listeners of one configuration.

They are found before anything is bound, by the rules of bind(2) (socket(7), ip(7)): an
address conflicts with itself and with the wildcard address of its family.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from attrs import evolve, frozen

from socketd.settings.diagnostics import Diagnostic
from socketd.settings.listeners import BindAddress, Listener, bind_address
from socketd.settings.model import DAEMON, Settings, SocketOptions

#: Options that let a wildcard address and a specific one be bound together.
_SHARING = {
    socket.SOCK_STREAM: ("so_reuseport",),
    socket.SOCK_DGRAM: ("so_reuseport", "so_reuseaddr"),
}


@frozen
class Claim:
    """A listener of an option, with what decides whether it conflicts with another one."""

    section: str
    option: str
    line: int
    listener: Listener
    place: BindAddress
    options: SocketOptions

    @property
    def key(self) -> BindAddress:
        """Its place without the host: only claims with the same key can conflict."""
        if self.place.path:
            # One path is a socket of one type.
            return evolve(self.place, type=socket.SOCK_STREAM)
        return evolve(self.place, host="")

    def conflicts_with(self, other: Claim) -> bool:
        """
        Say whether one of two claims with the same key cannot be bound, or both share the
        traffic of one address.
        """
        devices = {self.options.so_bindtodevice, other.options.so_bindtodevice}
        if None not in devices and len(devices) == 2:
            return False
        if self.place.host == other.place.host:
            return True
        if self.place.host and other.place.host:
            return False
        names = _SHARING[self.place.type]
        return not any(getattr(self.options, n) and getattr(other.options, n) for n in names)


def conflicts(settings: Settings) -> Iterator[Diagnostic]:
    """Report each listener whose address conflicts with an earlier one."""
    # The claims that do not conflict, by their keys, then by their hosts.
    accepted: dict[BindAddress, dict[str, list[Claim]]] = {}
    for claim in _claims(settings):
        host, hosts = claim.place.host, accepted.setdefault(claim.key, {})
        # A host conflicts with itself and the wildcard; the wildcard with every host.
        near = (host, "") if host else tuple(hosts)
        others = (other for name in near for other in hosts.get(name, ()))
        earlier = next(filter(claim.conflicts_with, others), None)
        if earlier is None:
            hosts.setdefault(host, []).append(claim)
        else:
            yield _diagnostic(settings.file, claim, earlier)
    yield from _inherited_twice(settings)


def _claims(settings: Settings) -> Iterator[Claim]:
    """List what is claimed; the kernel chooses a free port where the file says 0."""
    for service in settings.services:
        for one in service.listeners:
            if one.port or one.path:
                line = service.lines["listen"]
                yield Claim(service.name, "listen", line, one, bind_address(one), service.sockets)
    for option, one in settings.own.items():
        if one.port or one.path:
            line = settings.lines[option]
            yield Claim(DAEMON, option, line, one, bind_address(one), SocketOptions())


def _diagnostic(file: str, claim: Claim, other: Claim) -> Diagnostic:
    by = f"[{other.section}]{'' if other.option == 'listen' else f' {other.option}'}"
    if str(other.listener) != str(claim.listener):
        by = f"{other.listener} of {by}"
    message = f"is taken already, by {by}"
    if claim.place.host != other.place.host:
        wide = other if claim.place.host else claim
        message += f"; {wide.listener} is every address"
    return Diagnostic(file, claim.line, message, claim.section, claim.option, str(claim.listener))


def _inherited_twice(settings: Settings) -> Iterator[Diagnostic]:
    seen: dict[str, str] = {}
    for service in settings.services:
        for one in service.listeners:
            if one.name in seen:
                message = f"is taken already, by [{seen[one.name]}]"
                yield service.complaint("listen", message, str(one))
            if one.name:
                seen[one.name] = service.name
