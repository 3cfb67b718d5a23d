"""
The daemon's commands as subcommands: a blocking client of its control socket, without Twisted.

A request is a line with a JSON object, and so is its answer.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from socketd.cli.common.arguments import add_timeout
from socketd.cli.common.output import emit
from socketd.common.answers import Answer, encode, text_of
from socketd.common.commands import Command
from socketd.common.errors import FAILED, GOOD, CommandError, reason_of
from socketd.common.paths import SYSTEM_RUNTIME, runtime_directory
from socketd.common.text import one_line
from socketd.terminal.device import terminal_width

#: Environment variable with the socket's path, used without C{--control}.
VARIABLE = "SOCKETD_CONTROL"

FILE = "control.sock"

#: Bytes of an answer; the longest list, 500 connections, takes 0.1 MB.
MAX_ANSWER = 16 * 1024 * 1024

#: Prefix of the line with which a daemon refuses a session over the limit.
REFUSED = "error: "

NO_ANSWER = "this is no answer of a socketd daemon"

#: Bound on the pages of a list: a longer one, of over 500,000 connections, is not from socketd.
MAX_PAGES = 1000


def add_control(parser: ArgumentParser) -> None:
    """Add C{--control} and C{--timeout}."""
    parser.add_argument(
        "--control",
        metavar="PATH",
        help=f"the daemon's control socket (default: ${VARIABLE}, or {FILE} in the daemon's "
        f"runtime directory or {SYSTEM_RUNTIME})",
    )
    add_timeout(parser, "fail after so long without an answer")


def find_socket(
    named: str | None,
    environ: Mapping[str, str],
    uid: int,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """
    Choose the control socket's path: what is named; or C{$SOCKETD_CONTROL}; or the socket that
    exists in the runtime directory of the user's daemon or of the system's (for root in reverse
    order).
    """
    if named or environ.get(VARIABLE):
        return named or environ[VARIABLE]
    places = [f"{runtime_directory(environ, uid)}/{FILE}", f"{SYSTEM_RUNTIME}/{FILE}"]
    if not uid:
        places.reverse()
    return next(filter(exists, places), places[0])


def read_answer(line: bytes) -> dict[str, Any]:
    """Parse a line from the daemon; raise L{CommandError} if it is not a JSON object."""
    text = line.decode("utf-8", "replace")
    if text.startswith(REFUSED):
        raise CommandError(one_line(text.removeprefix(REFUSED)))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CommandError(NO_ANSWER)
    return found


def render(found: Answer, width: int | None = None) -> str:
    """Format an answer or an event for people; L{CommandError} if it is malformed."""
    try:
        return text_of(found, width)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CommandError(NO_ANSWER) from error


class ControlSocket:
    """A blocking session with the daemon."""

    def __init__(self, path: str, timeout: float) -> None:
        """
        @param timeout: seconds to wait for an answer; 0: no limit.
        @raise CommandError: if no daemon listens, or permission is denied.
        """
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout or None)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise CommandError(f"{path}: {explain(path, error)}") from error
        self._received = self._socket.makefile("rb")

    def close(self) -> None:
        """Close the socket."""
        self._received.close()
        self._socket.close()

    def ask(self, command: Command, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Send a request, and wait for its answer, which may be an error."""
        try:
            self._socket.sendall(encode(command, arguments).encode() + b"\n")
        except BrokenPipeError:
            # The daemon may have sent a reason before it closed.
            pass
        except OSError as error:
            raise CommandError(f"{self._path}: {explain(self._path, error)}") from error
        return self._next()

    def listen(self) -> Iterator[Answer]:
        """Receive events until the daemon ends the session, which raises L{CommandError}."""
        self._socket.settimeout(None)
        while True:
            yield self._next()

    def _next(self) -> dict[str, Any]:
        try:
            line = self._received.readline(MAX_ANSWER + 1)
        except OSError as error:
            raise CommandError(f"{self._path}: {explain(self._path, error)}") from error
        if not line:
            raise CommandError("the daemon has ended the session")
        if len(line) > MAX_ANSWER:
            raise CommandError(f"an answer is longer than {MAX_ANSWER} bytes")
        return read_answer(line.removesuffix(b"\n"))


def explain(path: str, error: OSError) -> str:
    """Explain why a daemon cannot be reached at its control socket."""
    if isinstance(error, TimeoutError):
        return "the daemon does not answer"
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        return "is no socket; name the one that control in [socketd] says"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no daemon there; start one that has control = {path} in [socketd]"
    if isinstance(error, PermissionError):
        return "permission denied; it is for the daemon's user and group, and for root"
    return reason_of(error)


def check(answer: Answer) -> None:
    """Raise L{CommandError} if the command failed."""
    if answer.get("ok") is not True:
        status = answer.get("status")
        text = str(answer.get("error", "the daemon refused"))
        details = [str(line) for line in answer.get("details", ())]
        raise CommandError(text, status if isinstance(status, int) else FAILED, details)


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
        # The original bytes of the arguments, in any encoding.
        line = os.fsencode(" ".join(words)).decode("utf-8", "surrogateescape")
        return self._command.split(line)


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
