"""C{socketd record}: pass one conversation on to a server, and write what repeats it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from socketd.cli.client.runner import run_client
from socketd.cli.common.address import Address, parse
from socketd.cli.common.arguments import add_address, argument_type
from socketd.cli.common.atomic_write import PRIVATE, NewFile, write_files
from socketd.cli.common.output import note
from socketd.cli.record.recording import CLOSE, RESET, Recording, write
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.interface import CallbackProducer, Receiver
from socketd.cli.transport.stream import StreamTransport
from socketd.cli.transport.tls_options import add_tls
from socketd.common.errors import USAGE, CommandError, reason_of

#: Connects a receiver to the server.
Connect = Callable[[Receiver], Coroutine[Deferred[Any], Any, None]]

DESCRIPTION = """
Waits for one client, connects it to the server at ADDRESS and passes on all that both say. When
the conversation ends, or at Ctrl-C, it writes a configuration whose service answers the same
client the same way: the greeting, a rule for each question, and the close. Lines are text in
quotes, other bytes are hexadecimal.
"""

#: Schemes that can be listened at.
LISTENED = ("tcp", "tcp6", "unix")


class Side(Receiver):
    """One side of a conversation; what it says, and its end, go to the other side."""

    other: Side

    def __init__(self, said: Callable[[bytes], None], ended: Callable[[str], None]) -> None:
        """
        @param said: called with each piece of data.
        @param ended: called with C{close} or C{reset}, if this side is the first to end.
        """
        super().__init__()
        self.has_ended = False
        self._said = said
        self._ended = ended

    def begin(self) -> None:
        """Send to the other side from now on; while that does not read, this is not read from."""
        transport = self.transport
        # Not the transport itself: it would be aborted when the other side is lost.
        producer = CallbackProducer(transport.pauseProducing, transport.resumeProducing)
        self.other.transport.registerProducer(producer, True)

    # Called by the transport.

    def dataReceived(self, data: bytes) -> None:
        self._said(data)
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        self._end(CLOSE)
        if self.other.has_ended:
            self.transport.loseConnection()
            self.other.transport.loseConnection()
        else:
            self.other.transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_clean = reason.check(ConnectionDone) is not None
        self._end(CLOSE if is_clean else RESET)
        self.done.callback(None)
        if self.other.transport is not None and not self.other.done.called:
            if is_clean:
                self.other.transport.loseConnection()
            else:
                self.other.transport.abortConnection()

    def _end(self, how: str) -> None:
        if not (self.has_ended or self.other.has_ended):
            self._ended(how)
        self.has_ended = True


class OneClientFactory(Factory[StreamTransport]):
    """Accepts one client; C{accepted} fires with its transport."""

    noisy = False

    def __init__(self, client: Side) -> None:
        self.accepted: Deferred[StreamTransport] = Deferred()
        self._client = client

    def buildProtocol(self, addr: IAddress | None) -> StreamTransport | None:
        if self.accepted.called:
            return None
        stream = StreamTransport(self._client)
        stream.ready.addCallback(lambda _: self.accepted.callback(stream))
        return stream


async def pass_on(
    recording: Recording, listen: Callable[[OneClientFactory], Any], connect: Connect
) -> None:
    """
    Accept one client, connect it to the server, and record what both say until both are gone.
    """
    client = Side(recording.asked, lambda how: None)
    server = Side(recording.answered, recording.ended)
    client.other, server.other = server, client
    factory = OneClientFactory(client)
    port = listen(factory)
    stream: Any = await factory.accepted
    client.makeConnection(stream)
    # Not read from before the server is connected.
    stream.pauseProducing()
    port.stopListening()
    try:
        await connect(server)
    except BaseException:
        stream.abortConnection()
        raise
    client.begin()
    server.begin()
    stream.resumeProducing()
    await client.done
    await server.done


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
    if not os.access(arguments.file.parent, os.W_OK):
        raise CommandError(f"{arguments.file.parent} is no folder that can be written to")
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
