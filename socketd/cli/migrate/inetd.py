"""Reads inetd.conf of OpenBSD (also Debian's), FreeBSD and GNU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import frozen

from socketd.cli.migrate import model

INTERNAL = "internal"

#: Prefix of a disabled entry, written by Debian's update-inetd.
OFF = "#<off>#"

#: Prefix of an IPsec policy, which FreeBSD applies to all following lines.
POLICY = "#@"

#: The wildcard host.
ALL = "*"

#: IP versions by the suffix of C{tcp} and C{udp}.
FAMILIES = {"": ("4", "6"), "4": ("4",), "6": ("6",), "6only": ("6",), "46": ("4", "6")}

BUFFERS = {"rcvbuf": "so_rcvbuf", "sndbuf": "so_sndbuf"}
UNITS = {"": "", "k": "KiB", "m": "MiB"}

#: Fields of an entry: service, socket type, protocol, wait or nowait, user, program.
LEAST_FIELDS = 6

_PROTOCOL = re.compile(r"(tcp|udp)(46|4|6only|6|)((?:/[a-z0-9]+)*)((?:,[a-z]+=[0-9]+[km]?)*)")
_BUFFER = re.compile(r",([a-z]+)=([0-9]{1,9})([km]?)(?=,|$)")
_WAIT = re.compile(r"(no)?wait(?:([.:/])([0-9]{1,9})(?:/([0-9]{1,9}))?(?:/([0-9]{1,9}))?)?")


@frozen
class Row:
    """One entry of inetd.conf; host C{*} is the wildcard, the fields are without the hosts."""

    place: model.Place
    hosts: tuple[str, ...]
    fields: tuple[str, ...]


def read(lines: list[str], file: str, findings: model.Findings) -> None:
    """Parse a file, and add each entry to the findings."""
    findings.files.append(file)
    rows = list(_rows(lines, file, findings))
    # If tcp and tcp6 have a line each, tcp is IPv4 only.
    split = {(row.fields[0], row.fields[2][:3]) for row in rows if "6" in row.fields[2][3:6]}
    for row in rows:
        name, _, protocol, _, _, program, *_ = row.fields
        is_supported = (
            program == INTERNAL and name in model.PORTS and not protocol.startswith("rpc/")
        )
        service = None
        if is_supported:
            try:
                service = _service(row, (name, protocol) in split)
            except ValueError:
                pass
        if service is not None:
            findings.take(service)
        else:
            findings.leave(row.place, f"service {' '.join(row.fields)}", is_loud=is_supported)


def _rows(lines: list[str], file: str, findings: model.Findings) -> Iterator[Row]:
    default: tuple[str, ...] = (ALL,)
    for place, text in _joined(lines, file):
        if text.startswith(OFF):
            words = model.WORD.findall(text.removeprefix(OFF))
            findings.switched_off(place, f"service {' '.join(words)}")
        elif text.startswith(POLICY) and text.removeprefix(POLICY).strip(model.BLANK):
            findings.note(place, text, is_loud=True)
        elif not text.startswith("#"):
            first, *fields = model.WORD.findall(text)
            hosts, colon, name = first.rpartition(":")
            if colon and not name and fields:
                name, *fields = fields
            chosen = tuple(hosts.strip("[]").split(",")) if colon else default
            if not name:
                default = chosen
            elif len(fields) + 1 < LEAST_FIELDS:
                findings.note(place, text, is_loud=True)
            else:
                yield Row(place, chosen, (name, *fields))


def _joined(lines: Iterable[str], file: str) -> Iterator[tuple[model.Place, str]]:
    """Join continuation lines, which begin with white space, to their entries."""
    current: tuple[model.Place, list[str]] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip(model.BLANK)
        is_entry = bool(text) and not text.startswith("#")
        if current and is_entry and line[0] in model.BLANK:
            current[1].append(text)
            continue
        if current and (text or not line):
            yield current[0], " ".join(current[1])
            current = None
        if is_entry:
            current = model.Place(file, number), [text]
        elif text:
            yield model.Place(file, number), text
    if current:
        yield current[0], " ".join(current[1])


def _service(row: Row, is_split: bool) -> model.ForeignService:
    """Convert an entry, or raise C{ValueError}; split: IPv6 has a separate line."""
    name, socket_type, protocol, wait, user, *_ = row.fields
    match = _PROTOCOL.fullmatch(protocol)
    if match is None or match[1] != model.PROTOCOLS.get(socket_type):
        raise ValueError(protocol)
    transport, suffix, variant, buffers = match.groups()
    notes = [model.Note(row.place, f"user {user}")]
    if variant:
        notes.append(model.Note(row.place, transport + variant))
    return model.ForeignService(
        name,
        f"{name}-{socket_type}",
        socket_type,
        row.place,
        _addresses(row, transport, suffix, is_split),
        _buffers(buffers),
        _limits(wait),
        tuple(notes),
    )


def _addresses(
    row: Row, protocol: str, suffix: str, is_split: bool
) -> tuple[model.ListenAddress, ...]:
    families = ("4",) if is_split and not suffix else FAMILIES[suffix]
    port = model.port_of(row.fields[0], protocol)
    found: list[model.ListenAddress] = []
    for host in row.hosts:
        if not host:
            raise ValueError("a comma or a colon without a host")
        interface = "" if host == ALL else host
        found += model.bound(protocol, port, interface, families, bool(suffix) or is_split)
    return tuple(found)


def _buffers(text: str) -> dict[str, str]:
    found = _BUFFER.findall(text)
    if len(found) != text.count(",") or any(
        name not in BUFFERS or not int(size) for name, size, _ in found
    ):
        raise ValueError(text)
    return {BUFFERS[name]: f"{int(size)}{UNITS[unit]}" for name, size, unit in found}


def _limits(wait: str) -> dict[str, str]:
    """
    Parse the limits after C{wait}: C{.MAX} is a rate limit per minute (OpenBSD, GNU);
    C{/CHILDREN/CONNECTIONS/CHILDREN} are the total, the rate per source and minute, and the total
    per source (FreeBSD; 0 is no limit).
    """
    match = _WAIT.fullmatch(wait)
    if match is None:
        raise ValueError(wait)
    _, mark, *numbers = match.groups()
    counts = [model.parse_count(number) for number in numbers if number is not None]
    if mark is None:
        return {}
    if mark != "/":
        if len(counts) > 1:
            raise ValueError(wait)
        return model.rate_options(counts[0], "m")
    children, connections, of_one = (counts + [0, 0])[:3]
    if max(children, of_one) > model.MAX_CAP:
        raise ValueError(wait)
    limits = {"max_connections": str(children)} if children else {}
    limits |= model.rate_options(connections, "m")
    return limits | {"max_per_source": str(of_one)} if of_one else limits
