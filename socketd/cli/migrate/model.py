"""
The content of a super-server's configuration (xinetd, inetd): services that socketd supports, and
everything else, with file and line.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import define, evolve, field, frozen

from socketd.common.text import ascii_line
from socketd.settings.listeners import canonical_host

#: Built-in services of super-servers that socketd supports, with their assigned ports (RFC 862,
#: 863, 864, 867, 868).
PORTS = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37}

STREAM = "stream"
DATAGRAM = "dgram"
#: Transport protocols by socket type.
PROTOCOLS = {STREAM: "tcp", DATAGRAM: "udp"}

#: Maximum characters quoted from a foreign file in one line: enough to find it again.
MAX_SHOWN = 200

#: Maximum of the daemon's own limits; a higher value counts as no limit.
MAX_CAP = 1_000_000

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_LITERAL = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]{1,15})?", re.ASCII)


@frozen(order=True)
class Place:
    """
    A position in a file.

    @ivar file: the file, as named by the user or the configuration.
    @ivar line: the 1-based line; 0 for the whole file.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Format as C{FILE:LINE}."""
        return f"{self.file}:{self.line}" if self.line else self.file


@frozen
class Remark:
    """
    A message about a place.

    @ivar place: the place.
    @ivar text: the message.
    @ivar is_loud: whether to print it on standard error, too: the service would be accessible to
        more or fewer peers than before.
    """

    place: Place
    text: str
    is_loud: bool = False

    def __str__(self) -> str:
        """Format as one line of ASCII, whatever the files contain."""
        return plain(f"{self.place}: {self.text}")


@frozen
class Address:
    """
    One listener.

    @ivar kind: C{tcp}, C{tcp6}, C{udp} or C{udp6}.
    @ivar port: the port.
    @ivar interface: an address or a host name; empty for the wildcard.
    """

    kind: str
    port: int
    interface: str = ""

    @property
    def host(self) -> str:
        """The interface in canonical form; empty for the wildcard."""
        family = socket.AF_INET6 if self.kind.endswith("6") else socket.AF_INET
        return canonical_host(self.interface, family)

    @property
    def is_optional(self) -> bool:
        """Whether to skip the listener on systems without IPv6, as super-servers do."""
        return self.kind.endswith("6") and not self.interface

    def __str__(self) -> str:
        """Format for C{listen} of the INI file."""
        escaped = self.interface.replace(":", r"\:")
        interface = f":interface={escaped}" if escaped else ""
        return f"{self.kind}:{self.port}{interface}{':optional=yes' if self.is_optional else ''}"


@frozen
class Service:
    """
    One entry that socketd can serve.

    @ivar name: one of L{PORTS}.
    @ivar label: the file's identifier among entries of that name.
    @ivar type: L{STREAM} or L{DATAGRAM}.
    @ivar place: its place in the file.
    @ivar addresses: the listeners.
    @ivar options: socketd options for both socket types.
    @ivar stream_options: socketd options for streams only.
    @ivar remarks: the parts of the entry without a counterpart.
    """

    name: str
    label: str
    type: str
    place: Place
    addresses: tuple[Address, ...]
    options: Mapping[str, str] = field(factory=dict)
    stream_options: Mapping[str, str] = field(factory=dict)
    remarks: tuple[Remark, ...] = ()


@define
class Findings:
    """
    The findings so far.

    @ivar files: the files that were read.
    @ivar services: the services that are converted.
    @ivar left: the services that are not converted, with reasons.
    @ivar off: the disabled services.
    @ivar problems: the errors in the files.
    @ivar remarks: the parts outside services that have no counterpart.
    @ivar hints: the places to which a general difference applies, by the words of C{HINTS}.
    """

    files: list[str] = field(factory=list)
    services: list[Service] = field(factory=list)
    left: list[Remark] = field(factory=list)
    off: list[Remark] = field(factory=list)
    problems: list[Remark] = field(factory=list)
    remarks: list[Remark] = field(factory=list)
    hints: dict[str, list[Place]] = field(factory=dict)
    _taken: dict[tuple[str, int], dict[str, Place]] = field(factory=dict)

    def problem(self, place: Place, text: str) -> None:
        """Record an error in a file."""
        self.problems.append(Remark(place, text))

    def leave(self, place: Place, text: str) -> None:
        """Record a service that is not converted."""
        self.left.append(Remark(place, text))

    def switched_off(self, place: Place, text: str) -> None:
        """Record a disabled service."""
        self.off.append(Remark(place, text))

    def remark(self, place: Place, text: str) -> None:
        """Record something outside services that has no counterpart."""
        self.remarks.append(Remark(place, text))

    def hint(self, word: str, place: Place) -> None:
        """Record a place to which a general difference applies."""
        self.hints.setdefault(word, []).append(place)

    def refuse(self, place: Place, label: str, problems: Iterable[Remark]) -> None:
        """Record the errors of a service, which is therefore not converted."""
        self.problems.extend(problems)
        self.leave(place, f"{label} has errors")

    def take(self, service: Service) -> None:
        """Record a service to convert; an address goes to the first service that uses it."""
        places = {address: self._holder(address) for address in service.addresses}
        free = tuple(address for address, place in places.items() if place is None)
        others = {address: place for address, place in places.items() if place is not None}
        if not free:
            first = next(iter(others.values()))
            self.leave(service.place, f"{service.label} is at the address of {first}")
            return
        for address in free:
            taken = self._taken.setdefault((address.kind, address.port), {})
            taken[address.host] = service.place
        left = [Remark(service.place, f"{a} is left to {place}") for a, place in others.items()]
        remarks = (*service.remarks, *left)
        self.services.append(evolve(service, addresses=free, remarks=remarks))

    def _holder(self, address: Address) -> Place | None:
        """
        Find the service that already uses an address, or an overlapping one (the wildcard overlaps
        all).
        """
        taken = self._taken.get((address.kind, address.port), {})
        if not address.host:
            return next(iter(taken.values()), None)
        return taken.get(address.host) or taken.get("")


def plain(text: str) -> str:
    """
    Sanitize text for a comment and for a terminal.

    @return: one line of ASCII, cut after twice L{MAX_SHOWN} characters: room for a quoted value
        and its context.
    """
    line = ascii_line(text)
    return line if len(line) <= 2 * MAX_SHOWN else line[: 2 * MAX_SHOWN] + "..."


def shown(words: Iterable[str]) -> str:
    """Quote words of a foreign file, cut after L{MAX_SHOWN} characters."""
    text = " ".join(words)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def port_of(name: str, protocol: str) -> int:
    """
    Look up the port of a service: in the system's list, which may differ, else in L{PORTS}.

    @param protocol: C{tcp} or C{udp}.
    """
    try:
        return socket.getservbyname(name, protocol)
    except OSError:
        return PORTS[name]


def parse_count(text: str) -> int:
    """
    Parse a whole number.

    @raise ValueError: when it is not a number up to 999999999.
    """
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(f"{shown([text])} is no number up to 999999999")
    return int(text)


def rate_options(count: int, unit: str) -> dict[str, str]:
    """
    Convert a rate limit of connections; 0 is no limit.

    The burst equals the count, because a super-server accepts all of them at once.

    @param unit: C{s} (per second) or C{m} (per minute).
    """
    if not count:
        return {}
    return {"accept_rate": f"{count}/{unit}", "accept_burst": str(min(count, MAX_CAP))}


def cap_option(option: str, count: int) -> dict[str, str]:
    """Convert a limit; 0 and values above L{MAX_CAP} are no limit."""
    return {option: str(count)} if 0 < count <= MAX_CAP else {}


def parse_interface(text: str) -> IPv4Address | IPv6Address | str:
    """
    Parse the address that a service binds to.

    @return: an address (IPv4 for an IPv4-mapped one), or a host name.
    @raise ValueError: when it is neither.
    """
    if _LITERAL.fullmatch(text) and (":" in text or text.replace(".", "").isdigit()):
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped or address
    if _HOST.fullmatch(text) is None:
        raise ValueError(f"{shown([text])} is neither an address nor a host name")
    return text


def bound(
    protocol: str, port: int, interface: str, families: tuple[str, ...], explicit: bool
) -> tuple[Address, ...]:
    """
    List the listeners of a service.

    @param protocol: C{tcp} or C{udp}.
    @param interface: an address or a host name; empty for the wildcard.
    @param families: C{4}, C{6} or both: the IP versions, unless the interface decides.
    @param explicit: whether the file names the families, so that the interface must match.
    @raise ValueError: when it does not match.
    """
    kinds = tuple(protocol + family.replace("4", "") for family in families)
    if not interface:
        return tuple(Address(kind, port) for kind in kinds)
    address = parse_interface(interface)
    if isinstance(address, str):
        # A name may have addresses of both families; the daemon resolves those of the listener's.
        chosen = kinds if explicit else kinds[:1]
        return tuple(Address(kind, port, address) for kind in chosen)
    family = str(address.version)
    if explicit and family not in families:
        raise ValueError(f"{address} is an IPv{family} address, and the service is not")
    return (Address(protocol + family.replace("4", ""), port, str(address)),)
