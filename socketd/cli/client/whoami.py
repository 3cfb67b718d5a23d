"""C{socketd whoami}: ask a C{whoami} service who we are, as it sees us."""

from __future__ import annotations

import argparse
import os
from typing import Any

from socketd.cli.client.exchange import Exchange
from socketd.cli.client.runner import run_client
from socketd.cli.client.send import send_datagram, send_stream
from socketd.cli.client.stdio import StandardOutput, TextInput
from socketd.cli.common.arguments import add_address, add_timeout
from socketd.cli.transport.connect import load_tls
from socketd.cli.transport.tls_options import add_tls

NAME = "whoami"
HELP = "ask a whoami service who we are: our address as it sees it, what we reached, TLS"

#: Bytes of a question: no answer to a datagram is longer than it, and this is answered in full;
#: it fits the smallest packet of IPv6 (1280 bytes).
QUESTION_SIZE = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    add_address(parser)
    add_timeout(parser, "fail when there is no answer for so long")
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, print the answer as it comes, and return the exit status."""
    tls = load_tls(arguments)
    address, timeout = arguments.address, arguments.timeout

    async def client(reactor: Any) -> None:
        output = StandardOutput(reactor, ends_line=os.isatty(1))
        if address.is_datagram:
            question = TextInput(b"\n" * QUESTION_SIZE)
            await send_datagram(reactor, address, question, output, timeout)
        else:
            exchange = Exchange(reactor, TextInput(b""), output, timeout)
            await send_stream(reactor, address, exchange, output, tls)

    return run_client(address, client)
