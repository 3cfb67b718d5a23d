"""
C{socketd console}: be an operator of a running daemon.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.error import ConnectError

from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import StandardInput, StandardOutput
from socketd.cli.common.address import Address
from socketd.cli.common.errors import CommandError
from socketd.cli.operator.control_socket import add_control, explain, find_socket
from socketd.cli.operator.session import Operating
from socketd.cli.operator.views import FullScreen, IView, LineView, TerminalLines
from socketd.cli.transport.connect import connect_stream
from socketd.cli.transport.interface import CallbackProducer
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.stream import StreamLink
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
    Be an operator.

    @param arguments: what was parsed.
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
            # Whatever ended it: the scrolling region is the whole screen again.
            os.write(1, b"\x1b7\x1b[r\x1b8")


def make_view(
    write: Callable[[str], object], at_terminal: bool, is_full: bool
) -> LineView | TerminalLines | FullScreen:
    """
    Choose what the operator sees.

    @param write: what takes text.
    @param at_terminal: whether keys are typed there.
    @param is_full: whether the whole screen may be used.
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
    Connect, and attend until one side ends.

    @param reactor: the reactor.
    @param address: the control socket.
    @param view: what the operator sees.
    @param source: what he types.
    @param output: what the view is written to.
    @param timeout: how many seconds connecting may take.
    @raise Exception: what L{socketd.cli.transport.error_text.explain} can put in words.
    """
    operating = Operating(view, reactor)
    link = StreamLink(operating)
    try:
        await connect_stream(reactor, address, link, timeout)
    except ConnectError as error:
        number = error.osError or 0
        why = explain(address.path, OSError(number, os.strerror(number)))
        # The caller puts the path in front.
        raise CommandError(why.removeprefix(f"{address.text}: ")) from error
    # A terminal that takes nothing holds up the daemon's socket, which counts what is lost then.
    output.registerProducer(CallbackProducer(link.pause, link.resume, link.abort), True)
    operating.start(link)
    source.start(Keyboard(view, operating))
    failure = await operating.done
    source.pause()
    await output.finish()
    if failure is not None:
        raise failure


class Keyboard:
    """
    What is typed, on its way to the view.
    """

    def __init__(self, view: IView, operating: Operating) -> None:
        """
        Connect the two.

        @param view: what takes it.
        @param operating: what ends without it.
        """
        self._view = view
        self._operating = operating

    def input_received(self, data: bytes) -> None:
        """
        Hand it on.

        @param data: some bytes.
        """
        self._view.take(data)

    def input_ended(self) -> None:
        """
        Hand that on, too.
        """
        self._view.take_end()

    def input_failed(self, error: OSError) -> None:
        """
        End: a terminal that is gone cannot be read.

        @param error: why.
        """
        self._operating.ended()


def _encoded(text: str) -> bytes:
    return text.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace")
