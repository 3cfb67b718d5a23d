"""C{socketd send}: send text or standard input to a peer, and write the reply."""

from __future__ import annotations

import argparse
import os
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from socketd.cli.client.exchange import QUIET_SECONDS, Exchange
from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import (
    IInput,
    IInputReceiver,
    StandardInput,
    StandardOutput,
    TextInput,
)
from socketd.cli.common.arguments import add_address, add_timeout
from socketd.cli.common.output import note
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.datagram import DatagramRequest
from socketd.cli.transport.interface import answer_within
from socketd.cli.transport.tls_options import add_pause, add_tls
from socketd.common.errors import CommandError

#: Maximum UDP payload over IPv4 in bytes: 65535 less 20 and 8 bytes of headers.
MAX_DATAGRAM_PAYLOAD = 65507


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    add_address(parser)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="instead of standard input")
    parser.add_argument("-n", "--newline", action="store_true", help="add a line end to TEXT")
    add_timeout(parser, "fail when the peer, at its turn, says nothing for so long")
    add_tls(parser)
    add_pause(parser, QUIET_SECONDS)


def run(arguments: argparse.Namespace) -> int:
    """Send the input, write the reply, and return the exit status."""
    text = None
    if arguments.text is not None:
        # The original bytes of the argument, in any encoding.
        text = os.fsencode(arguments.text) + b"\n" * arguments.newline
    return send(arguments, text, arguments.pause)


def send(arguments: argparse.Namespace, text: bytes | None, pause: float | None = None) -> int:
    """Send a text or standard input; write the reply until EOF, or the first datagram."""
    tls, address, timeout = load_tls(arguments), arguments.address, arguments.timeout

    async def client(reactor: Any) -> None:
        source: IInput = StandardInput(reactor) if text is None else TextInput(text)
        output = StandardOutput(reactor, ends_line=os.isatty(1))
        if address.is_datagram:
            payload = DatagramPayload(source)
            source.start(payload)
            request = DatagramRequest(await payload.done)
            await connect(reactor, address, request)
            output.write(await answer_within(reactor, timeout, request.reply))
            await output.finish()
            return
        exchange = Exchange(reactor, source, output, timeout, pause)
        await connect(reactor, address, exchange, timeout, tls)
        try:
            await exchange.done
        finally:
            # What has come is written even on failure.
            await output.finish()
        if not exchange.has_reply and tls is None:
            # A TLS server may close without a reply when it gets something other than TLS.
            note("the peer has answered nothing; if it speaks TLS, use --tls")

    return run_client(address, client)


@implementer(IInputReceiver)
class DatagramPayload:
    """Collects an input that must fit one datagram, which C{done} fires with."""

    def __init__(self, source: IInput) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._source = source
        self._data = b""

    def input_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAX_DATAGRAM_PAYLOAD and not self.done.called:
            self._source.pauseProducing()
            limit = f"a datagram holds at most {MAX_DATAGRAM_PAYLOAD} bytes"
            self.done.errback(CommandError(f"the input is too long: {limit}"))

    def input_ended(self) -> None:
        if not self.done.called:
            self.done.callback(self._data)

    def input_failed(self, error: Exception) -> None:
        self.done.errback(error)
