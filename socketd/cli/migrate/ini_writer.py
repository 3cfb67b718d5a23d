"""Writes the findings as an INI file of socketd."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from attrs import define, field

from socketd.cli.migrate.model import DATAGRAM, STREAM, Findings, ForeignService, Note, Place

#: C{udp_amplify} with which C{daytime} replies to every datagram; its line has 26 bytes.
DAYTIME_ANSWER = 32

#: Maximum length of a section name in characters.
MAX_NAME = 32

#: Section names that are not services.
RESERVED = ("socketd", "defaults")

#: Maximum columns of an option; longer values have one word per line.
MAX_LINE = 88

#: The general differences, with the options that change them.
DIFFERENCES = """\
; Differences from a super-server, and the options for them:
; - A stream ends after 5 minutes of silence and after an hour: idle_timeout, lifetime. A source
;   may have 20 connections, and 10 new ones per second: max_per_source, accept_rate.
; - udp_rate limits the replies to datagrams. Without allow, only loopback, private networks and
;   this machine's own addresses get any, because addresses can be forged. allow = any: all.
; - hosts.allow and hosts.deny are not read: allow, deny.
; - accept_rate limits each source, where cps and the number after wait or nowait limit a service
;   and then stop it. Connections above max_connections wait, those above max_per_source are reset.
; - tcp and udp of inetd are read as IPv4 and IPv6 (Debian, OpenBSD); for inetd of FreeBSD or GNU
;   remove tcp6 and udp6. tcp6 and udp6 are read as IPv6 only; for inetd of GNU add tcp and udp.
; - In only_from and no_access, 0.0.0.0 is any address, IPv6 too; localhost is 127.0.0.1 and ::1.
; - daytime is UTC: format. It replies to datagrams that are as long as its reply, or to all:
;   udp_amplify. chargen replies to a datagram with as many bytes.
; - Ports below 1024 need CAP_NET_BIND_SERVICE, or a socket unit of systemd.
"""


@define
class Section:
    """One section of the INI file, with the entries that share it; at least one."""

    name: str
    services: list[ForeignService] = field(factory=list)

    @property
    def protocol(self) -> str:
        """The protocol of the section."""
        return self.services[0].name

    @property
    def stream_options(self) -> Mapping[str, str]:
        """The options of the streams; empty without streams."""
        return next((s.stream_options for s in self.services if s.type == STREAM), {})

    @property
    def options(self) -> dict[str, str]:
        """All options, with those that make a protocol behave as in a super-server."""
        options = {**self.services[0].options, **self.stream_options}
        if self.protocol == "time":
            options["epoch"] = "1900"
        # Without allow, outside this machine only private networks get replies.
        has_datagrams = any(service.type == DATAGRAM for service in self.services)
        if self.protocol == "daytime" and has_datagrams and "allow" not in options:
            options["udp_amplify"] = str(DAYTIME_ANSWER)
        return options

    def fits(self, service: ForeignService) -> bool:
        """
        Check whether an entry can share the section: all shared options must be equal. Streams
        with C{max_connections} stay separate, since one section would have one limit for both.
        """
        first = self.services[0]
        if (service.name, service.options) != (first.name, first.options):
            return False
        if service.type == DATAGRAM or all(other.type == DATAGRAM for other in self.services):
            return True
        is_limited = "max_connections" in service.stream_options
        return not is_limited and service.stream_options == self.stream_options

    def notes(self) -> Iterator[Note]:
        """List what of the entries is not converted."""
        streams = self.stream_options
        for service in self.services:
            yield from service.notes
            if service.type == DATAGRAM:
                for option, value in service.stream_options.items():
                    if streams.get(option) != value:
                        yield Note(service.place, f"{option} = {value} for datagrams")


def join(services: Iterable[ForeignService]) -> list[Section]:
    """Group entries into sections: each joins the first section that it fits."""
    sections: list[Section] = []
    for service in services:
        fitting = [section for section in sections if section.fits(service)]
        if not fitting:
            names = {section.name for section in sections}
            fitting = [Section(_free_name(service, names))]
            sections += fitting
        fitting[0].services.append(service)
    for section in sections:
        section.services.sort(key=lambda service: service.type != STREAM)
    return sections


def write(
    findings: Findings, sections: Iterable[Section], without: Collection[tuple[str, str]] = ()
) -> str:
    """
    Generate the INI file, in ASCII, without the options (section and name) that are refused here.
    """
    lines = ["; Made by socketd import from:"]
    lines += [f";   {Place(file)}" for file in findings.files]
    lines += ["", *DIFFERENCES.splitlines(), "", *_comments(findings.notes)]
    for section in sections:
        lines += ["", *_section(section, without)]
    return "\n".join(lines) + "\n"


def _comments(notes: Iterable[Note]) -> Iterator[str]:
    yield from dict.fromkeys(f"; {note}" for note in notes)


def _section(section: Section, without: Collection[tuple[str, str]]) -> Iterator[str]:
    yield f"[{section.name}]"
    yield from (f"; From {service.place}" for service in section.services)
    if section.name != section.protocol:
        yield f"protocol = {section.protocol}"
    yield "listen ="
    yield from (f"    {address}" for service in section.services for address in service.addresses)
    refused = []
    for option, value in section.options.items():
        if (section.name, option) in without:
            refused.append(Note(section.services[0].place, f"{option} = {value}"))
        else:
            yield from _option(option, value)
    yield from _comments([*refused, *section.notes()])


def _option(option: str, value: str) -> Iterator[str]:
    line = f"{option} = {value}".rstrip()
    if len(line) <= MAX_LINE:
        yield line
    else:
        yield f"{option} ="
        yield from (f"    {word}" for word in value.split())


def _free_name(service: ForeignService, taken: Collection[str]) -> str:
    """Choose a section name: the protocol, else the label, else the protocol with a number."""
    label = re.sub(r"[^A-Za-z0-9._-]", "-", service.label).strip("-._")[:MAX_NAME]
    number = 2
    name = service.name
    while name in taken or name in RESERVED or not name:
        name, label = label, f"{service.name}-{number}"
        number += 1
    return name
