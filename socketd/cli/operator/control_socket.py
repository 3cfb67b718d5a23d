"""
A blocking client of a running daemon's control socket, without Twisted.

A request is a line, C{json COMMAND}; its answer is a line with one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from socketd.cli.common.arguments import add_timeout
from socketd.common.errors import FAILED, USAGE, CommandError
from socketd.common.text import one_line
from socketd.settings.paths import runtime_directory

#: Environment variable with the socket's path, used without C{--control}.
VARIABLE = "SOCKETD_CONTROL"

#: The C{RuntimeDirectory=} of the system-wide daemon.
SYSTEM_DIRECTORY = "/run/socketd"

FILE = "control.sock"

#: Bytes of an answer; the longest list, 500 connections, takes 0.1 MB.
MAX_ANSWER = 16 * 1024 * 1024

RECEIVE_BYTES = 64 * 1024

#: Prefix of the line with which a daemon refuses a session over the limit.
REFUSED = "error: "

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
    Choose the control socket's path.

    @param named: the path from the command line.
    @param environ: the environment.
    @param uid: the user's id.
    @param exists: tests whether a path exists.
    @return: C{named}; or C{$SOCKETD_CONTROL}; or the socket that exists in the runtime directory
        of the user's daemon or of the system's (for root in the reverse order).
    """
    if named or environ.get(VARIABLE):
        return named or environ[VARIABLE]
    places = [f"{runtime_directory(environ, uid)}/{FILE}", f"{SYSTEM_DIRECTORY}/{FILE}"]
    if not uid:
        places.reverse()
    return next(filter(exists, places), places[0])


def command_line(words: Sequence[str]) -> bytes:
    """
    Encode a request.

    @param words: the command and its arguments.
    @return: the line.
    @raise CommandError: if it would be more than one line.
    """
    line = os.fsencode(" ".join(("json", *words)))
    if b"\n" in line or b"\r" in line:
        raise CommandError("a line end cannot be sent", USAGE)
    return line + b"\n"


def read_answer(line: bytes) -> Answer:
    """
    Parse a line from the daemon.

    @param line: the line, without its end.
    @return: the JSON object.
    @raise CommandError: if it is not a JSON object.
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
    """A blocking session with the daemon."""

    def __init__(self, path: str, timeout: float) -> None:
        """
        Connect.

        @param path: the socket's path.
        @param timeout: seconds to wait for an answer; 0: no limit.
        @raise CommandError: if no daemon listens, or permission is denied.
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
        """Close the socket."""
        self._socket.close()

    def ask(self, *words: str) -> Answer:
        """
        Send a command and wait for its answer.

        @param words: the command and its arguments.
        @return: the answer, which may be an error.
        @raise CommandError: if there is no answer.
        """
        self._send(command_line(words))
        return self._next()

    def listen(self) -> Iterator[Answer]:
        """
        Receive events until the daemon ends the session.

        @return: one object for each event.
        @raise CommandError: when the session ends.
        """
        self._socket.settimeout(None)
        while True:
            yield self._next()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except BrokenPipeError:
            # The daemon may have sent a reason before it closed.
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
    Explain why the daemon cannot be reached.

    @param path: its control socket.
    @param error: the error of the socket call.
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
    Raise an error answer as an exception.

    @param answer: the daemon's answer.
    @return: the same answer, if the command succeeded.
    @raise CommandError: if the command failed.
    """
    if answer.get("ok") is True:
        return answer
    status = answer.get("status")
    text = str(answer.get("error", "the daemon refused"))
    raise CommandError(text, status if isinstance(status, int) else FAILED)
