"""Reads inetd.conf of OpenBSD (also Debian's), FreeBSD and GNU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from socketd.cli.migrate.model import (
    MAX_CAP,
    PORTS,
    PROTOCOLS,
    Address,
    Findings,
    Place,
    Remark,
    Service,
    bound,
    cap_option,
    parse_count,
    port_of,
    rate_options,
    shown,
)

INTERNAL = "internal"
FIELDS = "name, type, protocol, wait or nowait, user, program"
#: Prefix of a disabled entry, written by Debian's update-inetd.
SWITCHED_OFF = "#<off>#"

#: Prefix of an IPsec policy, which FreeBSD applies to all following lines.
POLICY = "#@"

#: The wildcard host.
ALL = "*"

#: IP versions by the suffix of C{tcp} and C{udp}.
FAMILIES = {"": ("4", "6"), "4": ("4",), "6": ("6",), "6only": ("6",), "46": ("4", "6")}

BUFFERS = {"rcvbuf": "so_rcvbuf", "sndbuf": "so_sndbuf"}
UNITS = {"": "", "k": "KiB", "m": "MiB"}

_BLANK = " \t\r\f\v"
_WORD = re.compile(rf"[^{_BLANK}]+")
_PROTOCOL = re.compile(r"(tcp|udp)(46|4|6only|6|)((?:/[a-z0-9]+)*)((?:,[a-z]+=[0-9]+[km]?)*)")
_BUFFER = re.compile(r",([a-z]+)=([0-9]{1,9})([km]?)(?=,|$)")
_WAIT = re.compile(r"(no)?wait(?:([.:/])([0-9]{1,9})(?:/([0-9]{1,9}))?(?:/([0-9]{1,9}))?)?")


@frozen
class Row:
    """
    One entry of inetd.conf.

    @ivar hosts: the addresses to bind; C{*} is the wildcard.
    @ivar fields: the fields without the hosts; at least six.
    """

    place: Place
    hosts: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def label(self) -> str:
        """The entry's name in messages."""
        return shown([f"{self.fields[0]}/{self.fields[2]}"])


def read(lines: list[str], file: str, findings: Findings) -> None:
    """
    Parse a file, and add each entry to the findings.

    @param lines: the lines of the file.
    """
    findings.files.append(file)
    rows = list(_rows(lines, file, findings))
    # If tcp and tcp6 have a line each, tcp is IPv4 only.
    split = {(row.fields[0], row.fields[2][:3]) for row in rows if "6" in row.fields[2][3:6]}
    by_4 = {(row.fields[0], row.fields[2][:3]) for row in rows if _has_4(row.fields[2])}
    for row in rows:
        is_split = (row.fields[0], row.fields[2]) in split
        is_alone = (row.fields[0], row.fields[2][:3]) not in by_4
        _Reading(findings, row, is_split, is_alone).sort_in()


def _has_4(protocol: str) -> bool:
    match = _PROTOCOL.fullmatch(protocol)
    return match is not None and "4" in FAMILIES[match[2]]


def _rows(lines: list[str], file: str, findings: Findings) -> Iterator[Row]:
    default: tuple[str, ...] = (ALL,)
    for place, text in _joined(lines, file):
        if text.startswith(SWITCHED_OFF):
            words = _WORD.findall(text.removeprefix(SWITCHED_OFF))
            findings.switched_off(place, f"{shown(words[:3])} is switched off by {SWITCHED_OFF}")
        elif text.startswith(POLICY) and text.removeprefix(POLICY).strip(_BLANK):
            words = _WORD.findall(text.removeprefix(POLICY))
            findings.remark(place, f"{shown(words)}: the daemon sets no IPsec policy")
        elif not text.startswith("#"):
            first, *fields = _WORD.findall(text)
            hosts, colon, name = first.rpartition(":")
            if colon and not name and fields:
                name, *fields = fields
            chosen = tuple(hosts.strip("[]").split(",")) if colon else default
            if not name:
                default = chosen
            elif len(fields) < 5:
                text = f"{shown([first, *fields])} has too few fields: {FIELDS} would be right"
                findings.problem(place, text)
            else:
                yield Row(place, chosen, (name, *fields))


def _joined(lines: Iterable[str], file: str) -> Iterator[tuple[Place, str]]:
    """Join continuation lines, which begin with white space, to their entries."""
    current: tuple[Place, list[str]] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip(_BLANK)
        is_entry = bool(text) and not text.startswith("#")
        if current and is_entry and line[0] in _BLANK:
            current[1].append(text)
            continue
        if current and (text or not line):
            yield current[0], " ".join(current[1])
            current = None
        if is_entry:
            current = Place(file, number), [text]
        elif text:
            yield Place(file, number), text
    if current:
        yield current[0], " ".join(current[1])


@define
class _Reading:
    """
    The conversion of one entry.

    @ivar is_split: whether IPv6 has a separate line.
    @ivar is_alone: whether IPv4 has no line.
    """

    findings: Findings
    row: Row
    is_split: bool
    is_alone: bool
    problems: list[Remark] = field(factory=list)
    remarks: list[Remark] = field(factory=list)

    def sort_in(self) -> None:
        """Add the service to the findings, or the reason why it is not converted."""
        row = self.row
        reason = self._reason()
        if reason:
            self.findings.leave(row.place, f"{row.label} {reason}")
            return
        service = self._service()
        if service is None:
            self.findings.refuse(row.place, row.label, self.problems)
        else:
            self.findings.take(service)

    def _reason(self) -> str:
        """Give the reason why the service is not supported; empty if it is."""
        name, _, protocol, _, _, program, *_ = self.row.fields
        if protocol.startswith("rpc/"):
            return "is a service of RPC, which the daemon has not"
        if program != INTERNAL:
            return f"starts the program {shown([program])}; the daemon starts none"
        if name not in PORTS:
            return "is built into inetd, and not into the daemon"
        return ""

    def _wrong(self, text: str) -> None:
        self.problems.append(Remark(self.row.place, f"{self.row.label}: {text}"))

    def _remark(self, text: str) -> None:
        self.remarks.append(Remark(self.row.place, text))

    def _service(self) -> Service | None:
        name, kind, protocol, wait, user, *_ = self.row.fields
        if kind not in PROTOCOLS:
            self._wrong(f"{shown([kind])} is no type of socket; stream or dgram would be right")
        match = _PROTOCOL.fullmatch(protocol)
        if match is None or match[1] != PROTOCOLS.get(kind, match[1]):
            self._wrong(f"{shown([protocol])} is no protocol of type {shown([kind])}")
            match = None
        streams = self._limits(wait)
        options = self._buffers(match[4]) if match else {}
        addresses = self._addresses(match[1], match[2]) if match else ()
        self._remark(f"user {shown([user])}: the daemon has one user for all services")
        if match and match[3]:
            self._remark(f"{shown([match[3]])} behind {match[1]} has no counterpart")
        if self.problems:
            return None
        label = f"{name}-{kind}"
        return Service(
            name, label, kind, self.row.place, addresses, options, streams, tuple(self.remarks)
        )

    def _addresses(self, protocol: str, suffix: str) -> tuple[Address, ...]:
        families = FAMILIES[suffix]
        if not suffix and self.is_split:
            families = ("4",)
        elif not suffix:
            self.findings.hint("plain", self.row.place)
        elif suffix == "6" and self.is_alone:
            self.findings.hint("mapped", self.row.place)
        port = port_of(self.row.fields[0], protocol)
        found: list[Address] = []
        for host in self.row.hosts:
            interface = "" if host == ALL else host
            explicit = bool(suffix) or self.is_split
            if not host:
                self._wrong("there is no host in front of the colon")
                continue
            try:
                found += bound(protocol, port, interface, families, explicit)
            except ValueError as error:
                self._wrong(str(error))
        return tuple(found)

    def _buffers(self, text: str) -> dict[str, str]:
        options: dict[str, str] = {}
        found = _BUFFER.findall(text)
        for name, size, unit in found:
            if name in BUFFERS and int(size):
                options[BUFFERS[name]] = f"{int(size)}{UNITS[unit]}"
            else:
                self._wrong(f"{name}={size}{unit} is no size of a buffer")
        if len(found) != text.count(","):
            self._wrong(f"{shown([text])} is no size of a buffer")
        return options

    def _limits(self, wait: str) -> dict[str, str]:
        """
        Parse the limits after C{wait}: C{.MAX} is a rate limit per minute (OpenBSD, GNU);
        C{/CHILDREN/CONNECTIONS/CHILDREN} are the total, the rate per source and minute, and the
        total per source (FreeBSD; 0 is no limit).
        """
        match = _WAIT.fullmatch(wait)
        if match is None:
            self._wrong(f"{shown([wait])} is neither wait nor nowait")
            return {}
        _, mark, *numbers = match.groups()
        counts = [parse_count(number) for number in numbers if number is not None]
        if mark is None:
            return {}
        if mark != "/":
            if len(counts) > 1:
                self._wrong(f"{shown([wait])} has more than one number")
            self.findings.hint("max", self.row.place)
            return rate_options(counts[0], "m")
        children, connections, of_one = (counts + [0, 0])[:3]
        for count in (children, of_one):
            if count > MAX_CAP:
                self._wrong(f"{count} is above {MAX_CAP}, the most that the daemon counts")
        return (
            cap_option("max_connections", children)
            | rate_options(connections, "m")
            | cap_option("max_per_source", of_one)
        )
