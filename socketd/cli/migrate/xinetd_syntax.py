"""
Parser for the syntax of xinetd.conf(5): lines to entries.

As in xinetd, there are no continuation lines, comments have their own lines, and keywords and
attribute names are case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from socketd.cli.migrate.model import Findings, Place, shown

SERVICE = "service"
DEFAULTS = "defaults"
INCLUDE = "include"
INCLUDEDIR = "includedir"
KEYWORDS = (SERVICE, DEFAULTS, INCLUDE, INCLUDEDIR)

_BLANK = " \t\r\f\v"
_WORD = re.compile(rf"[^{_BLANK}]+")
_ATTRIBUTE = re.compile(rf"([^{_BLANK}=]+)([{_BLANK}]*)(\+=|-=|=|$)(.*)", re.DOTALL)


@frozen
class Attribute:
    """
    One C{attribute = value value ...}.

    @ivar name: the name in lower case.
    @ivar operator: C{=}, C{+=} or C{-=}.
    """

    name: str
    operator: str
    values: tuple[str, ...]
    place: Place

    def __str__(self) -> str:
        """Format as in the file, with the name in lower case."""
        return shown([self.name, self.operator, *self.values])


@frozen
class Entry:
    """
    One entry of a file.

    @ivar keyword: one of L{KEYWORDS}.
    @ivar name: the service, the file or the directory; empty for L{DEFAULTS}.
    @ivar attributes: the attributes between the braces.
    @ivar is_broken: whether it has a syntax error, so that xinetd drops it.
    """

    keyword: str
    name: str
    place: Place
    attributes: tuple[Attribute, ...] = ()
    is_broken: bool = False


Line = tuple[Place, str]


def entries(lines: list[str], file: str, findings: Findings) -> Iterator[Entry]:
    """Parse the entries of a file; errors are added to the findings."""
    numbered = ((Place(file, number), line.strip(_BLANK)) for number, line in enumerate(lines, 1))
    rest = ((place, line) for place, line in numbered if line and not line.startswith("#"))
    for place, line in rest:
        first, *names = _WORD.findall(line)
        keyword = first.lower()
        if keyword not in KEYWORDS:
            end = _skip(rest)
            text = f"{shown([first])} is none of {', '.join(KEYWORDS)}; xinetd skips {end}"
            findings.problem(place, text)
        elif keyword != DEFAULTS and not names:
            findings.problem(place, f"{keyword} has no name; xinetd skips {_skip(rest)}")
        elif keyword in (INCLUDE, INCLUDEDIR):
            yield Entry(keyword, names[0], place)
        else:
            name = "" if keyword == DEFAULTS else names[0]
            yield _block(Entry(keyword, name, place), rest, findings)


def _block(entry: Entry, rest: Iterator[Line], findings: Findings) -> Entry:
    place, line = next(rest, (entry.place, ""))
    if line != "{":
        end = _skip(rest)
        text = f"{entry.keyword} needs a {{ on the next line, and alone there; xinetd skips {end}"
        findings.problem(place, text)
        return _broken(entry)
    attributes: list[Attribute] = []
    for place, line in rest:
        if line == "}":
            return Entry(entry.keyword, entry.name, entry.place, tuple(attributes))
        try:
            attributes.append(_attribute(place, line))
        except ValueError as error:
            findings.problem(place, f"{error}; xinetd skips {_skip(rest)}")
            return _broken(entry)
    findings.problem(entry.place, f"{entry.keyword} has no }} on a line of its own")
    return _broken(entry)


def _broken(entry: Entry) -> Entry:
    return Entry(entry.keyword, entry.name, entry.place, is_broken=True)


def _attribute(place: Place, line: str) -> Attribute:
    match = _ATTRIBUTE.fullmatch(line)
    if match is None or not match[3]:
        text = f"{shown(_WORD.findall(line))} has no operator; attribute = value would be right"
        raise ValueError(text)
    name, space, operator, values = match.groups()
    if not space:
        raise ValueError(f"{shown([name])} needs a space before its operator")
    return Attribute(name.lower(), operator, tuple(_WORD.findall(values)), place)


def _skip(rest: Iterator[Line]) -> str:
    """
    Skip to the line after the next closing brace, as xinetd does after a syntax error.

    @return: the skipped range in words.
    """
    for place, line in rest:
        if line == "}":
            return f"all up to line {place.line}"
    return "the rest of the file"
