"""C{socketd console}: an operator session with a running daemon."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from typing import Any

from twisted.internet.error import ConnectError

from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import IInput, IOutput, StandardInput, StandardOutput
from socketd.cli.common.address import Address
from socketd.cli.operator.control_socket import add_control, explain, find_socket
from socketd.cli.operator.session import ConsoleSession
from socketd.cli.operator.views import FullScreen, ScriptView
from socketd.cli.transport.connect import connect
from socketd.common.errors import CommandError
from socketd.terminal.device import (
    CbreakMode,
    is_terminal,
    cbreak_mode,
    takes_escape_codes,
    terminal_size,
    terminal_width,
)
from socketd.terminal.prompt_line import PromptLine
from socketd.terminal.view import View, Write

NAME = "console"
HELP = "watch a running daemon, answer the connections that wait, and type commands"


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
    keys = CbreakMode() if is_terminal() else None
    is_full = keys is not None and not arguments.lines and takes_escape_codes(os.environ)

    async def client(reactor: Any) -> None:
        output = StandardOutput(reactor)
        view = make_view(lambda text: output.write(_encoded(text)), keys is not None, is_full)
        if keys is not None:
            keys.continued = redraw = partial(reactor.callFromThread, view.redraw)
            if is_full:
                signal.signal(signal.SIGWINCH, lambda *_: redraw())
        await operate(reactor, address, view, StandardInput(reactor), output, arguments.timeout)

    try:
        with cbreak_mode(keys):
            return run_client(address, client)
    finally:
        if is_full:
            # On every exit path: reset the scrolling region to the whole screen.
            os.write(1, b"\x1b7\x1b[r\x1b8")


def make_view(write: Write, at_terminal: bool, is_full: bool) -> View:
    """
    Create the view.

    @param at_terminal: whether input is keys from a terminal.
    @param is_full: whether to use the full screen.
    """
    if not at_terminal:
        return ScriptView(write)
    view = FullScreen(write, terminal_size) if is_full else PromptLine(write, terminal_width)
    view.command_prompt = "> "
    return view


async def operate(
    reactor: Any, address: Address, view: View, source: IInput, output: IOutput, timeout: float
) -> None:
    """
    Connect to the control socket, and run the session until one side ends it.

    @param timeout: seconds until connecting fails.
    @raise Exception: an error that L{socketd.cli.transport.error_text.explain} can explain.
    """
    session = ConsoleSession(view, reactor)
    try:
        await connect(reactor, address, session, timeout)
    except ConnectError as error:
        number = error.osError or 0
        why = explain(address.path, OSError(number, os.strerror(number)))
        # The caller prefixes the path.
        raise CommandError(why.removeprefix(f"{address.text}: ")) from error
    # Backpressure from the terminal pauses the socket; the daemon counts the events it drops.
    output.registerProducer(session.transport, True)
    source.start(session)
    try:
        await session.done
    finally:
        source.pauseProducing()
        await output.finish()


def _encoded(text: str) -> bytes:
    return text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace")
