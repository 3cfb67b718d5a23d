"""
Address conflicts between the listeners of one configuration.

They are found before anything is bound, by the rules of bind(2) (socket(7), ip(7)): an
address conflicts with itself and with the wildcard address of its family.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from attrs import evolve, field, frozen

from socketd.settings.diagnostics import Diagnostic
from socketd.settings.listeners import Listener, Place, place_of
from socketd.settings.model import DAEMON, Settings, SocketOptions

#: Options that let a wildcard address and a specific one be bound together.
_SHARING = {
    socket.SOCK_STREAM: ("so_reuseport",),
    socket.SOCK_DGRAM: ("so_reuseport", "so_reuseaddr"),
}


@frozen
class Claim:
    """
    A listener with the properties that decide whether it conflicts with another one.

    @ivar section: the section that it belongs to.
    @ivar option: the option of that section that names it.
    @ivar line: the line of that option.
    """

    section: str
    option: str
    line: int
    listener: Listener
    place: Place
    options: SocketOptions

    @property
    def bucket(self) -> Place:
        """Its place without the host: only claims of the same bucket can conflict."""
        if self.place.path:
            # One path is a socket of one type.
            return evolve(self.place, type=socket.SOCK_STREAM)
        return evolve(self.place, host="")

    def shares(self, other: Claim) -> bool:
        """Say whether both have an option that lets the kernel bind both."""
        names = _SHARING[self.place.type]
        return any(getattr(self.options, n) and getattr(other.options, n) for n in names)

    def is_in_the_way(self, other: Claim) -> bool:
        """
        Say whether two claims of one bucket conflict: one bind fails, or both share the
        traffic of one address.
        """
        devices = {self.options.so_bindtodevice, other.options.so_bindtodevice}
        if None not in devices and len(devices) == 2:
            return False
        if self.place.host == other.place.host:
            return True
        return "" in (self.place.host, other.place.host) and not self.shares(other)


@frozen
class _Bucket:
    """The claims of one port or path that do not conflict so far."""

    hosts: dict[str, list[Claim]] = field(factory=dict)

    def add(self, claim: Claim) -> Claim | None:
        """
        Add a claim, unless it conflicts with an earlier one.

        @return: the earlier one, or C{None}.
        """
        host = claim.place.host
        # A host conflicts with itself and the wildcard; the wildcard with every host.
        near = (host, "") if host else tuple(self.hosts)
        for other in (found for name in near for found in self.hosts.get(name, ())):
            if claim.is_in_the_way(other):
                return other
        self.hosts.setdefault(host, []).append(claim)
        return None


def conflicts(settings: Settings) -> Iterator[Diagnostic]:
    """Report each listener whose address conflicts with an earlier one."""
    buckets: dict[Place, list[Claim]] = {}
    for claim in _claims(settings):
        buckets.setdefault(claim.bucket, []).append(claim)
    for bucket, claims in buckets.items():
        if (bucket.port or bucket.path) and len(claims) > 1:
            taken = _Bucket()
            for claim in claims:
                if other := taken.add(claim):
                    yield _complaint(settings.file, claim, other)
    yield from _handed_over_twice(settings)


def _claims(settings: Settings) -> Iterator[Claim]:
    for service in settings.services:
        for one in service.listeners:
            if not one.is_inherited:
                line = service.lines["listen"]
                yield Claim(service.name, "listen", line, one, place_of(one), service.sockets)
    for option, one in settings.own.items():
        line = settings.lines[option]
        yield Claim(DAEMON, option, line, one, place_of(one), SocketOptions())


def _complaint(file: str, claim: Claim, other: Claim) -> Diagnostic:
    by = f"[{other.section}]{'' if other.option == 'listen' else f' {other.option}'}"
    if str(other.listener) != str(claim.listener):
        by = f"{other.listener} of {by}"
    message = f"is taken already, by {by}"
    if claim.place.host != other.place.host:
        wide = other if claim.place.host else claim
        message += f"; {wide.listener} is every address"
    return Diagnostic(file, claim.line, message, claim.section, claim.option, str(claim.listener))


def _handed_over_twice(settings: Settings) -> Iterator[Diagnostic]:
    seen: dict[str, str] = {}
    for service in settings.services:
        for one in service.listeners:
            if one.name in seen:
                message = f"is taken already, by [{seen[one.name]}]"
                yield service.complaint("listen", message, str(one))
            if one.name:
                seen[one.name] = service.name
