"""C{socketd record}: pass one conversation on to a server, and write what repeats it."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError

from socketd.cli.client.runner import run_client
from socketd.cli.common.address import Address, parse
from socketd.cli.common.arguments import add_address, argument_type
from socketd.cli.common.atomic_write import PRIVATE, NewFile, write_files
from socketd.cli.common.output import note
from socketd.cli.record.recording import Recording, write
from socketd.cli.record.proxy import OneClientFactory, pass_on
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.tls_options import add_tls
from socketd.common.errors import USAGE, CommandError, reason_of

NAME = "record"
HELP = "pass one conversation on to a server, and write rules that answer as it did"

DESCRIPTION = """
Waits for one client, connects it to the server at ADDRESS and passes on all that both say. When
the conversation ends, or at Ctrl-C, it writes a configuration whose service answers the same
client the same way: the greeting, a rule for each question, and the close. Lines are text in
quotes, other bytes are hexadecimal.
"""

#: Schemes that can be listened at.
LISTENED = ("tcp", "tcp6", "unix")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = DESCRIPTION
    add_address(parser)
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration to write")
    parser.add_argument(
        "--listen", metavar="ADDRESS", required=True, type=argument_type(listen_address),
        help="where the client connects: HOST:PORT, [V6]:PORT or the path of a UNIX socket",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")
    add_tls(parser)


def run(arguments: argparse.Namespace) -> int:
    """Record one conversation, write it, and return the exit status."""
    if arguments.address.is_datagram:
        raise CommandError(f"{arguments.address.text}: only streams are recorded", USAGE)
    if os.path.lexists(arguments.file) and not arguments.force:
        raise CommandError(f"{arguments.file} exists; --force would replace it")
    tls = load_tls(arguments)
    recording = Recording()

    async def client(reactor: Any) -> None:
        await pass_on(
            recording,
            lambda factory: _listen(reactor, arguments.listen, factory),
            lambda server: connect(reactor, arguments.address, server, tls=tls),
        )

    try:
        return run_client(arguments.address, client)
    finally:
        # After Ctrl-C, too: what was said until then.
        if recording.greeting or recording.turns:
            _write(arguments, recording)


def listen_address(text: str) -> Address:
    """Parse an address to listen at."""
    address = parse(text)
    if address.scheme not in LISTENED:
        raise ValueError(f"{text!r} is no place to listen; HOST:PORT or a path would be right")
    return address


def _write(arguments: argparse.Namespace, recording: Recording) -> None:
    text = write(recording, arguments.address.text, listener_at(arguments.listen))
    # Private: what was recorded may have passwords.
    file = NewFile(arguments.file, text.encode(), PRIVATE, may_replace=arguments.force)
    write_files([file])
    rest = "; the rest was too long" if recording.is_full else ""
    count = len(recording.turns)
    note(f"wrote {arguments.file}: {count} question{'s' * (count != 1)}{rest}")


def _listen(reactor: Any, address: Address, factory: OneClientFactory) -> Any:
    try:
        if address.path:
            port = reactor.listenUNIX(address.path, factory, mode=PRIVATE)
        else:
            port = reactor.listenTCP(address.port, factory, interface=address.host)
    except CannotListenError as error:
        reason = error.socketError
        why = reason_of(reason) if isinstance(reason, OSError) else str(reason)
        raise CommandError(f"cannot listen on {address.text}: {why}") from error
    note(f"waiting for one client on {address.text}")
    return port


def listener_at(address: Address) -> str:
    """Write the listener of a configuration for an address."""
    if address.path:
        return f"unix:{_escaped(os.path.abspath(address.path))}"
    kind = "tcp6" if ":" in address.host else "tcp"
    return f"{kind}:{address.port}:interface={_escaped(address.host)}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", text)
