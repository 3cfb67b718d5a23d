"""Operators' sessions and requests: a command with its arguments, as a line or a JSON object."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import Attribute, Interface

from socketd.common.commands import ALIASES, COMMAND, COMMANDS, DATA, Command
from socketd.common.errors import USAGE, CommandError
from socketd.common.text import escaped
from socketd.settings.diagnostics import nearest


class IOperatorSession(Interface):
    """One operator: at the daemon's own console, or connected to the control socket."""

    who: str = Attribute("How the log names the operator.")

    def watch(service: str | None) -> None:
        """Show events from now on, of one service only unless it is C{None}."""

    def attend() -> None:
        """
        Show events and the connections that wait for the operator, and count this session as an
        operator.
        """

    def leave() -> None:
        """End the session, after the answer to this command."""


@frozen
class Request:
    """A command and its arguments by key; bytes that are not UTF-8 are surrogate escapes."""

    command: Command
    arguments: Mapping[str, str]

    @property
    def values(self) -> list[str]:
        """The arguments in their order; empty where one is left out."""
        return [self.arguments.get(one.key, "") for one in self.command.arguments]

    def __str__(self) -> str:
        """Return the line that requests the same, for the log."""
        words = [self.command.name]
        for one in self.command.arguments:
            if one.key in self.arguments:
                words.append(f"{one.keyword} {self.arguments[one.key]}".lstrip())
        return shown(" ".join(words))


def parse_request(line: str) -> Request:
    """
    Parse a command line, or a JSON object: C{{"command": "reply", "id": 1, "text": "hello"}},
    where C{data} is the argument TEXT in Base64: any bytes. Bytes that are not UTF-8 are surrogate
    escapes.
    """
    if line.startswith("{"):
        return _parse_object(line)
    name, _, rest = line.partition(" ")
    command = _find(name)
    return Request(command, command.split(rest))


def shown(text: str) -> str:
    """Escape typed text for a log or a terminal."""
    return escaped(raw(text))


def raw(text: str) -> bytes:
    """Encode typed text back to the bytes received."""
    return text.encode("utf-8", "surrogateescape")


def _find(name: str) -> Command:
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS)
        hint = hint if hint.startswith("did") else "help lists all"
        raise CommandError(f"{shown(name)} is no command; {hint}", USAGE)
    return COMMANDS[name]


def _parse_object(line: str) -> Request:
    try:
        found = json.loads(line)
        # Neither bytes that are not UTF-8 nor half a surrogate pair are text.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise CommandError("the line is no JSON object", USAGE) from None
    command = _find(_text_of(COMMAND, found.pop(COMMAND, "")))
    keys = {one.key: one.key for one in command.arguments}
    keys |= {DATA: one.key for one in command.arguments if one.is_text}
    arguments: dict[str, str] = {}
    for name, value in found.items():
        if name not in keys:
            raise CommandError(f"{shown(name)} is no argument; write {command.usage}", USAGE)
        if keys[name] in arguments:
            raise CommandError(f"write {keys[name]} or {DATA}, not both", USAGE)
        arguments[keys[name]] = _decoded(value) if name == DATA else _text_of(name, value)
    return Request(command, command.checked(arguments))


def _text_of(name: str, value: Any) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise CommandError(f"{name} is neither text nor a number", USAGE)


def _decoded(value: Any) -> str:
    try:
        data = binascii.a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError):
        raise CommandError(f"{DATA} is not Base64", USAGE) from None
    return data.decode("utf-8", "surrogateescape")
