"""
Regular expressions that take linear time, whatever a peer sends: those of RE2.

C{re2} is imported for rules that have an expression only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

#: Bytes that one expression may use, as compiled and for the states that it remembers. Beyond, RE2
#: forgets states, and takes longer, in linear time still.
EXPRESSION_MEMORY = 256 * 1024

#: The same for all expressions of a service together.
SET_MEMORY = 4 * 1024 * 1024


def compile_expression(source: str) -> Any:
    """
    Compile an expression; a dot is any octet, and C{^} and C{$} are the ends of the message.

    @raise ValueError: if it is wrong or too large, or there is no RE2.
    """
    if not source.isascii():
        raise ValueError(r"has a character that is not ASCII; write each of its octets as \xNN")
    try:
        import re2
    except ImportError:
        raise ValueError("needs the Python package google-re2") from None
    try:
        return re2.compile(source.encode(), _options(re2, EXPRESSION_MEMORY))
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"is no expression of RE2: {text}") from None


class ExpressionSet:
    """
    Several expressions, searched in one pass over a message.

    @ivar size: their instructions: a message takes at most so many steps for each byte.
    """

    def __init__(self) -> None:
        self.size = 0
        self._expressions: dict[int, Any] = {}
        self._set: Any = None
        self._keys: list[int] = []

    def add(self, key: int, expression: Any) -> None:
        """Add a compiled expression, with the key that L{matching} gives for it."""
        self._expressions[key] = expression
        self.size += expression.programsize

    def compile(self) -> None:
        """
        End the additions.

        @raise ValueError: if the expressions are too large together.
        """
        if not self._expressions:
            return
        import re2

        self._set = re2.Set.SearchSet(_options(re2, SET_MEMORY))
        for expression in self._expressions.values():
            self._set.Add(expression.pattern)
        # The empty one matches always: without it, the memory was not enough.
        self._set.Add(b"")
        self._keys = [*self._expressions, -1]
        try:
            self._set.Compile()
        except re2.error:
            raise ValueError("has expressions that are too large; write shorter ones") from None

    def matching(self, message: bytes) -> Collection[int]:
        """Return the keys of the expressions that match."""
        found = [self._keys[index] for index in self._set.Match(message) or ()]
        if -1 in found:
            return found
        return [key for key, one in self._expressions.items() if one.search(message)]


def _options(re2: Any, memory: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory
    options.dot_nl = True
    # Else a peer could fill the log: RE2 writes to stderr when its memory is used up.
    options.log_errors = False
    return options
