"""
What the configuration of a super-server (xinetd, inetd) comes to: services that the daemon has
too, and everything that it has not, with the file and the line where it stands.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import define, evolve, field, frozen

from socketd.cli.common.sanitize import one_line
from socketd.settings.listeners import canonical_host

PORTS = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37}
"""
The services that super-servers have built in and the daemon has too, at their assigned ports
(RFC 862, 863, 864, 867, 868).
"""

STREAM = "stream"
DATAGRAM = "dgram"
PROTOCOLS = {STREAM: "tcp", DATAGRAM: "udp"}
"""
The types of socket, and what is spoken over them.
"""

MAX_SHOWN = 200
"""
So many characters of somebody else's file are repeated in one line: enough to find it again.
"""

MAX_CAP = 1_000_000
"""
The most that the daemon's own limits take; above it a limit is none.
"""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_LITERAL = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]{1,15})?", re.ASCII)


@frozen(order=True)
class Place:
    """
    Where something stands.

    @ivar file: the file, as it was named.
    @ivar line: its line, 1-based; 0 where it is the whole file.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        """
        Write it as C{FILE:LINE}.
        """
        return f"{self.file}:{self.line}" if self.line else self.file


@frozen
class Remark:
    """
    Something to be said of a place.

    @ivar place: the place.
    @ivar text: what is said.
    @ivar is_loud: whether somebody has to know it who does not read the result: the service would
        be served to more, or to fewer, than before.
    """

    place: Place
    text: str
    is_loud: bool = False

    def __str__(self) -> str:
        """
        Write it in one line of ASCII, whatever the files hold.
        """
        return plain(f"{self.place}: {self.text}")


@frozen
class Address:
    """
    One listener.

    @ivar kind: C{tcp}, C{tcp6}, C{udp} or C{udp6}.
    @ivar port: the port.
    @ivar interface: an address or a host name; empty for all.
    """

    kind: str
    port: int
    interface: str = ""

    @property
    def host(self) -> str:
        """
        The interface in one spelling; empty for all.
        """
        family = socket.AF_INET6 if self.kind.endswith("6") else socket.AF_INET
        return canonical_host(self.interface, family)

    @property
    def is_optional(self) -> bool:
        """
        Whether to go without it where there is no IPv6, as super-servers do.
        """
        return self.kind.endswith("6") and not self.interface

    def __str__(self) -> str:
        """
        Write it as an INI file has it.
        """
        escaped = self.interface.replace(":", r"\:")
        interface = f":interface={escaped}" if escaped else ""
        return f"{self.kind}:{self.port}{interface}{':optional=yes' if self.is_optional else ''}"


@frozen
class Service:
    """
    One entry that the daemon can serve.

    @ivar name: one of L{PORTS}.
    @ivar label: how the file tells it from others of that name.
    @ivar type: L{STREAM} or L{DATAGRAM}.
    @ivar place: where it stands.
    @ivar addresses: its listeners.
    @ivar options: options of ours that both types of socket have.
    @ivar stream_options: options of ours that only streams have.
    @ivar remarks: what of the entry has no counterpart.
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
    What was found so far.

    @ivar files: the files that were read.
    @ivar services: what can be served.
    @ivar left: services that are not taken, and why.
    @ivar off: services that are switched off.
    @ivar problems: what is wrong with the files.
    @ivar remarks: what belongs to no service and has no counterpart.
    @ivar hints: what differs, by a word for it, with the places that make it worth saying.
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
        """
        Note what is wrong with a file.
        """
        self.problems.append(Remark(place, text))

    def leave(self, place: Place, text: str) -> None:
        """
        Note a service that is not taken.
        """
        self.left.append(Remark(place, text))

    def switched_off(self, place: Place, text: str) -> None:
        """
        Note a service that is there and not in use.
        """
        self.off.append(Remark(place, text))

    def remark(self, place: Place, text: str) -> None:
        """
        Note what has no counterpart and belongs to no service.
        """
        self.remarks.append(Remark(place, text))

    def hint(self, word: str, place: Place) -> None:
        """
        Note a place that makes a general difference worth saying.
        """
        self.hints.setdefault(word, []).append(place)

    def refuse(self, place: Place, label: str, problems: Iterable[Remark]) -> None:
        """
        Note all that is wrong with one service, which is not taken for it.
        """
        self.problems.extend(problems)
        self.leave(place, f"{label} has errors")

    def take(self, service: Service) -> None:
        """
        Note a service that can be served; of two at one address the first has it.
        """
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
        Find who has an address already, or the one that stands for all, or one of these.
        """
        taken = self._taken.get((address.kind, address.port), {})
        if not address.host:
            return next(iter(taken.values()), None)
        return taken.get(address.host) or taken.get("")


def plain(text: str) -> str:
    """
    Make any text fit for a comment and for a terminal.

    @return: one line of ASCII, L{MAX_SHOWN} characters and what stands around a value at most.
    """
    line = one_line(text).encode("ascii", "backslashreplace").decode("ascii")
    return line if len(line) <= 2 * MAX_SHOWN else line[: 2 * MAX_SHOWN] + "..."


def shown(words: Iterable[str]) -> str:
    """
    Repeat somebody's words, but not without end.
    """
    text = " ".join(words)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def port_of(name: str, protocol: str) -> int:
    """
    Look up where one of L{PORTS} is: in the system's list, for it may differ, or in ours.

    @param protocol: C{tcp} or C{udp}.
    """
    try:
        return socket.getservbyname(name, protocol)
    except OSError:
        return PORTS[name]


def parse_count(text: str) -> int:
    """
    Read a whole number.

    @raise ValueError: where it is none.
    """
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(f"{shown([text])} is no number up to 999999999")
    return int(text)


def rate_options(count: int, unit: str) -> dict[str, str]:
    """
    Write a limit of so many connections per second or minute; 0 is none.

    All of them may come at once, as they may at a super-server.

    @param unit: C{s} or C{m}.
    """
    if not count:
        return {}
    return {"accept_rate": f"{count}/{unit}", "accept_burst": str(min(count, MAX_CAP))}


def cap_option(option: str, count: int) -> dict[str, str]:
    """
    Write a limit; 0 and what the daemon cannot count up to are none.
    """
    return {option: str(count)} if 0 < count <= MAX_CAP else {}


def parse_interface(text: str) -> IPv4Address | IPv6Address | str:
    """
    Read where a service is bound.

    @return: an address, an IPv4-mapped one as the IPv4 address that it is; or a host name.
    @raise ValueError: where it is neither.
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
    @param interface: an address, a host name, or nothing for all.
    @param families: C{4}, C{6} or both: what it is served over where the interface does not say.
    @param explicit: whether the file gives the families, so that the interface has to fit.
    @raise ValueError: where it does not.
    """
    kinds = tuple(protocol + family.replace("4", "") for family in families)
    if not interface:
        return tuple(Address(kind, port) for kind in kinds)
    address = parse_interface(interface)
    if isinstance(address, str):
        # One name may have addresses of both families; the daemon looks up those of the kind.
        chosen = kinds if explicit else kinds[:1]
        return tuple(Address(kind, port, address) for kind in chosen)
    family = str(address.version)
    if explicit and family not in families:
        raise ValueError(f"{address} is an IPv{family} address, and the service is not")
    return (Address(protocol + family.replace("4", ""), port, str(address)),)
