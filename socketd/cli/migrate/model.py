"""What is found in the configuration of a super-server (xinetd, inetd), whichever it is."""

from __future__ import annotations

import re
import socket
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import define, evolve, field, frozen

from socketd.common.host_names import is_host_name
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

NOT_CONVERTED = "not converted"
SWITCHED_OFF = "switched off"
NOT_READ = "not read"

#: White space in a line of a super-server's file, and what it separates.
BLANK = " \t\r\f\v"
WORD = re.compile(rf"[^{BLANK}]+")

_LITERAL = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]{1,15})?", re.ASCII)


@frozen(order=True)
class Place:
    """A line of a file, 1-based; 0 is the whole file."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """Format as C{FILE:LINE}, in ASCII."""
        return ascii_line(f"{self.file}:{self.line}" if self.line else self.file)


@frozen
class Note:
    """
    One line about an attribute, service or file that the result does not have.

    @ivar is_loud: whether it also goes to standard error: it is an error, or the service would be
        accessible to more or fewer peers than before.
    """

    place: Place
    text: str
    is_loud: bool = False
    verb: str = NOT_CONVERTED

    def __str__(self) -> str:
        """Format as one line of ASCII, whatever the files contain."""
        return f"{self.verb}: {shown(self.text)} ({self.place})"


@frozen
class ListenAddress:
    """
    One listener of a service; its interface is an address or a host name, empty for the wildcard.
    """

    transport: str
    port: int
    interface: str = ""

    @property
    def host(self) -> str:
        """The interface in canonical form; empty for the wildcard."""
        family = socket.AF_INET6 if self.transport.endswith("6") else socket.AF_INET
        return canonical_host(self.interface, family)

    def __str__(self) -> str:
        """Format for C{listen} of the INI file."""
        text = f"{self.transport}:{self.port}"
        if self.interface:
            return text + ":interface=" + self.interface.replace(":", r"\:")
        # As super-servers do, skip the listener on systems without IPv6.
        return f"{text}:optional=yes" if self.transport.endswith("6") else text


@frozen
class ForeignService:
    """
    One entry that socketd can serve: a name of L{PORTS}, the file's identifier among entries of
    that name, and options of socketd, for both socket types and for streams.
    """

    name: str
    label: str
    type: str
    place: Place
    addresses: tuple[ListenAddress, ...]
    options: Mapping[str, str] = field(factory=dict)
    stream_options: Mapping[str, str] = field(factory=dict)
    notes: tuple[Note, ...] = ()


@define
class Findings:
    """What was found so far, and how many services are not converted or switched off."""

    files: list[str] = field(factory=list)
    services: list[ForeignService] = field(factory=list)
    notes: list[Note] = field(factory=list)
    left: int = 0
    off: int = 0
    _taken: dict[tuple[str, int], set[str]] = field(factory=partial(defaultdict, set))

    def note(
        self, place: Place, text: str, is_loud: bool = False, verb: str = NOT_CONVERTED
    ) -> None:
        """Record something that is not converted."""
        self.notes.append(Note(place, text, is_loud, verb))

    def leave(self, place: Place, text: str, is_loud: bool = False) -> None:
        """Record a service that is not converted."""
        self.left += 1
        self.note(place, text, is_loud)

    def switched_off(self, place: Place, text: str) -> None:
        """Record a service that is switched off."""
        self.off += 1
        self.note(place, text, verb=SWITCHED_OFF)

    def take(self, service: ForeignService) -> None:
        """Record a service to convert; an address goes to the first service that uses it."""
        free = tuple(one for one in service.addresses if not self._is_taken(one))
        if not free:
            self.leave(service.place, f"service {service.label}")
            return
        for address in free:
            self._taken[address.transport, address.port].add(address.host)
        others = [Note(service.place, str(a)) for a in service.addresses if a not in free]
        self.services.append(evolve(service, addresses=free, notes=(*service.notes, *others)))

    def _is_taken(self, address: ListenAddress) -> bool:
        """Check whether a service has the address; the wildcard overlaps all."""
        taken = self._taken[address.transport, address.port]
        return bool(taken) if not address.host else address.host in taken or "" in taken


def shown(text: str) -> str:
    """Quote text of a foreign file: one line of ASCII, cut after L{MAX_SHOWN} characters."""
    line = ascii_line(text[: MAX_SHOWN + 1])
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "..."


def port_of(name: str, protocol: str) -> int:
    """Look up the port of a service: in the system's list, which may differ, else in L{PORTS}."""
    try:
        return socket.getservbyname(name, protocol)
    except OSError:
        return PORTS[name]


def parse_count(text: str) -> int:
    """Parse a whole number up to 999999999; C{ValueError} for anything else."""
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(text)
    return int(text)


def rate_options(count: int, unit: str) -> dict[str, str]:
    """
    Convert a rate limit of connections, per C{s} or C{m}; 0 is no limit. The burst equals the
    count, because a super-server accepts all of them at once.
    """
    if not count:
        return {}
    return {"accept_rate": f"{count}/{unit}", "accept_burst": str(min(count, MAX_CAP))}


def parse_interface(text: str) -> IPv4Address | IPv6Address | str:
    """Parse an address (an IPv4-mapped one to IPv4) or a host name, or raise C{ValueError}."""
    if _LITERAL.fullmatch(text) and (":" in text or text.replace(".", "").isdigit()):
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped or address
    if not is_host_name(text.lower()):
        raise ValueError(text)
    return text


def bound(
    protocol: str, port: int, interface: str, families: Iterable[str], explicit: bool
) -> tuple[ListenAddress, ...]:
    """
    List the listeners of a service.

    @param interface: an address or a host name; empty for the wildcard.
    @param families: C{4}, C{6} or both: the IP versions, unless the interface decides.
    @param explicit: whether the file names the families, so that the interface must match.
    @raise ValueError: when it does not match.
    """
    transports = {family: protocol + family.replace("4", "") for family in families}
    if not interface:
        return tuple(ListenAddress(transport, port) for transport in transports.values())
    address = parse_interface(interface)
    if isinstance(address, str):
        # A name may have addresses of both families; the daemon resolves those of the listener's.
        chosen = list(transports.values())[: None if explicit else 1]
        return tuple(ListenAddress(transport, port, address) for transport in chosen)
    family = str(address.version)
    if explicit and family not in transports:
        raise ValueError(interface)
    return (ListenAddress(protocol + family.replace("4", ""), port, str(address)),)
