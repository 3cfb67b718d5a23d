"""
Parser for the syntax of xinetd.conf(5): lines to entries.

As in xinetd, there are no continuation lines, comments have their own lines, and keywords and
attribute names are case-insensitive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from socketd.cli.migrate.model import BLANK, WORD, Findings, Place

SERVICE = "service"
DEFAULTS = "defaults"
INCLUDE = "include"
INCLUDEDIR = "includedir"
KEYWORDS = (SERVICE, DEFAULTS, INCLUDE, INCLUDEDIR)

_ATTRIBUTE = re.compile(rf"([^{BLANK}=]+)[{BLANK}]+(\+=|-=|=)(.*)", re.DOTALL)


@frozen
class Attribute:
    """One C{attribute = value value ...}, or C{+=} or C{-=}; the name in lower case."""

    name: str
    operator: str
    values: tuple[str, ...]
    place: Place

    def __str__(self) -> str:
        """Format as in the file, with the name in lower case."""
        return " ".join([self.name, self.operator, *self.values])


@frozen
class Entry:
    """
    One entry of a file.

    @ivar name: the service, the file or the directory; empty for L{DEFAULTS}.
    @ivar is_broken: whether it has a syntax error, so that xinetd drops it.
    """

    keyword: str
    name: str
    place: Place
    attributes: tuple[Attribute, ...] = ()
    is_broken: bool = False


Line = tuple[Place, str]


def entries(lines: list[str], file: str, findings: Findings) -> Iterator[Entry]:
    """Parse the entries of a file; lines with a syntax error are added to the findings."""
    numbered = ((Place(file, number), line.strip(BLANK)) for number, line in enumerate(lines, 1))
    rest = ((place, line) for place, line in numbered if line and not line.startswith("#"))
    for place, line in rest:
        first, *names = WORD.findall(line)
        keyword = first.lower()
        if keyword not in KEYWORDS or (keyword != DEFAULTS and not names):
            findings.note(place, line, is_loud=True)
            _skip(rest)
        elif keyword in (INCLUDE, INCLUDEDIR):
            yield Entry(keyword, names[0], place)
        else:
            name = "" if keyword == DEFAULTS else names[0]
            attributes = _block(rest, findings)
            if attributes is None:
                findings.note(place, line, is_loud=True)
            yield Entry(keyword, name, place, tuple(attributes or ()), attributes is None)


def _block(rest: Iterator[Line], findings: Findings) -> list[Attribute] | None:
    """Parse up to the closing brace, alone on its line; C{None} after a syntax error."""
    _, opening = next(rest, (None, ""))
    if opening != "{":
        _skip(rest)
        return None
    attributes: list[Attribute] = []
    for place, line in rest:
        if line == "}":
            return attributes
        match = _ATTRIBUTE.fullmatch(line)
        if match is None:
            findings.note(place, line, is_loud=True)
            _skip(rest)
            return None
        name, operator, values = match.groups()
        words = tuple(WORD.findall(values))
        attributes.append(Attribute(name.lower(), operator, words, place))
    return None


def _skip(rest: Iterator[Line]) -> None:
    """Skip to the line after the next closing brace, as xinetd does after a syntax error."""
    for _, line in rest:
        if line == "}":
            break
