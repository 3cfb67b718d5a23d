"""
The subcommands that ask a running daemon, or have it do something: one for each command of
its control socket.
"""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from datetime import datetime
from typing import Any

from attrs import frozen

from socketd.cli.common.errors import GOOD, CommandError
from socketd.cli.common.output import emit, note
from socketd.cli.common.sanitize import one_line
from socketd.cli.operator.control_socket import (
    Answer,
    ControlSocket,
    add_control,
    check,
    command_line,
    find_socket,
)
from socketd.common import table
from socketd.terminal.device import terminal_size

MAX_PAGES = 1000
"""
A list that goes on for longer than a million connections is none of a socketd daemon.
"""


@frozen
class Argument:
    """
    An argument of a subcommand.

    @ivar name: how the help calls it.
    @ivar help: what it is.
    @ivar nargs: how many there may be, as in C{argparse}; empty for one.
    """

    name: str
    help: str
    nargs: str = ""

    @property
    def key(self) -> str:
        """
        Where the parser puts it.
        """
        return self.name.lower().replace(" ", "_")


@frozen
class Operation:
    """
    A subcommand, with what C{main} needs of its module.

    @ivar NAME: its name, and that of the daemon's command.
    @ivar HELP: what it does.
    @ivar arguments: what the command takes.
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
                # Without it argparse says that one has to be there.
                count["default"] = []
            parser.add_argument(
                argument.key, metavar=argument.name, help=argument.help, **count
            )
        parser.add_argument("--json", action="store_true", help="print the daemon's JSON")
        add_control(parser)

    def run(self, arguments: Namespace) -> int:
        """
        Ask the daemon.

        @param arguments: what was parsed.
        @return: the exit status.
        """
        words = [self.NAME, *self._words(arguments)]
        # Before anybody is asked.
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
    Have a command carried out, and ask on while the answer is a list that goes on.

    @param control: the daemon.
    @param words: the command and its arguments.
    @return: the answer, with the whole list.
    @raise CommandError: when none came.
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
    Print what happens until the daemon or the user ends it.

    @param control: a session that watches.
    @param as_json: whether to print the daemon's objects.
    @raise CommandError: when the daemon has ended it.
    """
    for event in control.listen():
        emit((json.dumps(event) if as_json else event_line(event)) + "\n")


def event_line(event: Answer) -> str:
    """
    Show an event to a person.

    @param event: what the daemon said.
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
    Show an answer to a person.

    @param answer: a good one.
    @param width: the columns of the terminal; C{None} where there is none.
    @return: lines.
    @raise CommandError: when its table is none.
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
"""
The subcommands, by name.
"""
