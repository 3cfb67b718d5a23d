"""
What is wrong with a configuration, in lines that a person can act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from attrs import frozen

#: A value is shown in a complaint up to this many characters: enough to be
#: recognised, short enough to leave room for the sentence.
SHOWN_VALUE = 60


#: How alike two names must be, of 1: "protocoll" means "protocol", "operater" not
#: "udp_rate", and "max_message" not "log_messages".
LIKENESS = 0.75

#: So many known names are listed in one sentence.
MOST_NAMES = 16


@frozen(order=True)
class Diagnostic:
    """
    One thing that is wrong, and where.

    @ivar file: the configuration file, as the operator named it.
    @ivar line: its line, 1-based; 0 where no line can be named.
    @ivar section: the section's name, or the empty string.
    @ivar option: the option's name, or the empty string.
    @ivar value: the value as written.
    @ivar message: what is wrong and what would be right.
    """

    file: str
    line: int
    message: str
    section: str = ""
    option: str = ""
    value: str | None = None

    def __str__(self) -> str:
        """
        Write it as C{FILE:LINE: [section] option = value: message}.
        """
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"[{_shown(self.section)}]" if self.section else ""
        if self.option:
            subject += f" {_shown(self.option)}"
        if self.value is not None:
            subject += f" = {_shown(self.value)}"
        message = _escaped(self.message)
        return ": ".join(part for part in (place, subject.strip(), message) if part)


class SettingsError(Exception):
    """
    A configuration that cannot be used.

    @ivar diagnostics: all that is wrong with it, in the order of the file.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = tuple(diagnostics)


def nearest(name: str, known: Iterable[str]) -> str:
    """
    Say which known name a mistyped one may have meant.

    @return: C{"did you mean X?"}, or the known names where none is near.
    """
    names = sorted(known)
    if close := likeliest(name, names):
        return f"did you mean {close}?"
    if len(names) > MOST_NAMES:
        return "docs/options.md has the list"
    return f"known are {', '.join(names)}"


def likeliest(name: str, known: Sequence[str]) -> str:
    """
    Choose the known name that a mistyped one may have meant; nothing if none is near.
    """
    # In a short name two letters that changed places are much of it: "tpc".
    name = name.lower()
    turned = [one for one in known if sorted(one) == sorted(name)]
    return next(iter(turned or get_close_matches(name, known, n=1, cutoff=LIKENESS)), "")


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii").replace("\\\\", "\\")


def _shown(value: str) -> str:
    one_line = _escaped(value)
    return one_line if len(one_line) <= SHOWN_VALUE else one_line[:SHOWN_VALUE] + "..."
