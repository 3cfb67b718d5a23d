"""The subcommands that query or control a running daemon: its commands, from the command line."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from socketd.cli.common.output import emit
from socketd.cli.operator.control_socket import (
    ControlSocket,
    add_control,
    check,
    find_socket,
    render,
)
from socketd.common.commands import Command
from socketd.common.errors import GOOD
from socketd.terminal.device import terminal_width

#: Bound on the pages of a list: a longer one, of over 500,000 connections, is not from socketd.
MAX_PAGES = 1000


class ControlCommand:
    """A command of the daemon, with what C{main} expects of a subcommand's module."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._arguments = [one for one in command.arguments if one.on_command_line]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        for argument in self._arguments:
            options: dict[str, Any] = {"metavar": argument.label, "help": argument.help}
            if argument.choices:
                options["choices"] = argument.choices
            if argument.is_text or argument.keyword:
                options["nargs"] = "+" if argument.is_required else "*"
                options["default"] = []
            elif not argument.is_required:
                options["nargs"] = "?"
            parser.add_argument(argument.key, **options)
        parser.add_argument("--json", action="store_true", help="print the daemon's JSON")
        add_control(parser)

    def run(self, arguments: Namespace) -> int:
        """Send the command, and print its answer."""
        values = self._values(arguments)
        path = find_socket(arguments.control, os.environ, os.geteuid())
        watches = self._command.name == "watch"
        with closing(ControlSocket(path, arguments.timeout)) as control:
            answer = ask(control, self._command, values)
            if arguments.json and not (watches and answer.get("ok")):
                emit(json.dumps(answer) + "\n")
            check(answer)
            if watches:
                follow(control, arguments.json)
            elif not arguments.json:
                emit(render(answer, terminal_width() if os.isatty(1) else None) + "\n")
        return GOOD

    def _values(self, arguments: Namespace) -> dict[str, str]:
        words: list[str] = []
        for argument in self._arguments:
            value = getattr(arguments, argument.key)
            words += value if isinstance(value, list) else [value] if value is not None else []
        return self._command.split(" ".join(words))


def ask(control: ControlSocket, command: Command, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Send a request, and fetch the remaining pages if the answer is a list."""
    answer = page = control.ask(command, arguments)
    for _ in range(MAX_PAGES):
        if not page.get("more"):
            break
        page = control.ask(command, {"after": str(page["after"])})
        check(page)
        answer["rows"] += page["rows"]
    for name in ("more", "after", "text"):
        if page is not answer:
            answer.pop(name, None)
    return answer


def follow(control: ControlSocket, as_json: bool) -> None:
    """Print events until the user ends the session, or the daemon, which is an error."""
    for event in control.listen():
        emit((json.dumps(event) if as_json else render(event)) + "\n")
