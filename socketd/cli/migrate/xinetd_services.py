"""Converts services of xinetd: which are supported, and how their attributes map to options."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from attrs import define, field

from socketd.cli.migrate.model import (
    MAX_CAP,
    PORTS,
    PROTOCOLS,
    STREAM,
    ForeignService,
    ListenAddress,
    Note,
    bound,
    parse_count,
    parse_interface,
    port_of,
    rate_options,
)
from socketd.cli.migrate.xinetd_addresses import written
from socketd.cli.migrate.xinetd_files import ACCESS, HARMLESS, INHERITED, Draft, Reader
from socketd.cli.migrate.xinetd_syntax import Attribute

UNLIMITED = "UNLIMITED"
MAX_PORT = 65535

#: Attributes that are converted.
USED = frozenset(
    ("socket_type", "protocol", "type", "id", "port", "disable", "flags", *INHERITED, *ACCESS)
)

STREAM_FLAGS = {"NODELAY": "tcp_nodelay", "KEEPALIVE": "so_keepalive"}

#: The flags that are converted, or say what is always so here.
SILENT_FLAGS = ("IPV4", "IPV6", "REUSE")

#: The flag that refuses peers without identd.
IDENTIFIED = "IDONLY"

#: All flags of xinetd.conf(5); with any other, xinetd switches the service off.
FLAGS = (
    *STREAM_FLAGS, *SILENT_FLAGS, IDENTIFIED, "INTERCEPT", "LABELED", "NAMEINARGS", "NOLIBWRAP",
    "NORETRY", "SENSOR",
)  # fmt: skip

SOCKET_TYPES = {protocol: socket_type for socket_type, protocol in PROTOCOLS.items()}

Values = tuple[str, ...]
T = TypeVar("T")


def find(reader: Reader) -> None:
    """Convert all services that were read, and add each to the findings."""
    for draft in reader.drafts:
        _convert(reader, draft)
    ids = {draft.id for draft in reader.drafts}
    for switch, named in reader.switches.items():
        for name, place in named.items():
            if name not in ids:
                reader.findings.note(place, f"{switch} = {name}")


def _convert(reader: Reader, draft: Draft) -> None:
    findings, text = reader.findings, f"service {draft.label}"
    if _is_off(reader, draft):
        findings.switched_off(draft.place, text)
        return
    conversion = _Conversion(draft, {**reader.defaults, **draft.attributes})
    # After an error in defaults the service might be open to peers that it refuses.
    if reader.is_unusable or draft.is_broken or not conversion.is_supported():
        findings.leave(draft.place, text)
        return
    service = conversion.service()
    if conversion.is_wrong:
        findings.notes += filter(lambda note: note.is_loud, conversion.notes)
        findings.leave(draft.place, text, is_loud=True)
    else:
        findings.take(service)


def _is_off(reader: Reader, draft: Draft) -> bool:
    disable, switches = draft.attributes.get("disable"), reader.switches
    return (
        (disable is not None and [value.upper() for value in disable.values] == ["YES"])
        or draft.id in switches.get("disabled", {})
        or ("enabled" in switches and draft.id not in switches["enabled"])
    )


@define
class _Conversion:
    """
    The conversion of one service.

    @ivar attributes: the attributes, those of C{defaults} included.
    @ivar notes: the attributes that are not converted.
    @ivar is_wrong: whether one is invalid, so that the service is not converted.
    """

    draft: Draft
    attributes: dict[str, Attribute]
    notes: list[Note] = field(factory=list)
    is_wrong: bool = False

    def is_supported(self) -> bool:
        """Check whether the daemon has such a service, and xinetd would start it."""
        types, flags, name = self._words("type"), self._words("flags"), self.draft.name
        return (
            "INTERNAL" in types
            and "SENSOR" not in flags
            and name.lower() in PORTS
            # Only xinetd's lookup in the list of ports is case-sensitive.
            and (name in PORTS or "UNLISTED" in types)
            and not {"IPV4", "IPV6"} <= set(flags)
            and "wait" in self.draft.attributes
        )

    def service(self) -> ForeignService:
        """Convert the service; it is not to be used when an attribute is wrong."""
        draft = self.draft
        for attribute in draft.wrong:
            self._refuse(attribute)
        self._parsed("disable", _parse_yes, False)
        socket_type = self._socket_type()
        options = self._access()
        streams = self._limits() | self._flags(socket_type)
        addresses = self._addresses(PROTOCOLS[socket_type])
        left = [found for name, found in draft.attributes.items() if name not in USED]
        for attribute in (*left, *draft.others):
            self._note(attribute, is_loud=attribute.name not in HARMLESS)
        return ForeignService(
            draft.name.lower(), draft.label, socket_type, draft.place, addresses, options, streams,
            tuple(self.notes),
        )  # fmt: skip

    def _words(self, name: str) -> Values:
        """Return the values of an attribute in upper case, for case-insensitive comparison."""
        attribute = self.attributes.get(name)
        return tuple(map(str.upper, attribute.values)) if attribute else ()

    def _parsed(self, name: str, parse: Callable[[Values], T], default: T) -> T:
        """Parse the values of an attribute; default: if it is missing or wrong."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return default
        try:
            return parse(attribute.values)
        except ValueError:
            self._refuse(attribute)
            return default

    def _note(self, attribute: Attribute, is_loud: bool) -> None:
        self.notes.append(Note(attribute.place, str(attribute), is_loud))

    def _refuse(self, attribute: Attribute) -> None:
        self._note(attribute, is_loud=True)
        self.is_wrong = True

    def _socket_type(self) -> str:
        """Return the socket type, which may follow from the protocol."""
        protocol = self._parsed("protocol", partial(_parse_word, SOCKET_TYPES), "")
        default = SOCKET_TYPES.get(protocol, "")
        socket_type = self._parsed("socket_type", partial(_parse_word, PROTOCOLS), default)
        if protocol not in ("", PROTOCOLS.get(socket_type)):
            self._refuse(self.attributes["protocol"])
        self.is_wrong |= not socket_type
        return socket_type or STREAM

    def _access(self) -> dict[str, str]:
        options = {}
        for name, option in zip(ACCESS, ("allow", "deny"), strict=True):
            sources = self.draft.access.get(name)
            if sources is None:
                continue
            # An empty allow refuses every peer; the file may have had names only.
            if written(sources) or option == "allow":
                options[option] = written(sources)
            for source in sources:
                if not source.networks:
                    note = Note(source.place, f"{name} {source.text}", is_loud=True)
                    self.notes.append(note)
        return options

    def _limits(self) -> dict[str, str]:
        options: dict[str, str] = {}
        for name, parse in LIMITS.items():
            found = self._parsed(name, parse, None)
            if found == {}:
                self._note(self.attributes[name], is_loud=False)
            options |= found or {}
        return options

    def _flags(self, socket_type: str) -> dict[str, str]:
        options: dict[str, str] = {}
        none: Values = ()
        for flag in self._parsed("flags", _parse_flags, none):
            if socket_type == STREAM and flag in STREAM_FLAGS:
                options[STREAM_FLAGS[flag]] = "yes"
            elif flag not in SILENT_FLAGS:
                place, is_loud = self.attributes["flags"].place, flag == IDENTIFIED
                self.notes.append(Note(place, f"flags {flag}", is_loud))
        return options

    def _addresses(self, protocol: str) -> tuple[ListenAddress, ...]:
        name, flags = self.draft.name.lower(), self._words("flags")
        listed = port_of(name, protocol)
        # A service of the list has its port there; xinetd accepts no other.
        right: Collection[int] = (listed, PORTS[name])
        if "UNLISTED" in self._words("type"):
            right = range(1, MAX_PORT + 1)
            if "port" not in self.attributes:
                self._refuse(self.attributes["type"])
        port = self._parsed("port", partial(_parse_port, right), listed)
        v6only = self._parsed("v6only", _parse_yes, False)
        default = bound(protocol, port, "", _families("", flags, v6only), False)
        parse = partial(_parse_bind, protocol, port, flags, v6only)
        return self._parsed("bind", parse, default)


def _parse_yes(values: Values) -> bool:
    return _parse_word(("yes", "no"), values) == "yes"


def _parse_word(right: Collection[str], values: Values) -> str:
    (word,) = values
    if word.lower() not in right:
        raise ValueError(word)
    return word.lower()


def _parse_cap(option: str, values: Values) -> dict[str, str]:
    """Parse a limit: no option where it is none, or above the highest that the daemon has."""
    (text,) = values
    if text.upper() == UNLIMITED:
        return {}
    count = parse_count(text)
    if not count:
        raise ValueError(text)
    return {option: str(count)} if count <= MAX_CAP else {}


def _parse_rate(values: Values) -> dict[str, str]:
    count, _ = map(parse_count, values)
    return rate_options(count, "s")


#: Parsers of limits by attribute; each returns options.
LIMITS: dict[str, Callable[[Values], dict[str, str] | None]] = {
    "instances": partial(_parse_cap, "max_connections"),
    "per_source": partial(_parse_cap, "max_per_source"),
    "cps": _parse_rate,
}


def _parse_flags(values: Values) -> Values:
    flags = tuple(dict.fromkeys(map(str.upper, values)))
    if not set(flags) <= set(FLAGS):
        raise ValueError(values)
    return flags


def _parse_port(right: Collection[int], values: Values) -> int:
    (text,) = values
    port = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if port not in right:
        raise ValueError(text)
    return port


def _parse_bind(
    protocol: str, port: int, flags: Values, v6only: bool, values: Values
) -> tuple[ListenAddress, ...]:
    (text,) = values
    interface = parse_interface(text)
    families = _families(interface, flags, v6only)
    # A wildcard address only selects the family.
    is_all = not isinstance(interface, str) and not int(interface)
    explicit = "IPV4" in flags or "IPV6" in flags
    return bound(protocol, port, "" if is_all else str(interface), families, explicit)


def _families(
    interface: IPv4Address | IPv6Address | str, flags: Values, v6only: bool
) -> tuple[str, ...]:
    """
    Choose the IP versions: with neither flag xinetd opens an IPv6 socket, which also serves IPv4
    unless v6only is set.

    @raise ValueError: when the interface does not match a flag.
    """
    if isinstance(interface, IPv4Address):
        if "IPV6" in flags:
            raise ValueError(interface)
        return ("4",)
    is_name = isinstance(interface, str)
    if "IPV4" in flags:
        if not is_name:
            raise ValueError(interface)
        return ("4",)
    if v6only or (is_name and interface and "IPV6" in flags):
        return ("6",)
    return ("4", "6")
