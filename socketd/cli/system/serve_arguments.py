"""The arguments of C{socketd serve}, as the sections of a file that would say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import define, field

from socketd.configuration import Configuration, configure_sections
from socketd.protocols.registry import installed
from socketd.settings.diagnostics import Diagnostic, SettingsError, likeliest, shown
from socketd.settings.faults.profile import FAULT
from socketd.settings.hints import COMMON, IN_PROFILE
from socketd.settings.ini import IniSection, IniValue
from socketd.settings.model import DAEMON, DaemonOptions, ProtocolSpec
from socketd.settings.options import declared

#: C{OPTION=VALUE}; any other argument is a listener.
_OPTION = re.compile(r"([a-z][\w.-]*)=(.*)", re.ASCII | re.DOTALL | re.IGNORECASE)

#: The prefix of the options of a fault profile, and the name of the profile that they make.
_PREFIX = "fault."
_PROFILE = "serve"

#: The name of the service if its protocol is unknown, for diagnostics only.
_UNKNOWN = "serve"

#: Stands for the file in messages that have no argument.
_PLACE = "the arguments"

#: How diagnostics write an option of a file.
_ASSIGNED = re.compile(r"\b([a-z][\w-]*) = ", re.ASCII)

#: How a diagnostic of a whole profile begins.
_HAS = re.compile(r"has ([a-z-]+)", re.ASCII)


def configure_arguments(
    words: Sequence[str], runtime: str, limit: int | None = None
) -> Configuration:
    """
    Validate the configuration of a command line: the protocol, then listeners and options; nothing
    is bound. Each error of the L{SettingsError} names its argument.
    """
    found = Sections(words, installed())
    try:
        return configure_sections(found.sections(), found.diagnostics, _PLACE, runtime, limit)
    except SettingsError as error:
        raise SettingsError([found.named(one) for one in error.diagnostics]) from None


@define
class Sections:
    """
    Sorts arguments into sections. The line of an entry is the number of its argument; that of
    C{listen}, which several arguments make, is 0.
    """

    words: Sequence[str]
    protocols: Mapping[str, ProtocolSpec]
    diagnostics: list[Diagnostic] = field(factory=list, init=False)
    listeners: list[str] = field(factory=list, init=False)
    service: dict[str, IniValue] = field(factory=dict, init=False)
    daemon: dict[str, IniValue] = field(factory=dict, init=False)
    profile: dict[str, IniValue] = field(factory=dict, init=False)

    def sections(self) -> list[IniSection]:
        """Sort the arguments; what is wrong with one alone is added to C{diagnostics}."""
        protocol = self.words[0]
        self.service["protocol"] = IniValue(protocol, 1)
        for number, word in enumerate(self.words[1:], 2):
            if _is_text(word):
                self._sort(word, number)
            else:
                self._complain(number, r"is not UTF-8 text; write other bytes as \xNN")
        if self.listeners and "listen" in self.service:
            message = "is beside listeners; write each as an argument of its own"
            self._complain(self.service["listen"].line, message)
        self.service.setdefault("listen", IniValue("\n".join(self.listeners), 0))
        name = protocol if protocol in self.protocols else _UNKNOWN
        sections = [IniSection(DAEMON, 0, self.daemon), IniSection(name, 1, self.service)]
        if self.profile:
            line = next(iter(self.profile.values())).line
            self.service.setdefault("fault", IniValue(_PROFILE, line))
            sections.append(IniSection(FAULT + _PROFILE, line, self.profile))
        return sections

    def _sort(self, word: str, number: int) -> None:
        match = _OPTION.fullmatch(word)
        if match is None:
            self.listeners.append(word)
            return
        option, value = match.groups()
        section = self.service
        if option.startswith(_PREFIX):
            section, option = self.profile, option.removeprefix(_PREFIX)
        elif self._is_of_daemon(option):
            section = self.daemon
        if option in section:
            self._complain(number, "is given twice; keep one")
        section.setdefault(option, IniValue(value, number))

    def _is_of_daemon(self, option: str) -> bool:
        """Tell whether an option, perhaps misspelt, is of C{[socketd]} and not of the service."""
        groups = [*COMMON]
        # A protocol that is unknown or cannot be imported is reported by the loader.
        with suppress(KeyError, ImportError):
            groups.append(self.protocols[self.words[0]].options)
        own = [name for group in groups for name in declared(group)]
        others = list(declared(DaemonOptions))
        if option in own or option in others:
            return option not in own
        return bool(likeliest(option, others)) and not likeliest(option, own)

    def _complain(self, number: int, message: str) -> None:
        self.diagnostics.append(Diagnostic(_PLACE, number, message))

    def named(self, diagnostic: Diagnostic) -> Diagnostic:
        """Write a diagnostic in terms of the arguments."""
        if diagnostic.file != _PLACE:
            return diagnostic
        if diagnostic.column:
            # A place inside a value of several lines.
            start = self.service[diagnostic.option].line
            subject, line = self.words[start - 1], diagnostic.line - start + 1
            column, message = diagnostic.column, diagnostic.message
            return Diagnostic(shown(subject), line, message, column=column)
        if diagnostic.line:
            subject = self._argument(diagnostic)
        else:
            subject = diagnostic.value or " ".join(self.listeners) or "LISTENER"
        prefix = _PREFIX if diagnostic.section.startswith(FAULT) else ""
        message = diagnostic.message.replace(IN_PROFILE, f"write {_PREFIX}{subject}")
        message = _ASSIGNED.sub(rf"{prefix}\1=", message)
        message = message.replace("did you mean ", f"did you mean {prefix}")
        return Diagnostic(shown(subject), 0, message)

    def _argument(self, diagnostic: Diagnostic) -> str:
        """Return the argument that is wrong; of all of a profile, the one that is named first."""
        named = _HAS.match(diagnostic.message) if diagnostic.option == "fault" else None
        entry = self.profile.get(named[1]) if named else None
        return self.words[(entry.line if entry else diagnostic.line) - 1]


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
