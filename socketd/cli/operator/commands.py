"""
The subcommands that query or control a running daemon, one per command of its control socket.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from datetime import datetime
from typing import Any

from attrs import frozen

from socketd.cli.common.output import emit, note
from socketd.cli.operator.control_socket import (
    Answer,
    ControlSocket,
    add_control,
    check,
    command_line,
    find_socket,
)
from socketd.common import table
from socketd.common.errors import GOOD, CommandError
from socketd.common.text import one_line
from socketd.terminal.device import terminal_size

#: Bound on the pages of a list: a longer one, of over 500,000 connections, is not from socketd.
MAX_PAGES = 1000


@frozen
class Argument:
    """
    An argument of a subcommand.

    @ivar name: its name in the help.
    @ivar help: its description.
    @ivar nargs: the number of values, as in C{argparse}; empty for one.
    """

    name: str
    help: str
    nargs: str = ""

    @property
    def key(self) -> str:
        """The attribute of the parsed namespace."""
        return self.name.lower().replace(" ", "_")


@frozen
class Operation:
    """
    A subcommand, with the attributes that C{main} expects of a subcommand's module.

    @ivar NAME: the name of the subcommand and of the daemon's command.
    @ivar HELP: its description.
    @ivar arguments: the command's arguments.
    """

    NAME: str
    HELP: str
    arguments: tuple[Argument, ...] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """
        Declare the arguments.

        @param parser: the parser of this subcommand.
        """
        for argument in self.arguments:
            count: Any = {"nargs": argument.nargs} if argument.nargs else {}
            if argument.nargs == "*":
                # Without a default, argparse reports a missing argument.
                count["default"] = []
            parser.add_argument(
                argument.key, metavar=argument.name, help=argument.help, **count
            )
        parser.add_argument("--json", action="store_true", help="print the daemon's JSON")
        add_control(parser)

    def run(self, arguments: Namespace) -> int:
        """
        Send the command and print its answer.

        @param arguments: the parsed arguments.
        @return: the exit status.
        """
        words = [self.NAME, *self._words(arguments)]
        # Validate before connecting.
        command_line(words)
        path = find_socket(arguments.control, os.environ, os.geteuid())
        control = ControlSocket(path, arguments.timeout)
        try:
            answer = ask(control, *words)
            if arguments.json and not answer.get("ok"):
                emit(json.dumps(answer) + "\n")
            for line in answer.get("details", ()):
                note(one_line(str(line)))
            check(answer)
            if self.NAME == "watch":
                follow(control, arguments.json)
            else:
                width = terminal_size().columns if os.isatty(1) else None
                emit(json.dumps(answer) + "\n" if arguments.json else render(answer, width))
        finally:
            control.close()
        return GOOD

    def _words(self, arguments: Namespace) -> list[str]:
        words: list[str] = []
        for argument in self.arguments:
            value = getattr(arguments, argument.key)
            words += value if isinstance(value, list) else [value] if value is not None else []
        return words


def ask(control: ControlSocket, *words: str) -> Answer:
    """
    Send a command, and fetch the remaining pages if the answer is a list.

    @param control: the session with the daemon.
    @param words: the command and its arguments.
    @return: the answer, with the whole list.
    @raise CommandError: if there is no answer.
    """
    answer = page = control.ask(*words)
    for _ in range(MAX_PAGES):
        if not page.get("more"):
            break
        page = control.ask(words[0], str(page["after"]))
        check(page)
        answer["rows"] += page["rows"]
    for name in ("more", "after", "text"):
        if page is not answer:
            answer.pop(name, None)
    return answer


def follow(control: ControlSocket, as_json: bool) -> None:
    """
    Print events until the daemon or the user ends the session.

    @param control: a watching session.
    @param as_json: whether to print the daemon's JSON objects.
    @raise CommandError: if the daemon ends the session.
    """
    for event in control.listen():
        emit((json.dumps(event) if as_json else event_line(event)) + "\n")


def event_line(event: Answer) -> str:
    """
    Format an event for people.

    @param event: the daemon's JSON object.
    @return: a line.
    """
    if event.get("event") == "left_out":
        return f"{event.get('count')} events were left out"
    line = one_line(str(event.get("summary", event.get("line", ""))))
    try:
        moment = datetime.fromisoformat(str(event.get("time"))).astimezone()
    except (ValueError, OverflowError):
        return line
    return f"{moment:%H:%M:%S} {line}"


def render(answer: Answer, width: int | None = None) -> str:
    """
    Format an answer for people.

    @param answer: the answer of a command that succeeded.
    @param width: the terminal's columns; C{None} without a terminal.
    @return: lines.
    @raise CommandError: if its table is malformed.
    """
    text = ""
    if "columns" in answer:
        try:
            columns = [str(name) for name in answer["columns"]]
            rows = [[row[name] for name in columns] for row in answer["rows"]]
            units = dict(answer.get("units", {}))
            text = table.listing(columns, rows, units, width, one_line)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CommandError("this is no answer of a socketd daemon") from error
    for line in str(answer.get("text", "")).splitlines():
        text += one_line(line) + "\n"
    return text


_ID = Argument("ID", "the connection, as connections lists it")
_TEXT = Argument("TEXT", "what is sent", "+")
_SOURCE = Argument("SOURCE", "an address or a network: 192.0.2.7, 2001:db8::/32")

#: The subcommands, by name.
OPERATIONS = {
    operation.NAME: operation
    for operation in (
        Operation("status", "say how a running daemon is"),
        Operation("services", "list its services and what they did"),
        Operation("connections", "list its live connections"),
        Operation("waiting", "list the connections that wait for an operator's word"),
        Operation("show", "show one connection", (_ID,)),
        Operation(
            "watch",
            "print what happens, until Ctrl-C",
            (Argument("SERVICE", "only what happens there", "?"),),
        ),
        Operation("reply", "send a text to one connection", (_ID, _TEXT)),
        Operation(
            "answer",
            "give the word to one connection that waits for it",
            (_ID, Argument("TEXT", "the word; none for the empty one", "*")),
        ),
        Operation("close", "close one connection, what is owed sent first", (_ID,)),
        Operation("reset", "reset one connection", (_ID,)),
        Operation(
            "ban",
            "serve a source no more, and reset its connections",
            (_SOURCE, Argument("for DURATION", "for how long: for 10m (default: for ever)", "*")),
        ),
        Operation("unban", "serve a source again", (_SOURCE,)),
        Operation("bans", "list the bans"),
        Operation("reload", "have the configuration read anew; status 78 if it is bad"),
        Operation("drain", "accept no more connections; the live ones go on"),
        Operation("resume", "accept connections again after drain"),
        Operation(
            "log-level",
            "change what is logged",
            (Argument("LEVEL", "debug, info, warn or error"),),
        ),
    )
}
