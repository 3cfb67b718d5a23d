"""
C{socketd send}: text or standard input to a peer, and what comes back to standard output.
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
from socketd.cli.common.errors import CommandError
from socketd.cli.common.output import note
from socketd.cli.transport.asking import Question
from socketd.cli.transport.connect import connect_stream, open_datagrams, secure
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.tls_options import add_pause, add_tls, tls_options

if TYPE_CHECKING:
    from socketd.cli.transport.tls import Security

NAME = "send"
HELP = "send text or standard input, print what comes back until the peer ends"

MAX_DATAGRAM_PAYLOAD = 65507
"""
What is left of an IPv4 packet for a UDP datagram: 65535 less 20 and 8 bytes of headers.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the arguments.

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
    Send.

    @param arguments: what was parsed.
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
    @param exchange: not started.
    @param output: what it writes to; what came is all written even on failure.
    @param security: what adds TLS.
    @raise Exception: what L{socketd.cli.transport.error_text.explain} can put in words.
    """
    await connect_stream(reactor, address, exchange.link, exchange.timeout, security)
    exchange.start()
    failure = await exchange.done
    await output.finish()
    if failure is not None:
        raise failure
    if not exchange.has_answer and security is None:
        # A server of TLS closes, too, where what comes is none.
        note("the peer has answered nothing; if it speaks TLS, use --tls")


async def send_datagram(
    reactor: Any, address: Address, source: IInput, output: IOutput, timeout: float
) -> None:
    """
    Send an input as one datagram, and write the first that comes back.

    @param reactor: the reactor.
    @param address: the peer.
    @param source: the input.
    @param output: where the answer goes.
    @param timeout: how many seconds it may take; 0 for ever.
    @raise Exception: what L{socketd.cli.transport.error_text.explain} can put in words.
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
    Gathers an input that has to fit a datagram.

    @ivar done: fires with all of it, or fails with L{CommandError}.
    """

    def __init__(self, source: IInput) -> None:
        """
        Begin empty.

        @param source: the input, which is read no further than it would fit.
        """
        self.done: Deferred[bytes] = Deferred()
        self._source = source
        self._data = b""

    def input_received(self, data: bytes) -> None:
        """
        Add to what there is.

        @param data: some bytes of the input.
        """
        self._data += data
        if len(self._data) > MAX_DATAGRAM_PAYLOAD and not self.done.called:
            self._source.pause()
            most = f"a datagram holds at most {MAX_DATAGRAM_PAYLOAD} bytes"
            self.done.errback(CommandError(f"the input is too long: {most}"))

    def input_ended(self) -> None:
        """
        Hand over what there is.
        """
        if not self.done.called:
            self.done.callback(self._data)

    def input_failed(self, error: OSError) -> None:
        """
        Give up.

        @param error: why the input cannot be read.
        """
        self.done.errback(CommandError(f"standard input: {error.strerror}"))


def _payload(text: str | None, newline: bool) -> bytes | None:
    if text is None:
        return None
    # What the shell handed over, whatever the encoding.
    return os.fsencode(text) + b"\n" * newline
