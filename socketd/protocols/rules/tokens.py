"""The tokens of a line of rules, and complaints of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from attrs import define, frozen

from socketd.settings.diagnostics import shown

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|;.*)
    |(?P<arrow>->)
    |(?P<comma>,)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<expression>/(?:[^/\\]|\\.)*/)
    |(?P<open>["/].*)
    |(?P<word>(?:(?!->)[^\s,;"/])+)
    """,
    re.VERBOSE | re.DOTALL,
)


class WrongError(Exception):
    """A mistake; it ends its line."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column


@frozen
class Token:
    """
    A part of a line.

    @ivar kind: C{arrow}, C{comma}, C{text} (in quotes), C{expression} (in slashes) or C{word}.
    @ivar column: 1-based.
    """

    kind: str
    text: str
    column: int


@define
class Line:
    """
    A line, from which parsers take tokens.

    @ivar tokens: those that are left.
    @ivar end: the column behind the last one.
    """

    tokens: list[Token]
    end: int

    @classmethod
    def of(cls, text: str) -> Line:
        """
        Split a line; it is empty if there is only a comment.

        @raise WrongError: if a quote or an expression does not end.
        """
        if text.lstrip().startswith("#"):
            return cls([], 1)
        found = [_token(match) for match in _TOKEN.finditer(text)]
        tokens = [token for token in found if token.kind != "blank"]
        end = tokens[-1].column + len(tokens[-1].text) if tokens else 1
        return cls(tokens, end)

    @property
    def column(self) -> int:
        """The column of the next token."""
        return self.tokens[0].column if self.tokens else self.end

    def refuse(self, message: str) -> NoReturn:
        """Complain of the next token, or of the end of the line."""
        text = self.tokens[0].text if self.tokens else "the end of the line"
        raise WrongError(self.column, f"{shown(text)} {message}")

    def take(self, kind: str, *texts: str) -> str:
        """
        Take the next token if it is of a kind, and one of the texts if there are any.

        @return: its text; else nothing.
        """
        if self.tokens and self.tokens[0].kind == kind:
            if not texts or self.tokens[0].text in texts:
                return self.tokens.pop(0).text
        return ""

    def take_value(self, kind: str, parse: Callable[[str], Any]) -> Any:
        """Take the next token, which has to be of a kind, as a value."""
        text = self.tokens[0].text if self.tokens and self.tokens[0].kind == kind else ""
        try:
            value = parse(text)
        except ValueError as error:
            self.refuse(str(error))
        self.take(kind)
        return value


def _token(match: re.Match[str]) -> Token:
    kind, column = str(match.lastgroup), match.start() + 1
    if kind == "open":
        mark = match[0][0]
        what = "a quote" if mark == '"' else "an expression"
        raise WrongError(column, f"{what} begins here and does not end; write {mark} behind it")
    return Token(kind, match[0], column)
