"""
INI text to sections with line numbers; the dialect is C{configparser}'s.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator

from attrs import Factory, frozen

from socketd.settings.complaints import Complaint

#: The reader starts again behind each broken line; past this many the rest of
#: a file is not worth reading, and the time it takes stays bounded.
MAX_BROKEN_LINES = 50


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


def read(text: str, file: str) -> tuple[list[Section], list[Complaint]]:
    """
    Read INI text.

    A section or an option that stands twice is complained of and still read,
    under a name that no file can spell, so that what is wrong inside it is
    reported in the same run.

    @param file: the file's name, for complaints.
    """
    complaints: list[Complaint] = []
    lines = text.split("\n")
    for _ in range(MAX_BROKEN_LINES):
        reader = _Reader(lines)
        try:
            reader.read_file(reader.numbered(), file)
        except configparser.Error as error:
            complaints += _mend(lines, error, file)
        else:
            return reader.located(), complaints
    complaints.append(Complaint(file, 0, "too many broken lines; the rest was not read"))
    return [], complaints


class _Reader(configparser.RawConfigParser):
    """
    A strict parser that remembers at which line each name stood.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(
            delimiters=("=",),
            inline_comment_prefixes=(";",),
            default_section="\0",
        )
        self._lines = lines
        self._line = 0
        self._option_lines: list[int] = []

    def numbered(self) -> Iterator[str]:
        """
        Hand the lines out, remembering which one is being read.
        """
        for self._line, line in enumerate(self._lines, 1):
            yield line + "\n"

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
                _spelled(name),
                self._header_line(name),
                {
                    _spelled(option): Entry(value, next(lines))
                    for option, value in self.items(name, raw=True)
                },
            )
            for name in self.sections()
        ]

    def _header_line(self, name: str) -> int:
        header = f"[{name}]"
        return next(n for n, line in enumerate(self._lines, 1) if line.lstrip().startswith(header))


def _spelled(name: str) -> str:
    """
    Give a name as its file spells it, without the marks of L{_mend}.
    """
    return name.rstrip("\0 ")


def _mend(lines: list[str], error: configparser.Error, file: str) -> list[Complaint]:
    """
    Complain of what the parser met, and change the lines so that it gets past.
    """
    match error:
        case configparser.DuplicateSectionError(section=section, lineno=int(number)):
            lines[number - 1] = f"[{section}\0]"
            found = Complaint(file, number, "stands twice; join the two", _spelled(section))
            return [] if section.endswith("\0") else [found]
        case configparser.DuplicateOptionError(section=section, option=option, lineno=int(number)):
            lines[number - 1] = lines[number - 1].replace("=", "\0=", 1)
            message = "stands twice in this section; keep one"
            found = Complaint(file, number, message, _spelled(section), _spelled(option))
            return [] if option.endswith("\0") else [found]
        case configparser.MissingSectionHeaderError(lineno=number):
            lines[number - 1] = ""
            return [Complaint(file, number, "stands before any [section]")]
        case configparser.ParsingError(errors=errors):
            for number, _ in errors:
                lines[number - 1] = ""
            message = "is neither [section] nor option = value"
            return [Complaint(file, number, message) for number, _ in errors]
    raise error
