"""C{socketd console}: an operator session with a running daemon."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from twisted.internet.error import ConnectError

from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import IInput, IOutput, StandardInput, StandardOutput
from socketd.cli.common.address import Address
from socketd.cli.operator.control_socket import add_control, explain, find_socket
from socketd.cli.operator.session import ConsoleSession
from socketd.cli.transport.connect import connect
from socketd.common.errors import CommandError
from socketd.common.text import columns
from socketd.terminal import device
from socketd.terminal.line_editor import fitting
from socketd.terminal.view import LEAST_ROOM, EditedView, PlainView, PromptLine, View, Write

#: Minimum rows assumed: two for the output, one for the status line, one for input.
LEAST_ROWS = 4

#: Minimum columns assumed.
LEAST_COLUMNS = 20

_CLEAR_LINE = "\x1b[2K"
_REVERSE, _PLAIN = "\x1b[7m", "\x1b[m"


class ScriptView(PlainView):
    """A view of lines only, in which a prompt, too, is a line of its own, shown once."""

    def show(self, text: str) -> None:
        self._write(f"{text}\n")

    def draw(self) -> None:
        if self.prompt not in ("", self._shown):
            self._write(f"{self.prompt}\n")
        self._shown = self.prompt


class FullScreen(EditedView):
    """
    Full screen: a scrolling region for output, above a status line and an input line. It is a part
    of the normal screen, so that the output remains in the scrollback after exit.
    """

    def __init__(self, write: Write, size: Callable[[], os.terminal_size]) -> None:
        """@param size: returns the size of the terminal."""
        super().__init__(write)
        self._size = size
        self._rows, self._columns = LEAST_ROWS, device.COLUMNS

    @property
    def columns(self) -> int:
        return self._columns

    def start(self) -> None:
        self._write("\n" * 2)
        self.redraw()

    def show(self, text: str) -> None:
        lines = "".join(f"\r\n{line}" for line in text.split("\n"))
        self._write(f"\x1b[{self._rows - 2};1H{lines}")
        self._shown = ""
        self.draw()

    def draw(self) -> None:
        bottom = self._bottom()
        if bottom != self._shown:
            self._shown = bottom
            self._write(bottom)

    def redraw(self) -> None:
        size = self._size()
        self._rows = max(LEAST_ROWS, size.lines)
        self._columns = max(LEAST_COLUMNS, size.columns)
        self._write(f"\x1b[1;{self._rows - 2}r")
        self._shown = ""
        self.draw()

    def clear(self) -> None:
        last = f"\x1b[{self._rows};1H{_CLEAR_LINE}"
        self._write(f"\x1b[r\x1b[{self._rows - 1};1H{_CLEAR_LINE}{last}")

    def _bottom(self) -> str:
        """Return the sequence that draws both lines and places the cursor."""
        status = fitting(self.status, self._columns)
        status += " " * (self._columns - columns(status))
        prompt = fitting(self.prompt or self.command_prompt, self._columns - LEAST_ROOM)
        text, cursor = self._editor.window(self._columns - columns(prompt) - 1)
        return (
            f"\x1b[{self._rows - 1};1H{_REVERSE}{status}{_PLAIN}"
            f"\x1b[{self._rows};1H{_CLEAR_LINE}{prompt}{text}"
            f"\x1b[{self._rows};{columns(prompt) + cursor + 1}H"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--lines", action="store_true", help="no full screen, not even at a terminal"
    )
    add_control(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run an operator session, and return the exit status."""
    path = find_socket(arguments.control, os.environ, os.geteuid())
    address = Address(path, "unix", path=path)
    keys = device.CbreakMode() if device.is_terminal() else None
    is_full = keys is not None and not arguments.lines and device.takes_escape_codes(os.environ)

    async def client(reactor: Any) -> None:
        output = StandardOutput(reactor)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"

        def write(text: str) -> None:
            output.write(text.encode(encoding, "backslashreplace"))

        view = make_view(write, keys is not None, is_full)
        if keys is not None:
            keys.continued = redraw = partial(reactor.callFromThread, view.redraw)
            if is_full:
                signal.signal(signal.SIGWINCH, lambda *_: redraw())
        await operate(reactor, address, view, StandardInput(reactor), output, arguments.timeout)

    try:
        with keys or nullcontext():
            return run_client(address, client)
    finally:
        if is_full:
            # On every exit path: reset the scrolling region to the whole screen.
            os.write(1, b"\x1b7\x1b[r\x1b8")


def make_view(write: Write, at_terminal: bool, is_full: bool) -> View:
    """Create the view for a pipe, or for keys from a terminal."""
    if not at_terminal:
        return ScriptView(write)
    view: View = PromptLine(write, device.terminal_width)
    if is_full:
        view = FullScreen(write, device.terminal_size)
    view.command_prompt = "> "
    return view


async def operate(
    reactor: Any, address: Address, view: View, source: IInput, output: IOutput, timeout: float
) -> None:
    """Connect to the control socket, and run the session until one side ends it."""
    session = ConsoleSession(view, reactor)
    try:
        await connect(reactor, address, session, timeout)
    except ConnectError as error:
        number = error.osError or 0
        why = explain(address.path, OSError(number, os.strerror(number)))
        raise CommandError(why) from error
    # Backpressure from the terminal pauses the socket; the daemon counts the events it drops.
    output.registerProducer(session.transport, True)
    source.start(session)
    try:
        await session.done
    finally:
        source.pauseProducing()
        await output.finish()
