"""Parses INI text (C{configparser} dialect) into sections with line numbers."""

from __future__ import annotations

import configparser
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from socketd.settings.diagnostics import Diagnostic, SettingsError

#: Far above any real configuration. Bound, in case the path names some other large file.
MAX_FILE_BYTES = 1024 * 1024

#: Parsing restarts after each broken line, so its number is limited to bound the parsing
#: time.
MAX_BROKEN_LINES = 50

_HEADER = re.compile(r"\[(?P<header>[^]]+)\]")

#: C{option: value}, the syntax of other INI dialects.
_COLON = re.compile(r"\s*(\w+)\s*:\s*(\S.*?)\s*", re.ASCII)

# Cannot occur in the text: a file with a NUL byte is rejected before it is parsed.
_MARK = "\0"


@frozen
class IniValue:
    """
    The value of one C{option = value}, and the line where it starts.

    @ivar raw: its lines as they are in the file, comments too; blanks are in place of what is
        before the value. Outside of a file it is the value.
    """

    value: str
    line: int
    raw: str = Factory(lambda entry: entry.value, takes_self=True)


@frozen
class IniSection:
    """One section: its name, the line of its header, and its entries by option name."""

    name: str
    line: int
    entries: dict[str, IniValue] = Factory(dict)


def read_file(file: str) -> str:
    """
    Read the text of a configuration file.

    @raise SettingsError: if it cannot be read, is too large, or is not text.
    """
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(file, f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise _unreadable(file, f"is larger than {MAX_FILE_BYTES} bytes")
    if b"\0" in content:
        raise _unreadable(file, "has a NUL byte and is not a text file", content, content.index(0))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise _unreadable(file, message, content, error.start) from None


def _unreadable(file: str, message: str, content: bytes = b"", offset: int = 0) -> SettingsError:
    line = content.count(b"\n", 0, offset) + 1 if content else 0
    return SettingsError([Diagnostic(file, line, message)])


def read(text: str, file: str) -> tuple[list[IniSection], list[Diagnostic]]:
    """
    Parse INI text.

    A duplicate section or option is reported and still parsed, under a name that no file
    can contain, so that errors inside it are reported in the same run.

    @param file: the file name, for diagnostics.
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
    """A strict parser that records the line of each section and option."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(delimiters=("=",), inline_comment_prefixes=(";",), default_section=_MARK)
        self._lines = lines
        self._line = 0
        self._option_lines: list[int] = []
        self._header_lines: list[int] = []
        # An override point of configparser, like optionxform.
        self.SECTCRE: Any = self

    def numbered(self) -> Iterator[str]:
        """Iterate over the lines and track the current line number."""
        for self._line, line in enumerate(self._lines, 1):
            yield line + "\n"

    def match(self, text: str) -> re.Match[str] | None:
        """Match a section header and record its line."""
        found = _HEADER.fullmatch(text)
        if found is not None:
            self._header_lines.append(self._line)
        return found

    def optionxform(self, optionstr: str) -> str:
        """
        Record the line of an option.

        Names are case-sensitive: C{Listen} is an unknown option.
        """
        self._option_lines.append(self._line)
        return optionstr.strip()

    def located(self) -> list[IniSection]:
        """Return the parsed sections; a strict parser keeps the file order."""
        lines = iter(tuple(self._option_lines))
        starts = sorted((*self._option_lines, *self._header_lines, len(self._lines) + 1))
        return [
            IniSection(
                name.rstrip(_MARK),
                line,
                # Without the marks that L{_mend} adds.
                {
                    option.rstrip(_MARK).rstrip(): IniValue(
                        value, at := next(lines), self._raw(at, starts)
                    )
                    for option, value in self.items(name, raw=True)
                },
            )
            for name, line in zip(self.sections(), self._header_lines)
        ]

    def _raw(self, line: int, starts: Sequence[int]) -> str:
        """Return the lines of a value; C{starts} are those of all options and headers."""
        first, *more = self._lines[line - 1 : starts[bisect_right(starts, line)] - 1]
        name, equals, rest = first.partition("=")
        return "\n".join((" " * len(name + equals) + rest, *more))


def _about(line: str) -> str:
    """Describe a syntax error; suggest the correction for C{option: value}."""
    message = "is neither [section] nor option = value"
    match = _COLON.fullmatch(line)
    return f"{message}; write {match[1]} = {match[2]}" if match else message


def _mend(lines: list[str], error: configparser.Error, file: str) -> list[Diagnostic]:
    """Turn a parser error into diagnostics, and patch the lines so that parsing can continue."""
    match error:
        case configparser.DuplicateSectionError(section=section, lineno=int(number)):
            lines[number - 1] = f"[{section}{_MARK}]"
            found = Diagnostic(file, number, "is there twice; join the two", section)
            return [] if section.endswith(_MARK) else [found]
        case configparser.DuplicateOptionError(section=section, option=option, lineno=int(number)):
            lines[number - 1] = lines[number - 1].replace("=", f"{_MARK}=", 1)
            message = "is given twice in this section; keep one"
            found = Diagnostic(file, number, message, section.rstrip(_MARK), option)
            return [] if option.endswith(_MARK) else [found]
        case configparser.MissingSectionHeaderError(lineno=number):
            begun, lines[number - 1] = lines[number - 1].startswith("["), ""
            message = "is before the first [section]; write such as [echo] above it"
            return [Diagnostic(file, number, "is no [section]; add ]" if begun else message)]
        case configparser.ParsingError(errors=errors):
            said = [Diagnostic(file, number, _about(lines[number - 1])) for number, _ in errors]
            for number, _ in errors:
                lines[number - 1] = ""
            return said
    raise error
