"""Writes the findings as an INI file of socketd."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from attrs import define, field

from socketd.cli.migrate.model import DATAGRAM, STREAM, Findings, Place, Remark, Service, plain

#: C{udp_amplify} with which C{daytime} replies to every datagram; its line has 26 bytes.
DAYTIME_ANSWER = 32

#: Maximum length of a section name in characters.
MAX_NAME = 32

#: Section names that are not services.
RESERVED = ("socketd", "defaults")

#: Maximum number of places listed per hint, since each file may have one.
MAX_PLACES = 3

#: Maximum columns of an option; longer values have one word per line.
MAX_LINE = 88

#: Ports below this are privileged (ip_unprivileged_port_start of ip-sysctl).
LOWEST_FREE_PORT = 1024

#: Hints on general differences, by the words of L{Findings.hint}; each is written once, in this
#: order.
HINTS = {
    "limits": (
        "Super-servers have no time limits. Here a stream ends after 5 minutes of silence",
        "and after an hour, and one source may have 20 connections, and 10 new ones in a second,",
        "where a section does not say otherwise: idle_timeout, lifetime, max_per_source,",
        "accept_rate. An answer over UDP is limited by udp_rate.",
    ),
    "ports": (
        "Ports below 1024 need a privilege: CAP_NET_BIND_SERVICE, or a socket unit of systemd.",
    ),
    "wrappers": (
        "hosts.allow and hosts.deny are not read, neither here nor by the daemon: write allow",
        "and deny where they were in use.",
    ),
    "datagrams": (
        "Where a section has no allow, datagrams are answered to loopback, private networks and",
        "this machine's own addresses only, because an address can be forged; a super-server",
        "answers all. With allow = any all are answered, within udp_rate.",
    ),
    "cps": (
        "cps counts the connections of a service and switches it off for a while. accept_rate",
        "counts those of each source by itself, and refuses what is above it.",
    ),
    "max": (
        "The number behind wait or nowait counts the connections of a service in a minute and",
        "switches it off for ten. accept_rate counts those of each source by itself, and refuses",
        "what is above it.",
    ),
    "instances": (
        "xinetd refuses connections above instances. Above max_connections they wait to be",
        "accepted; of one source, those above max_per_source are refused.",
    ),
    "any": ("0.0.0.0 was taken for any, IPv6 too, as xinetd.conf(5) has it.",),
    "localhost": (
        "xinetd asks the resolver whether a peer is localhost. Here that is 127.0.0.1 and ::1.",
    ),
    "plain": (
        "tcp and udp without a 4 or a 6 were read as Debian and OpenBSD have it: IPv4 and IPv6.",
        "For inetd of FreeBSD or GNU they are IPv4 only: take tcp6 and udp6 out then.",
    ),
    "mapped": (
        "tcp6 and udp6 were read as Debian, OpenBSD and FreeBSD have it: IPv6 only. For inetd of",
        "GNU they are IPv4 too, unless it is tcp6only: add tcp and udp then.",
    ),
    "daytime": (
        "daytime tells UTC in the form of ctime(3); super-servers tell local time, xinetd in a",
        "form of its own. See format in docs/options.md.",
    ),
    "short": (
        "daytime answers a datagram that is as long as the answer, or any where udp_amplify says",
        "so; that may not be together with public networks in allow.",
    ),
    "chargen": ("chargen answers a datagram with as much as it brought; an empty one with none.",),
}


@define
class Section:
    """
    One section of the INI file.

    @ivar name: the name of the section.
    @ivar services: the entries that share it; at least one.
    """

    name: str
    services: list[Service] = field(factory=list)

    @property
    def protocol(self) -> str:
        """The protocol of the section."""
        return self.services[0].name

    @property
    def options(self) -> Mapping[str, str]:
        """The options that all entries share."""
        return self.services[0].options

    @property
    def stream_options(self) -> Mapping[str, str]:
        """The options of the streams; empty without streams."""
        return next((s.stream_options for s in self.services if s.type == STREAM), {})

    @property
    def has_datagrams(self) -> bool:
        """Whether the section has a datagram listener."""
        return any(service.type == DATAGRAM for service in self.services)

    def fits(self, service: Service) -> bool:
        """
        Check whether an entry can share the section: all shared options must be equal.

        Streams with C{max_connections} stay separate, since one section would have one limit for
        both.
        """
        if (service.name, service.options) != (self.protocol, self.options):
            return False
        streams = [other for other in self.services if other.type == STREAM]
        if service.type == DATAGRAM or not streams:
            return True
        is_limited = "max_connections" in service.stream_options
        return not is_limited and service.stream_options == self.stream_options

    def remarks(self) -> Iterator[Remark]:
        """List the parts of the entries without a counterpart."""
        streams = self.stream_options
        for service in self.services:
            yield from service.remarks
            if service.type == DATAGRAM:
                other = {o: v for o, v in service.stream_options.items() if streams.get(o) != v}
                for option, value in other.items():
                    text = f"{option} = {value} is for connections; for datagrams see udp_rate"
                    yield Remark(service.place, text)


def join(services: Iterable[Service]) -> list[Section]:
    """
    Group entries into sections: each joins the first section that it fits, or starts a new one.
    """
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
    findings: Findings, sections: Iterable[Section], without: Mapping[tuple[str, str], str]
) -> str:
    """
    Generate the INI file.

    @param findings: the findings.
    @param sections: the sections, from L{join}.
    @param without: options that this machine rejects: reasons by section and option name.
    @return: the text of the file, in ASCII.
    """
    sections = list(sections)
    lines = ["; Made by socketd import from:"]
    lines += [f";   {plain(file)}" for file in findings.files]
    lines += _heading("What is different here:", _hints(findings, sections))
    lines += _heading("Not understood:", map(str, findings.problems))
    lines += _heading("Not taken:", map(str, findings.left))
    lines += _heading("Switched off:", map(str, findings.off))
    lines += _heading("Without a counterpart, for no service alone:", map(str, findings.remarks))
    for section in sections:
        refused = {o: why for (name, o), why in without.items() if name == section.name}
        lines += ["", *_section(section, refused)]
    return "\n".join(lines) + "\n"


def _heading(title: str, lines: Iterable[str]) -> list[str]:
    found = [f";   {line}" for line in lines]
    return ["", f"; {title}", *found] if found else []


def _hints(findings: Findings, sections: Collection[Section]) -> Iterator[str]:
    wanted: dict[str, list[Place]] = {"limits": [], "wrappers": [], **findings.hints}
    for word, applies in _CONDITIONS.items():
        if any(map(applies, sections)):
            wanted[word] = []
    for word, text in HINTS.items():
        if word in wanted:
            first, *rest = text
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
            yield from _places(wanted[word])


def _places(places: Collection[Place]) -> Iterator[str]:
    if places:
        some = [str(place) for place in dict.fromkeys(places)]
        more = ", ..." if len(some) > MAX_PLACES else ""
        yield plain(f"  ({', '.join(some[:MAX_PLACES])}{more})")


def _section(section: Section, refused: Mapping[str, str]) -> Iterator[str]:
    yield f"[{section.name}]"
    yield from (plain(f"; From {service.place}") for service in section.services)
    if section.name != section.protocol:
        yield f"protocol = {section.protocol}"
    yield "listen ="
    yield from (f"    {address}" for service in section.services for address in service.addresses)
    for option, value in {**section.options, **section.stream_options, **_own(section)}.items():
        if option in refused:
            yield plain(f"; {option} = {value}: {refused[option]}")
        else:
            yield from _option(option, value)
    yield from (f"; {remark}" for remark in section.remarks())


def _option(option: str, value: str) -> Iterator[str]:
    line = f"{option} = {value}".rstrip()
    if len(line) <= MAX_LINE:
        yield line
    else:
        yield f"{option} ="
        yield from (f"    {word}" for word in value.split())


def _own(section: Section) -> Mapping[str, str]:
    """Give the options that make a protocol behave as in a super-server."""
    if section.protocol == "time":
        return {"epoch": "1900"}
    if _amplifies(section):
        return {"udp_amplify": str(DAYTIME_ANSWER)}
    return {}


def _amplifies(section: Section) -> bool:
    # Without allow, outside this machine only private networks get replies.
    is_inside = "allow" not in section.options
    return section.protocol == "daytime" and section.has_datagrams and is_inside


_CONDITIONS: Mapping[str, Callable[[Section], bool]] = {
    "ports": lambda section: any(
        address.port < LOWEST_FREE_PORT
        for service in section.services
        for address in service.addresses
    ),
    "datagrams": lambda section: section.has_datagrams and "allow" not in section.options,
    "daytime": lambda section: section.protocol == "daytime",
    "short": lambda section: section.protocol == "daytime" and section.has_datagrams,
    "chargen": lambda section: section.protocol == "chargen" and section.has_datagrams,
}


def _free_name(service: Service, taken: Collection[str]) -> str:
    """
    Choose a section name: the protocol, else the entry's label, else the protocol with a number.
    """
    label = re.sub(r"[^A-Za-z0-9._-]", "-", service.label).strip("-._")[:MAX_NAME]
    number = 2
    name = service.name
    while name in taken or name in RESERVED or not name:
        name, label = label, f"{service.name}-{number}"
        number += 1
    return name
