"""Loads L{Settings} from a file, or reports all errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from attrs import define, evolve, field

from socketd.settings.checks import check_service, misplaced
from socketd.settings.diagnostics import Diagnostic, Mistakes, SettingsError, nearest
from socketd.settings.faults.profile import FAULT, OFF, FaultOptions, FaultProfile, contradictions
from socketd.settings.hints import COMMON, about_comment, about_quotes, where_it_belongs
from socketd.settings.ini import IniSection, IniValue, read
from socketd.settings.listener_syntax import on_loopback, parse_control, parse_http, parse_listener
from socketd.settings.listeners import Listener, only_streams
from socketd.settings.model import (
    DAEMON,
    DEFAULTS,
    AccessOptions,
    DaemonOptions,
    ProtocolSpec,
    ServiceOptions,
    ServiceSettings,
    Settings,
    SocketOptions,
)
from socketd.settings.networks import is_public
from socketd.settings.options import REQUIRED, Option, declared
from socketd.settings.tls import TlsOptions
from socketd.settings.value_types import parse_list

#: The daemon options that are listeners, with their parsers.
_OWN = {"http": parse_http, "control": parse_control}

# Service names are not quoted in logs, tables and metrics.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


#: Checks whether the machine supports a configuration.
Validator = Callable[[Settings], Iterable[Diagnostic]]


def parse(
    text: str,
    file: str,
    protocols: Mapping[str, ProtocolSpec],
    runtime: str,
    validate: Validator = lambda settings: (),
) -> Settings:
    """
    Load the text of a configuration.

    @param file: the path of its file, for diagnostics.
    @param protocols: the installed protocols by name; each is looked up only if the text
        names it.
    @param runtime: the directory that replaces C{{runtime}} in UNIX socket paths.
    @param validate: checks the settings against the machine, for further diagnostics.
    @raise SettingsError: with all diagnostics.
    """
    return assemble(*read(text, file), file, protocols, runtime, validate)


def assemble(
    sections: list[IniSection],
    diagnostics: list[Diagnostic],
    file: str,
    protocols: Mapping[str, ProtocolSpec],
    runtime: str,
    validate: Validator = lambda settings: (),
    is_local: bool = False,
) -> Settings:
    """
    Load sections that were read already; see L{parse}.

    @param diagnostics: the errors of the parser.
    @param is_local: whether listeners without an interface are on loopback.
    """
    loader = _Loader(file, protocols, runtime, diagnostics, is_local)
    settings = loader.settings(sections)
    loader.diagnostics += validate(settings)
    if loader.diagnostics:
        # Drop duplicates: [defaults] is parsed once per service.
        diagnostics = list(dict.fromkeys(loader.diagnostics))
        raise SettingsError(sorted(diagnostics, key=lambda found: found.line))
    return settings


@define
class _Loader:
    """The state of one load, with the diagnostics so far."""

    file: str
    protocols: Mapping[str, ProtocolSpec]
    runtime: str
    diagnostics: list[Diagnostic]
    is_local: bool = False
    defaults: dict[str, IniValue] = field(factory=dict)
    own_options: list[type[Any]] = field(factory=list)
    twice: set[str] = field(factory=set)

    def settings(self, sections: list[IniSection]) -> Settings:
        """Build the settings; they are valid only if no diagnostic was added."""
        names = [section.name for section in sections]
        self.twice = {name for name in names if names.count(name) > 1}
        special = {name: IniSection(name, 0) for name in (DAEMON, DEFAULTS)}
        special |= {section.name: section for section in reversed(sections)}
        daemon = self._daemon(special[DAEMON])
        self.defaults = special[DEFAULTS].entries
        profiles = [s for s in sections if s.name.startswith(FAULT)]
        faults = {found.name: found for found in map(self._profile, profiles)}
        ordinary = [s for s in sections if s.name not in (DAEMON, DEFAULTS) and s not in profiles]
        services = [service for service in map(self._service, ordinary) if service is not None]
        services = [self._referring(service, services) for service in services]
        self._check_defaults()
        enabled = tuple(service for service in services if service.common.enabled)
        for service in enabled:
            self._check_amplification(service, special)
            self.diagnostics += check_service(service, faults)
        if not enabled and not self.diagnostics:
            message = "serves nothing; add a section such as [echo] with listen = tcp:7007"
            self._report(0, message)
        entries = special[DAEMON].entries
        lines = {option: entry.line for option, entry in entries.items()}
        given = {name: entries[name] for name in _OWN if getattr(daemon, name)}
        own = {name: self._own(name, entry) for name, entry in given.items()}
        files = dict.fromkeys(_files(entries, declared(DaemonOptions)))
        files |= dict.fromkeys(path for service in enabled for path in service.files)
        return Settings(
            self.file, daemon, enabled, lines, **own, files=tuple(files), faults=faults
        )

    def _daemon(self, section: IniSection) -> DaemonOptions:
        known = declared(DaemonOptions)
        self._check_names(section, known)
        return DaemonOptions(**_filled(self._values(section, known), known))

    def _profile(self, section: IniSection) -> FaultProfile:
        """Parse a fault profile."""
        name = section.name.removeprefix(FAULT)
        if _NAME.fullmatch(name) is None or name == OFF:
            message = "is not a profile; write [fault:NAME], up to 32 letters, digits and . _ -"
            self._report(section.line, f"{message}, and not off", section.name)
        known = declared(FaultOptions)
        self._check_names(section, known)
        values = self._values(section, known)
        filled = _filled(values, known)
        options = FaultOptions(**{known[name].attribute: one for name, one in filled.items()})
        if section.entries.keys() <= known.keys() and None not in values.values():
            for option, message in contradictions(options):
                if option:
                    self._report_value(section.name, option, section.entries[option], message)
                else:
                    self._report(section.line, message, section.name)
        return FaultProfile(name, options)

    def _own(self, name: str, entry: IniValue) -> Listener | None:
        """Parse a listener of the daemon itself."""
        try:
            return _OWN[name](entry.value, self.runtime)
        except ValueError as error:
            self._report_value(DAEMON, name, entry, str(error))
            return None

    def _service(self, section: IniSection) -> ServiceSettings | None:
        if _NAME.fullmatch(section.name) is None:
            message = "is not a service name; use up to 32 letters, digits and . _ -"
            self._report(section.line, message, section.name)
        protocol = self._protocol(section)
        if protocol is None:
            return None
        name, declaration = protocol
        self.own_options.append(declaration.options)
        groups = [declared(group) for group in (*COMMON, declaration.options)]
        known = {option: found for group in groups for option, found in group.items()}
        self._check_names(section, known)
        inherited = {option: e for option, e in self.defaults.items() if option in known}
        whole = evolve(section, entries=inherited | section.entries)
        before = len(self.diagnostics)
        values = self._values(whole, known)
        self._preset(declaration, section, known, values)
        values = _filled(values, known)
        common, policy, sockets, tls, own = (
            {option: values[option] for option in group if option in values} for group in groups
        )
        service = ServiceSettings(
            name=section.name,
            protocol=name,
            declared=declaration,
            listeners=tuple(self._listeners(whole, common, declaration)),
            common=ServiceOptions(**common),
            policy=AccessOptions(**policy),
            sockets=SocketOptions(**sockets),
            tls=TlsOptions(**tls),
            options=declaration.options(**own),
            lines={option: entry.line for option, entry in whole.entries.items()},
            inherited=frozenset(inherited.keys() - section.entries.keys()),
            files=tuple(_files(whole.entries, known)),
            written=tuple(values.get(n, o.default) for n, o in known.items() if o.type.writes),
            file=self.file,
        )
        if len(self.diagnostics) == before and section.name not in self.twice:
            self._check_together(service, whole)
        return service

    def _preset(
        self,
        declaration: ProtocolSpec,
        section: IniSection,
        known: Mapping[str, Option],
        values: dict[str, Any],
    ) -> None:
        """Apply the protocol's own defaults of common options, and those that it does not let."""
        for name, text in declaration.defaults.items():
            values.setdefault(name, known[name].type.parse(text))
        for name, text in declaration.fixed.items():
            wanted = known[name].type.parse(text)
            if name in section.entries and values[name] not in (wanted, None):
                message = f"is not for this protocol; leave it out, it is always {text}"
                self._report_value(section.name, name, section.entries[name], message)
            values[name] = wanted

    def _referring(
        self, service: ServiceSettings, services: Iterable[ServiceSettings]
    ) -> ServiceSettings:
        """Find the services that options of a service name, or report them."""
        found = {}
        for option, protocol in service.declared.references.items():
            name = getattr(service.options, option)
            able = {one.name: one.options for one in services if one.protocol == protocol}
            if name in able:
                found[option] = able[name]
            elif name:
                known = nearest(name, able) if able else f"write a section [{protocol}]"
                message = f"is no service with protocol = {protocol}; {known}"
                self.diagnostics.append(service.complaint(option, message, name))
        return evolve(service, references=found)

    def _check_together(self, service: ServiceSettings, section: IniSection) -> None:
        """Report what the protocol finds wrong with its options and listeners together."""
        refusals = service.declared.refusals(service.options, service.listeners)
        for option, error in chain(misplaced(service), refusals):
            if option in section.entries:
                self._report_error(section.name, option, section.entries[option], error)
            else:
                self._report(section.line, str(error), section.name)

    def _protocol(self, section: IniSection) -> tuple[str, ProtocolSpec] | None:
        """Look up the protocol of a section; report one that is unknown or cannot be imported."""
        entry = section.entries.get("protocol", IniValue(section.name, section.line))
        if entry.value in self.protocols:
            try:
                return entry.value, self.protocols[entry.value]
            except ImportError as error:
                message = f"cannot be imported: {error}"
        else:
            message = f"is not a protocol; {nearest(entry.value, self.protocols)}"
        if "protocol" in section.entries:
            self._report_value(section.name, "protocol", entry, message)
        else:
            self._report(entry.line, message, section.name)
        return None

    def _check_names(self, section: IniSection, known: Mapping[str, Option]) -> None:
        for name in section.entries.keys() - known.keys():
            entry = section.entries[name]
            where = where_it_belongs(section.name, name, entry.value, self.protocols, self.runtime)
            message = f"is not an option here; {where or nearest(name, known)}"
            self._report(entry.line, message, section.name, name)

    def _values(self, section: IniSection, known: Mapping[str, Option]) -> dict[str, Any]:
        """
        Parse the given options; a missing one keeps the default of its class.

        An invalid value becomes C{None}.
        """
        values: dict[str, Any] = {}
        for name, wanted in known.items():
            if name in section.entries:
                entry = section.entries[name]
                try:
                    values[name] = wanted.type.parse(wanted.type.text_of(entry))
                except ValueError as error:
                    self._report_error(section.name, name, entry, error)
                    values[name] = None
            elif wanted.default is REQUIRED:
                values[name] = None
                # It may be in the duplicate section.
                if section.name not in self.twice:
                    message = f"has no {name}; write {name} = {wanted.type.syntax}"
                    self._report(section.line, message, section.name)
        return values

    def _listeners(
        self, section: IniSection, common: Mapping[str, Any], declaration: ProtocolSpec
    ) -> Iterator[Listener]:
        if "listen" not in section.entries:
            return
        name, entry = section.name, section.entries["listen"]
        if not common["listen"]:
            self._report_value(name, "listen", entry, "is empty; write tcp:PORT or udp:PORT")
        message = about_comment(entry.value) or about_quotes(entry.value)
        if message:
            self._report_value(name, "listen", entry, message)
            return
        for text in common["listen"]:
            try:
                listener = parse_listener(text, self.runtime)
                _check_form(listener, declaration)
            except ValueError as error:
                self._report_value(name, "listen", IniValue(text, entry.line), str(error))
            else:
                yield on_loopback(listener) if self.is_local else listener

    def _report(
        self, line: int, message: str, section: str = "", option: str = "", value: Any = None
    ) -> None:
        self.diagnostics.append(Diagnostic(self.file, line, message, section, option, value))

    def _report_value(self, section: str, name: str, entry: IniValue, message: str) -> None:
        """Report an invalid value; an inherited one is reported in C{[defaults]}."""
        self._report(entry.line, message, self._section(section, name, entry), name, entry.value)

    def _report_error(self, section: str, name: str, entry: IniValue, error: ValueError) -> None:
        """Report an error of a value, or all those inside it or in the file that it names."""
        if not isinstance(error, Mistakes):
            message = about_comment(entry.value) or str(error)
            self._report_value(section, name, entry, message)
            return
        file, start = (error.file, 0) if error.file else (self.file, entry.line)
        section = self._section(section, name, entry)
        self.diagnostics += (
            Diagnostic(file, start + one.line, one.message, section, name, column=one.column)
            for one in error.found
        )

    def _section(self, section: str, name: str, entry: IniValue) -> str:
        """Return the section of an option: C{[defaults]} of an inherited one."""
        return DEFAULTS if self.defaults.get(name) is entry else section

    def _check_defaults(self) -> None:
        """Report defaults that are not an option of any service in this file."""
        classes = [*COMMON, *self.own_options]
        known = {name: o for options in classes for name, o in declared(options).items()}
        known = {name: o for name, o in known.items() if name not in ("protocol", "listen")}
        self._check_names(IniSection(DEFAULTS, 0, self.defaults), known)

    def _check_amplification(
        self, service: ServiceSettings, sections: Mapping[str, IniSection]
    ) -> None:
        """Report that a public network in C{allow} would be flooded by way of C{udp_amplify}."""
        amplify = getattr(service.options, "udp_amplify", 0)
        if not amplify or only_streams(service.listeners):
            return
        entries = self.defaults | sections[service.name].entries
        entry = entries.get("allow")
        if entry is None or "any" in parse_list(entry.value, r"[,\s]"):
            return
        if any(map(is_public, service.policy.allow or ())):
            message = "has a public network, for which udp_amplify would serve attacks on others;"
            message += " write udp_amplify = 0, or allow = any if that is what you want"
            self._report_value(service.name, "allow", entry, message)


def _files(entries: Mapping[str, IniValue], known: Mapping[str, Option]) -> Iterator[str]:
    """List the paths of the files that the options name."""
    for name, option in known.items():
        if name in entries:
            yield from option.type.files(option.type.text_of(entries[name]))


def _filled(values: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """Give invalid options their defaults, if they have any, so that the rest can be checked."""
    return {
        name: known[name].default
        if value is None and known[name].default is not REQUIRED else value
        for name, value in values.items()
    }  # fmt: skip


def _check_form(listener: Listener, declaration: ProtocolSpec) -> None:
    if listener.is_inherited:
        return
    form = "stream" if listener.is_stream else "datagram"
    if getattr(declaration, form) is None:
        other = "udp:" if listener.is_stream else "tcp:"
        raise ValueError(f"is a {form} listener, which the protocol does not have; write {other}")
