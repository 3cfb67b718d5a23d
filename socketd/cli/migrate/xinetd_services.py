"""Converts services of xinetd: which are supported, and how their attributes map to options."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

from attrs import define, field

from socketd.cli.migrate.model import (
    DATAGRAM,
    MAX_CAP,
    PORTS,
    PROTOCOLS,
    STREAM,
    Address,
    Findings,
    Place,
    Remark,
    Service,
    bound,
    cap_option,
    parse_count,
    parse_interface,
    port_of,
    rate_options,
    shown,
)
from socketd.cli.migrate.xinetd_addresses import ANY, LOCALHOST, Network, written
from socketd.cli.migrate.xinetd_attributes import KNOWN, LOUD, PROGRAM, why
from socketd.cli.migrate.xinetd_files import ACCESS, INHERITED, Draft, Reader
from socketd.cli.migrate.xinetd_syntax import Attribute

UNLIMITED = "UNLIMITED"
MAX_PORT = 65535

OPTIONS = {"only_from": "allow", "no_access": "deny"}
#: Limits: socketd options by xinetd attribute.
CAPS = {"instances": "max_connections", "per_source": "max_per_source"}

#: Attributes that are converted here; L{why} explains the others.
USED = frozenset(
    ("socket_type", "protocol", "type", "id", "port", "disable", "flags", *INHERITED, *ACCESS)
)

#: The flags of xinetd.conf(5) in upper case, with the reasons for those that are not converted.
FLAGS = {
    "REUSE": "it is always so here",
    "INTERCEPT": PROGRAM,
    "NORETRY": PROGRAM,
    "IDONLY": "the daemon asks nobody who the peer is",
    "NAMEINARGS": PROGRAM,
    "NODELAY": "it is for streams",
    "KEEPALIVE": "it is for streams",
    "NOLIBWRAP": "the daemon does not ask hosts.allow and hosts.deny",
    "LABELED": PROGRAM,
    "SENSOR": "the daemon has no sensors",
    "IPV4": "",
    "IPV6": "",
}

STREAM_FLAGS = {"NODELAY": "tcp_nodelay", "KEEPALIVE": "so_keepalive"}


def find(reader: Reader) -> None:
    """Convert all services that were read, and add each to the findings."""
    for draft in reader.drafts:
        _Reading(reader, draft).sort_in()
    ids = {draft.id for draft in reader.drafts}
    for switch, named in reader.switches.items():
        for name, place in named.items():
            if name not in ids:
                text = f"{switch} has {shown([name])}, and there is no such service"
                reader.findings.remark(place, text)


@define
class _Reading:
    """The conversion of one service."""

    reader: Reader
    draft: Draft
    problems: list[Remark] = field(factory=list)
    remarks: list[Remark] = field(factory=list)

    @property
    def findings(self) -> Findings:
        """The findings of the reader."""
        return self.reader.findings

    def sort_in(self) -> None:
        """Add the service to the findings, or the reason why it is not converted."""
        draft, findings = self.draft, self.findings
        label = shown([draft.label])
        off = self._off()
        if off:
            findings.switched_off(draft.place, f"{label} is switched off: {off}")
        elif reason := self._reason():
            findings.leave(draft.place, f"{label} {reason}")
        else:
            self.problems += [Remark(*problem) for problem in draft.problems]
            service = self._service()
            if self.problems:
                findings.refuse(draft.place, label, self.problems)
            elif service is not None:
                findings.take(service)

    def _values(self, name: str) -> tuple[str, ...]:
        attribute = self._attribute(name)
        return attribute.values if attribute else ()

    def _words(self, name: str) -> tuple[str, ...]:
        """Get the values of an attribute in upper case, for case-insensitive comparison."""
        return tuple(map(str.upper, self._values(name)))

    def _attribute(self, name: str) -> Attribute | None:
        own = self.draft.attributes.get(name)
        return own or (self.reader.defaults.get(name) if name in INHERITED else None)

    def _wrong(self, name: str, text: str) -> None:
        attribute = self._attribute(name)
        place = attribute.place if attribute else self.draft.place
        self.problems.append(Remark(place, f"{shown([self.draft.label])}, {name}: {text}"))

    def _one(self, name: str) -> str:
        values = self._values(name)
        if self._attribute(name) and len(values) != 1:
            self._wrong(name, f"has {len(values)} values; one would be right")
        return values[0] if len(values) == 1 else ""

    def _off(self) -> str:
        """Give the reason why the service is disabled; empty if it is enabled."""
        switches = self.reader.switches
        if self._words("disable") == ("YES",):
            return f"disable = yes in line {self.draft.attributes['disable'].place.line}"
        if self.draft.id in switches.get("disabled", {}):
            return f"{switches['disabled'][self.draft.id]} has it in disabled"
        if "enabled" in switches and self.draft.id not in switches["enabled"]:
            return "the defaults have others in enabled"
        return ""

    def _reason(self) -> str:
        """Give the reason why the service is not supported; empty if it is."""
        types, flags = self._words("type"), self._words("flags")
        if self.draft.is_broken:
            return "has errors"
        if self.reader.is_unusable:
            return "is not taken, because defaults has errors"
        if "SENSOR" in flags:
            return "is a sensor; the daemon has none"
        if "INTERNAL" not in types:
            return self._program(types)
        if self.draft.name.lower() not in PORTS:
            return "is built into xinetd, and not into the daemon"
        if self.draft.name not in PORTS and "UNLISTED" not in types:
            # Only the lookup in the list of ports is case-sensitive.
            return "is in no list of ports by this spelling; xinetd does not start it"
        if {"IPV4", "IPV6"} <= set(flags):
            return "is both IPv4 and IPv6, for which xinetd switches it off"
        if "wait" not in self.draft.attributes:
            return "has no wait, without which xinetd does not start it"
        return ""

    def _program(self, types: tuple[str, ...]) -> str:
        for kind in ("RPC", "TCPMUX", "TCPMUXPLUS"):
            if kind in types:
                return f"is a service of type {kind}, which the daemon has not"
        for name, reason in (
            ("redirect", "is forwarded to {}; the daemon forwards nothing"),
            ("server", "starts the program {}; the daemon starts none"),
        ):
            if self._values(name):
                return reason.format(shown(self._values(name)))
        return "has no type = INTERNAL"

    def _service(self) -> Service | None:
        """Convert the service; errors are added to L{problems}."""
        self._check_switch()
        kind = self._kind()
        if kind is None:
            return None
        options = self._access()
        streams = self._caps() | self._rate() | self._flags(kind)
        addresses = self._addresses(PROTOCOLS[kind])
        self._tell_others()
        if not addresses or self.problems:
            return None
        draft = self.draft
        return Service(
            draft.name.lower(), draft.label, kind, draft.place, addresses, options, streams,
            tuple(self.remarks),
        )  # fmt: skip

    def _check_switch(self) -> None:
        if self._attribute("disable") and self._words("disable") != ("NO",):
            self._wrong("disable", "yes or no would be right")

    def _kind(self) -> str | None:
        kind, protocol = self._one("socket_type").lower(), self._one("protocol").lower()
        known = {STREAM: ("", "tcp"), DATAGRAM: ("", "udp")}
        kind = kind or {"tcp": STREAM, "udp": DATAGRAM}.get(protocol, "")
        if kind not in known:
            self._wrong("socket_type", f"{shown([kind])} is neither stream nor dgram")
        elif protocol not in known[kind]:
            self._wrong("protocol", f"{shown([protocol])} does not go with {kind}")
        else:
            return kind
        return None

    def _access(self) -> dict[str, str]:
        options = {}
        for name, option in OPTIONS.items():
            sources = self.draft.access.get(name)
            if sources is None:
                continue
            if written(sources) or name == "only_from":
                options[option] = written(sources)
            for source in sources:
                self._hint(source.networks, source.place)
                if not source.networks:
                    host = shown([source.text])
                    text = f"{name} has {host}: names have no counterpart in {option}"
                    self.remarks.append(Remark(source.place, text, is_loud=True))
        if options.get("allow") == "":
            text = f"{shown([self.draft.label])} serves nobody before you write networks in allow"
            self.remarks.append(Remark(self.draft.place, text, is_loud=True))
        return options

    def _hint(self, networks: tuple[Network, ...], place: Place) -> None:
        for word, special in (("any", ANY), ("localhost", LOCALHOST)):
            if networks == special:
                self.findings.hint(word, place)

    def _caps(self) -> dict[str, str]:
        options: dict[str, str] = {}
        for name, option in CAPS.items():
            attribute = self._attribute(name)
            if attribute is None:
                continue
            value = self._one(name)
            if value.upper() == UNLIMITED:
                self._remark(attribute, "has no counterpart; see the limits above")
            elif value:
                options |= self._cap(name, option, value, attribute)
        return options

    def _cap(self, name: str, option: str, value: str, attribute: Attribute) -> dict[str, str]:
        try:
            count = parse_count(value)
        except ValueError as error:
            self._wrong(name, str(error))
            return {}
        if not count:
            self._wrong(name, "0 serves nobody")
        elif count > MAX_CAP:
            self._remark(attribute, f"is above {MAX_CAP}, the most that {option} takes")
        else:
            self.findings.hint("instances", attribute.place)
        return cap_option(option, count)

    def _rate(self) -> dict[str, str]:
        attribute = self._attribute("cps")
        if attribute is None:
            return {}
        if len(attribute.values) != 2:
            self._wrong("cps", f"has {len(attribute.values)} values; two would be right")
            return {}
        try:
            count, _ = map(parse_count, attribute.values)
        except ValueError as error:
            self._wrong("cps", str(error))
            return {}
        if count:
            self.findings.hint("cps", attribute.place)
        else:
            self._remark(attribute, "is no limit")
        return rate_options(count, "s")

    def _flags(self, kind: str) -> dict[str, str]:
        options: dict[str, str] = {}
        attribute = self._attribute("flags")
        for flag in dict.fromkeys(self._words("flags")):
            if flag not in FLAGS:
                self._wrong("flags", f"{shown([flag])} is none; xinetd switches the service off")
            elif kind == STREAM and flag in STREAM_FLAGS:
                options[STREAM_FLAGS[flag]] = "yes"
            elif FLAGS[flag] and attribute:
                text = f"flags has {flag}: {FLAGS[flag]}"
                self.remarks.append(Remark(attribute.place, text, is_loud=flag == "IDONLY"))
        return options

    def _addresses(self, protocol: str) -> tuple[Address, ...]:
        port, text = self._port(protocol), self._one("bind")
        if port is None or (self._attribute("bind") and not text):
            return ()
        flags = self._words("flags")
        try:
            interface = parse_interface(text) if text else ""
            families = self._families(interface)
            # A wildcard address only selects the family.
            is_all = not isinstance(interface, str) and not int(interface)
            explicit = "IPV4" in flags or "IPV6" in flags
            return bound(protocol, port, "" if is_all else str(interface), families, explicit)
        except ValueError as error:
            self._wrong("bind", str(error))
            return ()

    def _families(self, interface: IPv4Address | IPv6Address | str) -> tuple[str, ...]:
        """
        Choose the IP versions: with neither flag xinetd opens an IPv6 socket, which also serves
        IPv4 unless v6only is set.
        """
        v6only, flags = self._one("v6only").lower(), self._words("flags")
        if v6only not in ("", "yes", "no"):
            self._wrong("v6only", "yes or no would be right")
        is_literal = not isinstance(interface, str)
        if isinstance(interface, IPv4Address):
            if "IPV6" in flags:
                raise ValueError(f"{interface} does not go with the flag IPv6")
            return ("4",)
        if "IPV4" in flags:
            if is_literal:
                raise ValueError(f"{interface} does not go with the flag IPv4")
            return ("4",)
        if v6only == "yes" or (interface and not is_literal and "IPV6" in flags):
            return ("6",)
        return ("4", "6")

    def _port(self, protocol: str) -> int | None:
        name = self.draft.name.lower()
        listed = port_of(name, protocol)
        is_unlisted = "UNLISTED" in self._words("type")
        attribute = self._attribute("port")
        if attribute is None:
            if is_unlisted:
                self._wrong("type", "UNLISTED needs a port")
            return listed
        text = self._one("port")
        port = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
        if not 1 <= port <= MAX_PORT:
            self._wrong("port", f"{shown([text])} is no port; 1 to {MAX_PORT} would be right")
            return None
        if port not in (listed, PORTS[name]) and not is_unlisted:
            self._wrong("port", f"xinetd takes {listed} only, unless the type has UNLISTED")
        return port

    def _tell_others(self) -> None:
        for name, attribute in self.draft.attributes.items():
            if name not in USED:
                self._remark(attribute, why(name))
        for attribute, text in self.draft.others:
            self._remark(attribute, text or why(attribute.name))

    def _remark(self, attribute: Attribute, text: str) -> None:
        is_loud = attribute.name in LOUD or attribute.name not in KNOWN
        self.remarks.append(Remark(attribute.place, f"{attribute}: {text}", is_loud))
