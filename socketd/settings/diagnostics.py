"""Configuration errors, one line each, with the file, the line and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from attrs import frozen

from socketd.common.text import ascii_line

#: The characters of a value that a diagnostic shows: enough to recognise it, few enough to
#: leave room for the message.
SHOWN_VALUE = 60


#: The lowest C{difflib} ratio (0 to 1) of a suggestion: "protocoll" suggests "protocol",
#: but "operater" does not suggest "udp_rate", nor "max_message" "log_messages".
LIKENESS = 0.75

#: The most known names that one message lists.
MOST_NAMES = 16


@frozen(order=True)
class Diagnostic:
    """
    One error and its position.

    @ivar file: the path of the configuration file, as given by the operator.
    @ivar line: the line number, 1-based; 0 if the error has no line.
    @ivar message: the error and the remedy.
    @ivar column: the column in that line, 1-based; 0 if it is not known.
    """

    file: str
    line: int
    message: str
    section: str = ""
    option: str = ""
    value: str | None = None
    column: int = 0

    def __str__(self) -> str:
        """Format it as C{FILE:LINE:COLUMN: [section] option = value: message}."""
        place = ":".join(map(str, filter(None, (self.file, self.line, self.column))))
        subject = f"[{shown(self.section)}]" if self.section else ""
        if self.option:
            subject += f" {shown(self.option)}"
        if self.value is not None:
            subject += f" = {shown(self.value)}"
        message = ascii_line(self.message)
        return ": ".join(part for part in (place, subject.strip(), message) if part)


@frozen
class Mistake:
    """
    One error inside a value of several lines.

    @ivar line: the line, 0-based in the value, or 1-based in the file that the value names.
    @ivar column: 1-based.
    """

    line: int
    column: int
    message: str


class Mistakes(ValueError):
    """
    All errors inside a value of several lines.

    @ivar file: the path of the file that the value names; empty for the value itself.
    """

    def __init__(self, found: Sequence[Mistake], file: str = "") -> None:
        super().__init__(found[0].message)
        self.found = tuple(found)
        self.file = file


class SettingsError(Exception):
    """The configuration is invalid; the errors are in file order."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = tuple(diagnostics)


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest a known name for a misspelled one, or list them, or refer to their list."""
    names = sorted(known)
    if close := likeliest(name, names):
        return f"did you mean {close}?"
    if len(names) > MOST_NAMES:
        return "docs/options.md has the list"
    return f"known are {', '.join(names)}"


def likeliest(name: str, known: Sequence[str]) -> str:
    """Choose the known name most similar to a misspelled one; an empty string if none is."""
    # Transposed letters lower the ratio of a short name below the cutoff: "tpc".
    name = name.lower()
    turned = [one for one in known if sorted(one) == sorted(name)]
    return next(iter(turned or get_close_matches(name, known, n=1, cutoff=LIKENESS)), "")


def shown(value: str) -> str:
    """Shorten a value to what a diagnostic shows of it."""
    text = ascii_line(value)
    return text if len(text) <= SHOWN_VALUE else text[:SHOWN_VALUE] + "..."
