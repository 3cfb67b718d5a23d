"""C{socketd chat}: an interactive session with a peer, line by line."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.client.runner import run_client
from socketd.cli.client.screen import EditedScreen, Screen
from socketd.cli.client.stdio import IInput, IInputReceiver, IOutput, StandardInput, StandardOutput
from socketd.cli.common.arguments import add_address, seconds
from socketd.cli.transport.connect import connect, load_tls
from socketd.cli.transport.interface import CallbackProducer, InactivityTimer, Receiver
from socketd.cli.transport.tls_options import add_tls
from socketd.common.errors import CommandError
from socketd.common.lines import LineBuffer
from socketd.terminal.device import CbreakMode, is_terminal, terminal_width

#: Seconds to wait for more data after part of a reply: too short to notice, longer than a server
#: takes between two writes. Not used for datagrams, which are complete.
SETTLE_SECONDS = 0.05

#: Seconds to wait for the peer's EOF after ours.
EOF_SECONDS = 10.0

#: Maximum length of a line in bytes: a megabyte without a line end is not line-based input.
MAX_LINE = 1024 * 1024

#: Seconds to wait for a reply before the next line is sent; some services (C{discard}) never
#: reply.
DEFAULT_WAIT = 1.0


@implementer(IInputReceiver)
class LineDialog(Receiver):
    """Sends stripped, nonblank lines, each after the previous reply or its timeout."""

    def __init__(
        self,
        clock: IReactorTime,
        source: IInput,
        screen: Screen,
        output: IOutput,
        wait: float,
        newline: bool,
    ) -> None:
        """@param newline: whether to send the line end, too."""
        super().__init__()
        self._clock = clock
        self._source = source
        self._screen = screen
        self._output = output
        self._wait = wait
        self._line_end = b"\n" * newline
        self._input = LineBuffer(MAX_LINE)
        self._reply_timer: IDelayedCall | None = None
        self._reply_deadline = 0.0
        self._eof_timer = InactivityTimer(clock, EOF_SECONDS, self.readConnectionLost)
        self._input_ended = False
        self._is_ending = False
        self._peer_is_full = False

    # Called by the transport.

    def connectionMade(self) -> None:
        self._output.registerProducer(self.transport, True)
        self.transport.registerProducer(CallbackProducer.telling(self._peer_paused), True)
        self._source.start(self)
        self._proceed()

    def dataReceived(self, data: bytes) -> None:
        self._screen.show(data, self.transport.is_datagram)
        if self._is_ending:
            self._eof_timer.start()
        elif self._reply_timer is not None:
            settle = 0 if self.transport.is_datagram else SETTLE_SECONDS
            left = self._reply_deadline - self._clock.seconds()
            self._reply_timer.reset(max(0, min(settle, left)))
        else:
            self._proceed()

    def readConnectionLost(self) -> None:
        self._is_ending = True
        self._source.pauseProducing()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._source.pauseProducing()
        self._eof_timer.stop()
        if self._reply_timer is not None:
            self._reply_timer.cancel()
            self._reply_timer = None
        self._screen.close()
        self._is_ending = True
        super().connectionLost(reason)

    # Called by the input.

    def input_received(self, data: bytes) -> None:
        for typed in self._screen.typed(data):
            self._screen.line_typed()
            lines = self._input.feed(typed)
            if self._input.is_too_long or any(len(line) > MAX_LINE for line in lines):
                self.fail(CommandError(f"a line is longer than {MAX_LINE} bytes"))
            else:
                self._proceed()
        if self._screen.has_ended:
            self.input_ended()

    def input_ended(self) -> None:
        self._input.end()
        self._input_ended = True
        self._proceed()

    input_failed = Receiver.fail

    # Turn-taking.

    def _proceed(self) -> None:
        lines = self._input.lines
        while lines and not lines[0].strip():
            lines.popleft()
        if self._reply_timer is not None or self._peer_is_full or self._is_ending:
            self._source.pauseProducing()
        elif lines:
            self._send(lines.popleft().strip())
        elif self._input_ended:
            self._send_eof()
        else:
            self._source.resumeProducing()
            self._screen.prompt()

    def _send(self, line: bytes) -> None:
        self._source.pauseProducing()
        self._screen.new_line()
        self._reply_timer = self._clock.callLater(self._wait, self._reply_ended)
        self._reply_deadline = self._clock.seconds() + self._wait
        self.transport.write(line + self._line_end)

    def _reply_ended(self) -> None:
        self._reply_timer = None
        self._proceed()

    def _send_eof(self) -> None:
        self._is_ending = True
        self._screen.new_line()
        self._eof_timer.start()
        self.transport.loseWriteConnection()

    def _peer_paused(self, is_full: bool) -> None:
        self._peer_is_full = is_full
        if not is_full:
            self._proceed()


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
        source, output = StandardInput(reactor), StandardOutput(reactor)
        screen = Screen(output, prompts=source.is_terminal)
        if keys is not None:
            screen = edited = EditedScreen(output, terminal_width)
            keys.continued = partial(reactor.callFromThread, edited.line.redraw)
        dialog = LineDialog(reactor, source, screen, output, arguments.wait, arguments.newline)
        await connect(reactor, arguments.address, dialog, tls=tls)
        try:
            await dialog.done
        finally:
            await output.finish()

    with keys or nullcontext():
        return run_client(arguments.address, client)
