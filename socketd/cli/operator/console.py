"""C{socketd console}: an operator session with a running daemon."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.error import ConnectError
from zope.interface import implementer

from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import (
    IInput,
    IInputReceiver,
    IOutput,
    StandardInput,
    StandardOutput,
)
from socketd.cli.common.address import Address
from socketd.cli.operator.control_socket import add_control, explain, find_socket
from socketd.cli.operator.session import ConsoleSession
from socketd.cli.operator.views import FullScreen, IView, LineView, TerminalLines
from socketd.cli.transport.connect import connect
from socketd.common.errors import CommandError
from socketd.terminal.device import (
    Keys,
    is_terminal,
    key_by_key,
    takes_escape_codes,
    terminal_size,
)

NAME = "console"
HELP = "attend a running daemon: see what happens, give the word to who waits, type commands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments.

    @param parser: the parser of this subcommand.
    """
    parser.add_argument(
        "--lines", action="store_true", help="no full screen, not even at a terminal"
    )
    add_control(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Run an operator session.

    @param arguments: the parsed arguments.
    @return: the exit status.
    """
    path = find_socket(arguments.control, os.environ, os.geteuid())
    address = Address(path, "unix", path=path)
    keys = Keys() if is_terminal() else None
    is_full = keys is not None and not arguments.lines and takes_escape_codes(os.environ)

    async def client(reactor: Any) -> None:
        output = StandardOutput(reactor)
        view = make_view(lambda text: output.write(_encoded(text)), keys is not None, is_full)
        if keys is not None and not isinstance(view, LineView):
            redraw = partial(reactor.callFromThread, view.resize)
            keys.continued = redraw
            if is_full:
                signal.signal(signal.SIGWINCH, lambda *_: redraw())
        await operate(reactor, address, view, StandardInput(reactor), output, arguments.timeout)

    try:
        with key_by_key(keys):
            return run_client(address, client)
    finally:
        if is_full:
            # On every exit path: reset the scrolling region to the whole screen.
            os.write(1, b"\x1b7\x1b[r\x1b8")


def make_view(
    write: Callable[[str], object], at_terminal: bool, is_full: bool
) -> LineView | TerminalLines | FullScreen:
    """
    Create the view.

    @param write: writes text to the output.
    @param at_terminal: whether input is keys from a terminal.
    @param is_full: whether to use the full screen.
    @return: the view.
    """
    if is_full:
        return FullScreen(write, terminal_size)
    if at_terminal:
        return TerminalLines(write, lambda: terminal_size().columns)
    return LineView(write)


async def operate(
    reactor: Any, address: Address, view: IView, source: IInput, output: IOutput, timeout: float
) -> None:
    """
    Connect, and run the session until one side ends it.

    @param reactor: the reactor.
    @param address: the control socket.
    @param view: the operator's view.
    @param source: the operator's input.
    @param output: the output of the view.
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
    source.start(Keyboard(view, session))
    try:
        await session.done
    finally:
        source.pauseProducing()
        await output.finish()


@implementer(IInputReceiver)
class Keyboard:
    """Forwards standard input to the view."""

    def __init__(self, view: IView, session: ConsoleSession) -> None:
        """
        Store the view and the session.

        @param view: receives the input.
        @param session: the session, which ends if the input fails.
        """
        self._view = view
        self._session = session

    def input_received(self, data: bytes) -> None:
        """
        Forward input to the view.

        @param data: the bytes.
        """
        self._view.take(data)

    def input_ended(self) -> None:
        """Forward EOF to the view."""
        self._view.take_end()

    def input_failed(self, error: Exception) -> None:
        """
        End the session: the terminal has hung up.

        @param error: the read error.
        """
        self._session.ended()


def _encoded(text: str) -> bytes:
    return text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace")
