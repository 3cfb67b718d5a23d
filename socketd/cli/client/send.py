"""C{socketd send}: send text or standard input to a peer, and write the reply."""

from __future__ import annotations

import argparse
import os
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.client.runner import run_client
from socketd.cli.client.stdio import (
    IInput,
    IInputReceiver,
    IOutput,
    StandardInput,
    StandardOutput,
    TextInput,
)
from socketd.cli.common.arguments import add_address, add_timeout, seconds
from socketd.cli.common.output import note
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.error_text import no_answer
from socketd.cli.transport.interface import CallbackProducer, InactivityTimer, Receiver
from socketd.cli.transport.tls_options import add_tls
from socketd.common.errors import CommandError

#: Seconds without data after which a reply over TLS counts as complete and C{close_notify} is
#: sent. Not sooner: the peer may close on it and drop unsent data.
QUIET_SECONDS = 1.0

UNSENT = "the peer has closed the connection before all of the input was sent"

#: Maximum UDP payload over IPv4 in bytes: 65535 less 20 and 8 bytes of headers.
MAX_DATAGRAM_PAYLOAD = 65507


@implementer(IInputReceiver)
class Exchange(Receiver):
    """
    Sends an input, shuts down the write side, and writes the reply to an output until the peer's
    EOF; or in one datagram, and writes the first that comes back.

    Backpressure applies in both directions. The inactivity timeout runs only while the peer is
    expected to act: the input is sent completely, or the write buffer is full because the peer
    does not read; and the output is not blocked.

    After the peer's EOF the peer may still read, so the rest of the input is sent. Input from a
    terminal is not continued then.

    TLS cannot signal EOF in one direction without closing. The close therefore waits until the
    peer has replied and then sent nothing for L{QUIET_SECONDS}, or has closed. Data that arrives
    after that is still written.

    @ivar has_reply: whether the peer has sent anything.
    """

    def __init__(
        self,
        clock: IReactorTime,
        source: IInput,
        output: IOutput,
        timeout: float,
        pause: float | None = None,
    ) -> None:
        """
        @param timeout: seconds that the peer may be inactive; 0 for no limit.
        @param pause: seconds that replace L{QUIET_SECONDS}; 0 to wait for the peer's close;
            C{None} for L{QUIET_SECONDS}, or half the timeout where that is shorter.
        """
        super().__init__()
        if pause is None:
            pause = min(QUIET_SECONDS, timeout / 2 or QUIET_SECONDS)
        self._timeout = timeout
        self.has_reply = False
        self._datagram = b""
        self._source = source
        self._output = output
        self._inactivity = InactivityTimer(clock, timeout, self._expired)
        self._quiet = InactivityTimer(clock, pause, self._send_eof)
        self._input_ended = False
        self._has_sent_eof = False
        self._peer_ended = False
        self._peer_is_full = False
        self._output_is_full = False

    # Called by the transport.

    def connectionMade(self) -> None:
        reading = CallbackProducer.telling(self._output_paused, self.transport.abortConnection)
        self._output.registerProducer(reading, True)
        self.transport.registerProducer(CallbackProducer.telling(self._peer_paused), True)
        self._source.start(self)

    def dataReceived(self, data: bytes) -> None:
        self.has_reply = True
        self._output.write(data)
        self._watch()
        if self.transport.is_datagram:
            self.transport.loseConnection()

    def readConnectionLost(self) -> None:
        """Close on the peer's EOF, unless input is left to send."""
        self._peer_ended = True
        if self._input_ended or self._source.is_terminal:
            self._source.pauseProducing()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._inactivity.stop()
        self._quiet.stop()
        self._source.pauseProducing()
        is_cut = not (self._input_ended or self._source.is_terminal)
        if is_cut and self._failure is None and (self._peer_ended or reason.check(ConnectionDone)):
            self._failure = CommandError(UNSENT)
        super().connectionLost(reason)

    # Called by the input.

    def input_received(self, data: bytes) -> None:
        if not self.transport.is_datagram:
            self.transport.write(data)
            return
        self._datagram += data
        if len(self._datagram) > MAX_DATAGRAM_PAYLOAD:
            self._source.pauseProducing()
            limit = f"a datagram holds at most {MAX_DATAGRAM_PAYLOAD} bytes"
            self.fail(CommandError(f"the input is too long: {limit}"))

    def input_ended(self) -> None:
        """Send EOF, or the datagram, and wait for the rest of the reply."""
        self._input_ended = True
        if self.transport.is_datagram:
            if self._failure is None:
                self.transport.write(self._datagram)
        elif self._peer_ended:
            self.transport.loseConnection()
        elif self.transport.can_half_close:
            self._send_eof()
        self._watch()

    # A reset, so that the peer does not take a truncated input for a complete one.
    input_failed = Receiver.fail

    # Called by the two producers.

    def _output_paused(self, is_full: bool) -> None:
        self._output_is_full = is_full
        (self.transport.pauseProducing if is_full else self.transport.resumeProducing)()
        self._watch()

    def _peer_paused(self, is_full: bool) -> None:
        self._peer_is_full = is_full
        (self._source.pauseProducing if is_full else self._source.resumeProducing)()
        self._watch()

    # The inactivity timers.

    def _watch(self) -> None:
        if (self._input_ended or self._peer_is_full) and not self._output_is_full:
            self._inactivity.start()
        else:
            self._inactivity.stop()
        if self._input_ended and self.has_reply and not self._has_sent_eof:
            self._quiet.start()

    def _send_eof(self) -> None:
        self._has_sent_eof = True
        self.transport.loseWriteConnection()

    def _expired(self) -> None:
        if self.has_reply:
            self.fail(CommandError(f"the peer was silent for {self._timeout:g} s"))
        else:
            self.fail(no_answer(self._timeout))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    add_address(parser)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="instead of standard input")
    parser.add_argument("-n", "--newline", action="store_true", help="add a line end to TEXT")
    add_timeout(parser, "fail when the peer, at its turn, says nothing for so long")
    add_tls(parser)
    parser.add_argument(
        "--pause", metavar="SECONDS", type=seconds,
        help="over TLS, which cannot end one direction only, the connection is closed when the "
        "peer closes it, or when it has answered and then paused for so long "
        f"(default {QUIET_SECONDS:g}; 0: only when the peer closes it)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Send the input, write the reply, and return the exit status."""
    text = None
    if arguments.text is not None:
        # The original bytes of the argument, in any encoding.
        text = os.fsencode(arguments.text) + b"\n" * arguments.newline
    return send(arguments, text, arguments.pause)


def send(
    arguments: argparse.Namespace,
    text: bytes | None,
    pause: float | None = None,
    needs_reply: bool = False,
) -> int:
    """
    Send a text or standard input; write the reply until EOF, or the first datagram.

    @param needs_reply: whether a peer that answers nothing is a failure.
    """
    tls, address, timeout = load_tls(arguments), arguments.address, arguments.timeout

    async def client(reactor: Any) -> None:
        source: IInput = StandardInput(reactor) if text is None else TextInput(text)
        output = StandardOutput(reactor, ends_line=os.isatty(1))
        exchange = Exchange(reactor, source, output, timeout, pause)
        await connect(reactor, address, exchange, timeout, tls)
        try:
            await exchange.done
        finally:
            # What has come is written even on failure.
            await output.finish()
        if not exchange.has_reply and (needs_reply or tls is None):
            # A TLS server may close without a reply when it gets something other than TLS.
            told = "the peer has answered nothing"
            told += "; if it speaks TLS, use --tls" if tls is None else ""
            if needs_reply:
                raise CommandError(told)
            note(told)

    return run_client(address, client)
