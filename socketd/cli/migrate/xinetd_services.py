"""Converts services of xinetd: which are supported, and how their attributes map to options."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from attrs import define, field

from socketd.cli.migrate import model
from socketd.cli.migrate import xinetd_values as values
from socketd.cli.migrate.xinetd_files import ACCESS, HARMLESS, INHERITED, SYNONYMS, Reader
from socketd.cli.migrate.xinetd_syntax import Attribute, Entry

#: Attributes that are converted, besides the access lists.
USED = {"socket_type", "protocol", "type", "id", "port", "disable", "flags", *INHERITED}

SOCKET_TYPES = {protocol: socket_type for socket_type, protocol in model.PROTOCOLS.items()}

T = TypeVar("T")


def find(reader: Reader) -> None:
    """Convert all services that were read, and add each to the findings."""
    conversions = [
        _Conversion(entry, access, dict(reader.defaults)) for entry, access in reader.services
    ]
    for conversion in conversions:
        _add(conversion, reader)
    ids = {conversion.id for conversion in conversions}
    for switch, named in reader.switches.items():
        for name, place in named.items():
            if name not in ids:
                reader.findings.note(place, f"{switch} = {name}")


def _add(conversion: _Conversion, reader: Reader) -> None:
    """Add a service to the findings, or a note that it is not converted."""
    findings, switches, entry = reader.findings, reader.switches, conversion.entry
    text = f"service {conversion.label}"
    if (
        conversion.words("disable") == ("YES",)
        or conversion.id in switches.get("disabled", {})
        or ("enabled" in switches and conversion.id not in switches["enabled"])
    ):
        findings.switched_off(entry.place, text)
    # After an error in defaults the service might be open to peers that it refuses.
    elif reader.is_unusable or entry.is_broken or not conversion.is_supported:
        findings.leave(entry.place, text)
    else:
        service = conversion.service()
        if conversion.is_wrong:
            findings.notes += filter(lambda note: note.is_loud, conversion.notes)
            findings.leave(entry.place, text, is_loud=True)
        else:
            findings.take(service)


@define
class _Conversion:
    """The conversion of one service, with attributes of C{defaults}; one that is wrong ends it."""

    entry: Entry
    access: dict[str, values.Sources]
    attributes: dict[str, Attribute]
    notes: list[model.Note] = field(factory=list)
    is_wrong: bool = False

    def __attrs_post_init__(self) -> None:
        """Sort the attributes: xinetd takes the first of a name, and only lists may be changed."""
        own: dict[str, Attribute] = {}
        for attribute in self.entry.attributes:
            name = SYNONYMS.get(attribute.name, attribute.name)
            if name in ACCESS:
                try:
                    before = self.access.get(name, ())
                    self.access[name] = values.changed(before, attribute, is_cumulative=False)
                except ValueError:
                    self._refuse(attribute)
            elif name in USED and attribute.operator == "=" and name not in own:
                own[name] = attribute
            else:
                self._note(attribute, is_loud=attribute.name not in HARMLESS)
        self.attributes |= own

    @property
    def label(self) -> str:
        """The id of the service, by default its name."""
        found = self.attributes.get("id")
        return " ".join(found.values) if found else self.entry.name

    @property
    def id(self) -> str:
        """The label in lower case, for comparison."""
        return self.label.lower()

    @property
    def is_supported(self) -> bool:
        """Whether the daemon has such a service, and xinetd would start it."""
        types, flags, name = self.words("type"), self.words("flags"), self.entry.name
        return (
            "INTERNAL" in types
            and "SENSOR" not in flags
            and name.lower() in model.PORTS
            # Only xinetd's lookup in the list of ports is case-sensitive.
            and (name in model.PORTS or "UNLISTED" in types)
            and not {"IPV4", "IPV6"} <= set(flags)
            and any((one.name, one.operator) == ("wait", "=") for one in self.entry.attributes)
        )

    def service(self) -> model.ForeignService:
        """Convert the service; it is not to be used when an attribute is wrong."""
        self._parsed("disable", values.parse_yes, False)
        socket_type = self._socket_type()
        options = self._access()
        streams = self._limits() | self._flags(socket_type)
        addresses = self._addresses(model.PROTOCOLS[socket_type])
        return model.ForeignService(
            self.entry.name.lower(), self.label, socket_type, self.entry.place, addresses, options,
            streams, tuple(self.notes),
        )  # fmt: skip

    def words(self, name: str) -> values.Values:
        """Return the values of an attribute in upper case, for case-insensitive comparison."""
        attribute = self.attributes.get(name)
        return tuple(map(str.upper, attribute.values)) if attribute else ()

    def _parsed(self, name: str, parse: Callable[[values.Values], T], default: T) -> T:
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
        self.notes.append(model.Note(attribute.place, str(attribute), is_loud))

    def _refuse(self, attribute: Attribute) -> None:
        self._note(attribute, is_loud=True)
        self.is_wrong = True

    def _socket_type(self) -> str:
        """Return the socket type, which may follow from the protocol."""
        protocol = self._parsed("protocol", partial(values.parse_word, SOCKET_TYPES), "")
        default = SOCKET_TYPES.get(protocol, "")
        socket_type = self._parsed(
            "socket_type", partial(values.parse_word, model.PROTOCOLS), default
        )
        if protocol not in ("", model.PROTOCOLS.get(socket_type)):
            self._refuse(self.attributes["protocol"])
        self.is_wrong |= not socket_type
        return socket_type or model.STREAM

    def _access(self) -> dict[str, str]:
        options = {}
        for name, option in zip(ACCESS, ("allow", "deny"), strict=True):
            sources = self.access.get(name)
            if sources is None:
                continue
            # An empty allow refuses every peer; the file may have had names only.
            if values.written(sources) or option == "allow":
                options[option] = values.written(sources)
            for source in sources:
                if not source.networks:
                    note = model.Note(source.place, f"{name} {source.text}", is_loud=True)
                    self.notes.append(note)
        return options

    def _limits(self) -> dict[str, str]:
        options: dict[str, str] = {}
        for name, parse in values.LIMITS.items():
            found = self._parsed(name, parse, None)
            if found == {}:
                self._note(self.attributes[name], is_loud=False)
            options |= found or {}
        return options

    def _flags(self, socket_type: str) -> dict[str, str]:
        options: dict[str, str] = {}
        none: values.Values = ()
        for flag in self._parsed("flags", values.parse_flags, none):
            if socket_type == model.STREAM and flag in values.STREAM_FLAGS:
                options[values.STREAM_FLAGS[flag]] = "yes"
            elif flag not in values.SILENT_FLAGS:
                place, is_loud = self.attributes["flags"].place, flag == values.IDENTIFIED
                self.notes.append(model.Note(place, f"flags {flag}", is_loud))
        return options

    def _addresses(self, protocol: str) -> tuple[model.ListenAddress, ...]:
        name, flags = self.entry.name.lower(), self.words("flags")
        listed = model.port_of(name, protocol)
        # A service of the list has its port there; xinetd accepts no other.
        right: Collection[int] = (listed, model.PORTS[name])
        if "UNLISTED" in self.words("type"):
            right = range(1, values.MAX_PORT + 1)
            if "port" not in self.attributes:
                self._refuse(self.attributes["type"])
        port = self._parsed("port", partial(values.parse_port, right), listed)
        v6only = self._parsed("v6only", values.parse_yes, False)
        default = model.bound(protocol, port, "", values.families_of("", flags, v6only), False)
        parse = partial(values.parse_bind, protocol, port, flags, v6only)
        return self._parsed("bind", parse, default)
