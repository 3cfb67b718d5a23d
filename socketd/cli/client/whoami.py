"""C{socketd whoami}: ask a C{whoami} service who we are, as it sees us."""

from __future__ import annotations

import argparse

from socketd.cli.client.send import send
from socketd.cli.common.arguments import add_address, add_timeout
from socketd.cli.transport.tls_options import add_tls

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
    question = b"\n" * QUESTION_SIZE if arguments.address.is_datagram else b""
    return send(arguments, question, needs_reply=True)
