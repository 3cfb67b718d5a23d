"""
Writes manual pages with the man(7) macros, which groff and mandoc both support.

The writer of docutils leaves C{~} and C{^} as they are, which groff prints as accents unless
a distribution changes that, and lets words in bold be hyphenated; C{mandoc -T lint} warns of
each section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import wrap

#: The width of the page's source, that of a terminal.
WIDTH = 79

#: Characters that a formatter would interpret as markup, or replace by typographic ones
#: (groff_char(7)).
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}

_CODE = re.compile(r"`([^`]+)`")

#: Terms with their descriptions.
Entries = Iterable[tuple[str, str]]


def escaped(text: str) -> str:
    """Escape a text so that it is printed literally."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def marked(text: str) -> str:
    """Escape a text, with `words` in backquotes in bold."""
    pieces = _CODE.split(text)
    return "".join(
        rf"\fB{_whole(piece)}\fR" if number % 2 else escaped(piece)
        for number, piece in enumerate(pieces)
    )


def _whole(text: str) -> str:
    """Escape words and prevent hyphenation."""
    return " ".join(rf"\%{escaped(word)}" for word in text.split(" "))


class Page:
    """One manual page."""

    def __init__(self, title: str, section: int, date: str, source: str) -> None:
        """
        @param date: in the form YYYY-MM-DD.
        @param source: the program and its version.
        """
        self._lines = [
            r".\" Written by make docs; change the code that it is written from.",
            f'.TH {title} {section} {date} "{source}"',
        ]

    def section(self, title: str, text: str = "", entries: Entries = ()) -> None:
        """Start a section, with L{paragraphs} and L{entries}."""
        self._lines.append(f".SH {escaped(title)}")
        self.paragraphs(text)
        self.entries(entries)

    def part(self, title: str, text: str = "", entries: Entries = ()) -> None:
        """Start a subsection in the same way."""
        self._lines.append(f".SS {escaped(title)}")
        self.paragraphs(text)
        self.entries(entries)

    def paragraphs(self, text: str) -> None:
        """Add paragraphs, separated by empty lines; one indented by four spaces is an example."""
        for paragraph in filter(None, text.strip("\n").split("\n\n")):
            if paragraph.startswith("    "):
                self.example(line.removeprefix("    ") for line in paragraph.split("\n"))
            else:
                self._separate()
                self._fill(paragraph)

    def entries(self, entries: Entries) -> None:
        """Add terms, each with its description."""
        for term, text in entries:
            self._lines += [".TP", _guarded(marked(term))]
            self._fill(text)

    def example(self, lines: Iterable[str]) -> None:
        """Add lines that are printed literally."""
        shown = [_guarded(escaped(line)) for line in lines]
        self._separate()
        self._lines += [".RS 4", ".EX", *shown, ".EE", ".RE"]

    def __str__(self) -> str:
        """Return the source of the page."""
        return "\n".join(self._lines) + "\n"

    def _separate(self) -> None:
        """Start a paragraph, unless a heading has just started one."""
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")

    def _fill(self, text: str) -> None:
        written = marked(" ".join(text.split()))
        lines = wrap(written, WIDTH, break_long_words=False, break_on_hyphens=False)
        self._lines += map(_guarded, lines)


def _guarded(line: str) -> str:
    """Prevent a line from being interpreted as a request or macro call."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
