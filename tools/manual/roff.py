"""
Manual pages in the macros of man(7), which groff and mandoc both read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import wrap

#: The source of a page is as wide as a terminal.
WIDTH = 79

#: What a formatter would take for markup, or print as another character than the one
#: that a shell wants (groff_char(7)).
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}

_CODE = re.compile(r"`([^`]+)`")


def escaped(text: str) -> str:
    """
    Write a text that is printed as it stands.
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def marked(text: str) -> str:
    """
    Write a text in which `words` between backquotes are bold.
    """
    pieces = _CODE.split(text)
    return "".join(
        rf"\fB{_whole(piece)}\fR" if number % 2 else escaped(piece)
        for number, piece in enumerate(pieces)
    )


def _whole(text: str) -> str:
    """
    Write words that no line end cuts in two.
    """
    return " ".join(rf"\%{escaped(word)}" for word in text.split(" "))


class Page:
    """
    One page.
    """

    def __init__(self, title: str, section: int, date: str, source: str) -> None:
        """
        @param title: the name of the page.
        @param date: year, month and day.
        @param source: what the page belongs to.
        """
        self._lines = [
            r".\" Written by make docs; change the code that it is written from.",
            f'.TH {title} {section} {date} "{source}"',
        ]

    def section(self, title: str) -> None:
        """
        Begin a section.
        """
        self._lines.append(f".SH {escaped(title)}")

    def part(self, title: str) -> None:
        """
        Begin a part of a section.
        """
        self._lines.append(f".SS {escaped(title)}")

    def paragraphs(self, text: str) -> None:
        """
        Add paragraphs, with empty lines between them; what is indented by four is an
        example.
        """
        for paragraph in filter(None, text.strip("\n").split("\n\n")):
            if paragraph.startswith("    "):
                self.example(line.removeprefix("    ") for line in paragraph.split("\n"))
            else:
                self._separate()
                self._fill(paragraph)

    def entry(self, term: str, text: str) -> None:
        """
        Add a term, and what there is to say of it.
        """
        self._lines += [".TP", _guarded(marked(term))]
        self._fill(text)

    def entries(self, found: Iterable[tuple[str, str]]) -> None:
        """
        Add several entries.
        """
        for term, text in found:
            self.entry(term, text)

    def example(self, lines: Iterable[str]) -> None:
        """
        Add lines that are printed as they stand.
        """
        shown = [_guarded(escaped(line)) for line in lines]
        self._separate()
        self._lines += [".RS 4", ".EX", *shown, ".EE", ".RE"]

    def __str__(self) -> str:
        """
        Give the source of the page.
        """
        return "\n".join(self._lines) + "\n"

    def _separate(self) -> None:
        """
        Begin a paragraph, where no heading has begun one.
        """
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")

    def _fill(self, text: str) -> None:
        written = marked(" ".join(text.split()))
        lines = wrap(written, WIDTH, break_long_words=False, break_on_hyphens=False)
        self._lines += map(_guarded, lines)


def _guarded(line: str) -> str:
    """
    Keep a line from being taken for a macro.
    """
    return rf"\&{line}" if line.startswith((".", "'")) else line
