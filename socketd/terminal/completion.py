"""Completion of the control commands and their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from socketd.common.commands import COMMANDS

#: Connections offered for completion; Tab is of no use in a longer list.
MAX_IDS = 1000


def complete(before: str, values: Mapping[str, Iterable[str]]) -> list[str]:
    """
    Complete the last word of a line; the first one may have a slash in front.

    @param before: the text before the cursor.
    @param values: what there is for an argument, by its name in L{COMMANDS}.
    """
    *words, word = before.removeprefix("/").split(" ")
    slash = "/" * (before.startswith("/") and not words)
    return [slash + one for one in _choices(words, values) if one.startswith(word)]


def _choices(words: list[str], values: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """List what may follow these words."""
    if not words:
        return COMMANDS
    command = COMMANDS.get(words[0])
    if command is None or len(words) > len(command.arguments):
        return ()
    argument = command.arguments[len(words) - 1]
    return values.get(argument.name, argument.choices)
