"""C{socketd chat}: an interactive session with a peer, line by line."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from socketd.cli.client.line_dialog import Conversation
from socketd.cli.client.runner import run_client
from socketd.cli.client.screen import EditedInput, EditedScreen, Screen
from socketd.cli.client.stdio import StandardInput, StandardOutput
from socketd.cli.common.address import Address
from socketd.cli.common.arguments import add_address, seconds
from socketd.cli.transport.connect import connect, secure
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.tls_options import add_tls, tls_options
from socketd.terminal.device import Keys, is_terminal, key_by_key, terminal_size

if TYPE_CHECKING:
    from socketd.cli.transport.tls import Security

NAME = "chat"
HELP = "send line by line, print each answer, until the peer ends or Ctrl-D"

#: Seconds to wait for a reply before the next line is sent; some services (C{discard}) never
#: reply.
DEFAULT_WAIT = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments of the subcommand.

    @param parser: the parser of this subcommand.
    """
    add_address(parser)
    parser.add_argument(
        "-n", "--newline", action="store_true", help="send the line end after each line too"
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=DEFAULT_WAIT,
        help=f"how long the answer to a line holds up the next (default {DEFAULT_WAIT:g})",
    )
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """
    Run the session.

    @param arguments: the parsed command line.
    @return: the exit status.
    """

    security = secure(tls_options(arguments))
    keys = Keys() if is_terminal() and sys.stdout.encoding == "utf-8" else None

    async def client(reactor: Any) -> None:
        source: IInput = StandardInput(reactor)
        output = StandardOutput(reactor)
        screen = Screen(output, prompts=source.is_terminal)
        if keys is not None:
            screen = edited = EditedScreen(output, lambda: terminal_size().columns)
            source = EditedInput(source, edited.line)
            keys.continued = partial(reactor.callFromThread, edited.line.redraw)
        conversation = Conversation(
            reactor, source, screen, arguments.wait, arguments.newline
        )
        await talk(reactor, arguments.address, conversation, output, security)

    with key_by_key(keys):
        return run_client(arguments.address, client)


async def talk(
    reactor: Any,
    address: Address,
    conversation: Conversation,
    output: IOutput,
    security: Security | None = None,
) -> None:
    """
    Connect and run one session to its end.

    @param reactor: the reactor.
    @param address: the peer.
    @param conversation: the session, not yet started.
    @param output: the output that the session's screen writes to.
    @param security: adds TLS; C{None} for plain text.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    link = await connect(reactor, address, conversation, security)
    conversation.start(link, output)
    failure = await conversation.done
    await output.finish()
    if failure is not None:
        raise failure
