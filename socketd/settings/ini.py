"""
INI text to sections with line numbers; the dialect is C{configparser}'s.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from typing import Any

from attrs import Factory, frozen

from socketd.settings.diagnostics import Diagnostic

#: The reader starts again behind each broken line; past this many the rest of
#: a file is not worth reading, and the time it takes stays bounded.
MAX_BROKEN_LINES = 50

_HEADER = re.compile(r"\[(?P<header>[^]]+)\]")

#: C{option: value}, as other files have it.
_COLON = re.compile(r"\s*(\w+)\s*:\s*(\S.*?)\s*", re.ASCII)

# In no file that is read: a NUL byte is complained of before.
_MARK = "\0"


@frozen
class Entry:
    """
    One C{option = value} with the line of its first character.
    """

    value: str
    line: int


@frozen
class Section:
    """
    One section: its name, the line of its header and its entries by name.
    """

    name: str
    line: int
    entries: dict[str, Entry] = Factory(dict)


def read(text: str, file: str) -> tuple[list[Section], list[Diagnostic]]:
    """
    Read INI text.

    A section or an option that stands twice is complained of and still read,
    under a name that no file can spell, so that what is wrong inside it is
    reported in the same run.

    @param file: the file's name, for complaints.
    """
    diagnostics: list[Diagnostic] = []
    lines = text.split("\n")
    for _ in range(MAX_BROKEN_LINES):
        reader = _Reader(lines)
        try:
            reader.read_file(reader.numbered(), file)
        except configparser.Error as error:
            diagnostics += _mend(lines, error, file)
        else:
            return reader.located(), diagnostics
    diagnostics.append(Diagnostic(file, 0, "too many broken lines; the rest was not read"))
    return [], diagnostics


class _Reader(configparser.RawConfigParser):
    """
    A strict parser that remembers at which line each name stood.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(
            delimiters=("=",),
            inline_comment_prefixes=(";",),
            default_section=_MARK,
        )
        self._lines = lines
        self._line = 0
        self._option_lines: list[int] = []
        self._header_lines: list[int] = []
        # A hook of configparser's, as optionxform is.
        self.SECTCRE: Any = self

    def numbered(self) -> Iterator[str]:
        """
        Hand the lines out, remembering which one is being read.
        """
        for self._line, line in enumerate(self._lines, 1):
            yield line + "\n"

    def match(self, text: str) -> re.Match[str] | None:
        """
        Note the line of the header that is being read.
        """
        found = _HEADER.fullmatch(text)
        if found is not None:
            self._header_lines.append(self._line)
        return found

    def optionxform(self, optionstr: str) -> str:
        """
        Note the line of the option that is being read.

        Names are compared as they are written: C{Listen} is a typing error.
        """
        self._option_lines.append(self._line)
        return optionstr.strip()

    def located(self) -> list[Section]:
        """
        Return what was read; strict reading keeps the order of the file.
        """
        lines = iter(tuple(self._option_lines))
        return [
            Section(
                name.rstrip(_MARK),
                line,
                {
                    _spelled(option): Entry(value, next(lines))
                    for option, value in self.items(name, raw=True)
                },
            )
            for name, line in zip(self.sections(), self._header_lines)
        ]


def _spelled(option: str) -> str:
    """
    Give an option's name as its file spells it, without the marks of L{_mend}.
    """
    return option.rstrip(_MARK).rstrip()


def _about(line: str) -> str:
    """
    Say what is wrong with a line, and what is right where a colon stands for the sign.
    """
    message = "is neither [section] nor option = value"
    match = _COLON.fullmatch(line)
    return f"{message}; write {match[1]} = {match[2]}" if match else message


def _mend(lines: list[str], error: configparser.Error, file: str) -> list[Diagnostic]:
    """
    Complain of what the parser met, and change the lines so that it gets past.
    """
    match error:
        case configparser.DuplicateSectionError(section=section, lineno=int(number)):
            lines[number - 1] = f"[{section}{_MARK}]"
            found = Diagnostic(file, number, "stands twice; join the two", section)
            return [] if section.endswith(_MARK) else [found]
        case configparser.DuplicateOptionError(section=section, option=option, lineno=int(number)):
            lines[number - 1] = lines[number - 1].replace("=", f"{_MARK}=", 1)
            message = "stands twice in this section; keep one"
            found = Diagnostic(file, number, message, section.rstrip(_MARK), option)
            return [] if option.endswith(_MARK) else [found]
        case configparser.MissingSectionHeaderError(lineno=number):
            lines[number - 1] = ""
            return [Diagnostic(file, number, "stands before any [section]")]
        case configparser.ParsingError(errors=errors):
            said = [Diagnostic(file, number, _about(lines[number - 1])) for number, _ in errors]
            for number, _ in errors:
                lines[number - 1] = ""
            return said
    raise error
