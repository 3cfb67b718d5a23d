"""
C{socketd send}: send text or standard input to a peer, and write the reply to standard output.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from socketd.cli.client.exchange import QUIET_SECONDS, Exchange
from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import StandardInput, StandardOutput, TextInput
from socketd.cli.common.address import Address
from socketd.cli.common.arguments import add_address, add_timeout
from socketd.cli.common.output import note
from socketd.cli.transport.asking import Question
from socketd.cli.transport.connect import connect_stream, open_datagrams, secure
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.tls_options import add_pause, add_tls, tls_options
from socketd.common.errors import CommandError

if TYPE_CHECKING:
    from socketd.cli.transport.tls import Security

NAME = "send"
HELP = "send text or standard input, print what comes back until the peer ends"

#: Maximum UDP payload over IPv4 in bytes: 65535 less 20 and 8 bytes of headers.
MAX_DATAGRAM_PAYLOAD = 65507


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments of the subcommand.

    @param parser: the parser of this subcommand.
    """
    add_address(parser)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="instead of standard input")
    parser.add_argument(
        "-n", "--newline", action="store_true", help="add a line end to TEXT"
    )
    add_timeout(parser, "fail when the peer, at its turn, says nothing for so long")
    add_tls(parser)
    add_pause(parser, QUIET_SECONDS)


def run(arguments: argparse.Namespace) -> int:
    """
    Send the input, and write the reply.

    @param arguments: the parsed command line.
    @return: the exit status.
    """

    security = secure(tls_options(arguments))

    async def client(reactor: Any) -> None:
        text = _payload(arguments.text, arguments.newline)
        source = StandardInput(reactor) if text is None else TextInput(text)
        output = StandardOutput(reactor, ends_line=os.isatty(1))
        if arguments.address.is_datagram:
            await send_datagram(reactor, arguments.address, source, output, arguments.timeout)
        else:
            exchange = Exchange(reactor, source, output, arguments.timeout, arguments.pause)
            await send_stream(reactor, arguments.address, exchange, output, security)

    return run_client(arguments.address, client)


async def send_stream(
    reactor: Any,
    address: Address,
    exchange: Exchange,
    output: IOutput,
    security: Security | None = None,
) -> None:
    """
    Send an input over a stream.

    @param reactor: the reactor.
    @param address: the peer.
    @param exchange: the exchange, not yet started.
    @param output: the output of the exchange; received data is written even on failure.
    @param security: adds TLS; C{None} for plain text.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    await connect_stream(reactor, address, exchange.link, exchange.timeout, security)
    exchange.start()
    failure = await exchange.done
    await output.finish()
    if failure is not None:
        raise failure
    if not exchange.has_answer and security is None:
        # A TLS server may close without a reply when it gets something other than TLS.
        note("the peer has answered nothing; if it speaks TLS, use --tls")


async def send_datagram(
    reactor: Any, address: Address, source: IInput, output: IOutput, timeout: float
) -> None:
    """
    Send an input as one datagram, and write the first reply.

    @param reactor: the reactor.
    @param address: the peer.
    @param source: the input.
    @param output: the destination of the reply.
    @param timeout: seconds to wait for the reply; 0 for no limit.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    gathered = Gathering(source)
    source.start(gathered)
    data = await gathered.done
    question = Question()
    await open_datagrams(reactor, address, question.link)
    output.write(await question.ask(reactor, data, timeout))
    await output.finish()


class Gathering:
    """
    Collects an input that must fit one datagram.

    @ivar done: fires with the whole input, or fails with L{CommandError}.
    """

    def __init__(self, source: IInput) -> None:
        """
        Start with an empty buffer.

        @param source: the input; reading stops when it exceeds one datagram.
        """
        self.done: Deferred[bytes] = Deferred()
        self._source = source
        self._data = b""

    def input_received(self, data: bytes) -> None:
        """
        Append to the buffer.

        @param data: bytes of the input.
        """
        self._data += data
        if len(self._data) > MAX_DATAGRAM_PAYLOAD and not self.done.called:
            self._source.pause()
            most = f"a datagram holds at most {MAX_DATAGRAM_PAYLOAD} bytes"
            self.done.errback(CommandError(f"the input is too long: {most}"))

    def input_ended(self) -> None:
        """Fire C{done} with the buffer."""
        if not self.done.called:
            self.done.callback(self._data)

    def input_failed(self, error: OSError) -> None:
        """
        Fail C{done}.

        @param error: the error of the read.
        """
        self.done.errback(CommandError(f"standard input: {error.strerror}"))


def _payload(text: str | None, newline: bool) -> bytes | None:
    if text is None:
        return None
    # The original bytes of the argument, in any encoding.
    return os.fsencode(text) + b"\n" * newline
