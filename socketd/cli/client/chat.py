"""C{socketd chat}: an interactive session with a peer, line by line."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from socketd.cli.client.line_dialog import LineDialog
from socketd.cli.client.runner import run_client
from socketd.cli.client.screen import EditedInput, EditedScreen, Screen
from socketd.cli.client.stdio import IInput, StandardInput, StandardOutput
from socketd.cli.common.arguments import add_address, seconds
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.tls_options import add_tls
from socketd.terminal.device import CbreakMode, is_terminal, cbreak_mode, terminal_width

NAME = "chat"
HELP = "send line by line, print each answer, until the peer ends or Ctrl-D"

#: Seconds to wait for a reply before the next line is sent; some services (C{discard}) never
#: reply.
DEFAULT_WAIT = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    add_address(parser)
    parser.add_argument(
        "-n", "--newline", action="store_true", help="send the line end after each line too"
    )
    parser.add_argument(
        "--wait", metavar="SECONDS", type=seconds, default=DEFAULT_WAIT,
        help=f"how long the answer to a line holds up the next (default {DEFAULT_WAIT:g})",
    )  # fmt: skip
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the session, and return the exit status."""
    tls = load_tls(arguments)
    keys = CbreakMode() if is_terminal() and sys.stdout.encoding == "utf-8" else None

    async def client(reactor: Any) -> None:
        source: IInput = StandardInput(reactor)
        output = StandardOutput(reactor)
        screen = Screen(output, prompts=source.is_terminal)
        if keys is not None:
            screen = edited = EditedScreen(output, terminal_width)
            source = EditedInput(source, edited.line)
            keys.continued = partial(reactor.callFromThread, edited.line.redraw)
        dialog = LineDialog(reactor, source, screen, output, arguments.wait, arguments.newline)
        await connect(reactor, arguments.address, dialog, tls=tls)
        try:
            await dialog.done
        finally:
            await output.finish()

    with cbreak_mode(keys):
        return run_client(arguments.address, client)
