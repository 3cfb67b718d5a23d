"""
The way to a running daemon: its control socket, without Twisted.

A question is a line, C{json COMMAND}; its answer is a line, too, with one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from socketd.cli.common.arguments import add_timeout
from socketd.cli.common.errors import FAILED, USAGE, CommandError
from socketd.cli.common.sanitize import one_line
from socketd.settings.paths import runtime_directory

VARIABLE = "SOCKETD_CONTROL"
"""
Names the socket where the command line does not.
"""

SYSTEM_DIRECTORY = "/run/socketd"
"""
Where systemd makes the runtime directory of a daemon for the whole machine.
"""

FILE = "control.sock"

MAX_ANSWER = 16 * 1024 * 1024
"""
The longest answer: the longest list, five hundred connections, takes a tenth of a megabyte.
"""

RECEIVE_BYTES = 64 * 1024

REFUSED = "error: "
"""
How a daemon begins what is no answer: that there are too many sessions.
"""

Answer = dict[str, Any]


def add_control(parser: argparse.ArgumentParser) -> None:
    """
    Add C{--control} and C{--timeout}.

    @param parser: the parser of the subcommand.
    """
    parser.add_argument(
        "--control",
        metavar="PATH",
        help=f"the daemon's control socket (default: ${VARIABLE}, or {FILE} in the daemon's "
        f"runtime directory or {SYSTEM_DIRECTORY})",
    )
    add_timeout(parser, "fail when the daemon says nothing for so long")


def find_socket(
    named: str | None,
    environ: Mapping[str, str],
    uid: int,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """
    Choose the control socket.

    @param named: what the command line says.
    @param environ: the environment.
    @param uid: who asks.
    @param exists: whether there is a file.
    @return: that; or C{$SOCKETD_CONTROL}; or the one in the runtime directory of this user's
        daemon or in that of the machine's, the latter first for root: whichever is there.
    """
    if named or environ.get(VARIABLE):
        return named or environ[VARIABLE]
    places = [f"{runtime_directory(environ, uid)}/{FILE}", f"{SYSTEM_DIRECTORY}/{FILE}"]
    if not uid:
        places.reverse()
    return next(filter(exists, places), places[0])


def command_line(words: Sequence[str]) -> bytes:
    """
    Write a question.

    @param words: the command and its arguments.
    @return: the line.
    @raise CommandError: when it would be more than one.
    """
    line = os.fsencode(" ".join(("json", *words)))
    if b"\n" in line or b"\r" in line:
        raise CommandError("a line end cannot be sent", USAGE)
    return line + b"\n"


def read_answer(line: bytes) -> Answer:
    """
    Read a line of the daemon.

    @param line: the line, without its end.
    @return: the object.
    @raise CommandError: when it is none.
    """
    text = line.decode("utf-8", "replace")
    if text.startswith(REFUSED):
        raise CommandError(one_line(text.removeprefix(REFUSED)))
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CommandError("this is no answer of a socketd daemon")
    return found


class ControlSocket:
    """
    A session with the daemon.
    """

    def __init__(self, path: str, timeout: float) -> None:
        """
        Connect.

        @param path: where the socket is.
        @param timeout: how many seconds an answer may take; 0 for ever.
        @raise CommandError: when nobody is there, or we may not.
        """
        self._path = path
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout or None)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise CommandError(explain(path, error)) from error

    def close(self) -> None:
        """
        Leave.
        """
        self._socket.close()

    def ask(self, *words: str) -> Answer:
        """
        Have a command carried out.

        @param words: the command and its arguments.
        @return: the answer, be it that it cannot be done.
        @raise CommandError: when none came.
        """
        self._send(command_line(words))
        return self._next()

    def listen(self) -> Iterator[Answer]:
        """
        Wait for what happens, until the daemon ends the session.

        @return: one object for each event.
        @raise CommandError: at that end.
        """
        self._socket.settimeout(None)
        while True:
            yield self._next()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except BrokenPipeError:
            # The daemon may have said why before it closed.
            pass
        except OSError as error:
            raise CommandError(explain(self._path, error)) from error

    def _next(self) -> Answer:
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            pieces.append(self._receive())
            if sum(map(len, pieces)) > MAX_ANSWER:
                raise CommandError(f"an answer is longer than {MAX_ANSWER} bytes")
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return read_answer(line)

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except OSError as error:
            raise CommandError(explain(self._path, error)) from error
        if not data:
            raise CommandError("the daemon has ended the session")
        return data


def explain(path: str, error: OSError) -> str:
    """
    Say why the daemon cannot be talked with.

    @param path: its control socket.
    @param error: what the system said.
    @return: one line.
    """
    if isinstance(error, TimeoutError):
        return f"{path}: the daemon does not answer"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"{path}: no daemon there; start one that has control = {path} in [socketd]"
    if isinstance(error, PermissionError):
        return f"{path}: permission denied; it is for the daemon's user and group, and for root"
    return f"{path}: {(error.strerror or str(error)).lower()}"


def check(answer: Answer) -> Answer:
    """
    Let an answer pass that is a good one.

    @param answer: what the daemon said.
    @return: the same.
    @raise CommandError: when the command could not be carried out.
    """
    if answer.get("ok") is True:
        return answer
    status = answer.get("status")
    text = str(answer.get("error", "the daemon refused"))
    raise CommandError(text, status if isinstance(status, int) else FAILED)
