"""A line-by-line dialog: sends a line, shows the reply, sends the next."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from socketd.cli.client.lines import LineSplitter
from socketd.cli.client.screen import Screen
from socketd.cli.transport.inactivity import Silence
from socketd.cli.transport.interface import CallbackProducer, IPeerTransport
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.common.errors import CommandError

#: Seconds to wait for more data after part of a reply: too short to notice, longer than a server
#: takes between two writes. Not used for datagrams, which are complete.
SETTLE_SECONDS = 0.05

#: Seconds to wait for the peer's EOF after ours.
FAREWELL_SECONDS = 10.0


class Conversation:
    """
    Sends a line, waits for the reply or the timeout, then sends the next.

    @ivar done: fires at the end, with the error or C{None}.
    """

    def __init__(
        self, clock: IReactorTime, source: IInput, screen: Screen, wait: float, newline: bool
    ) -> None:
        """
        Create the dialog, not yet connected.

        @param clock: the clock that schedules timeouts.
        @param source: the input of the lines.
        @param screen: shows the replies.
        @param wait: seconds to wait for a reply.
        @param newline: whether to send the line end, too.
        """
        self.done: Deferred[BaseException | None] = Deferred()
        self._clock = clock
        self._source = source
        self._screen = screen
        self._wait = wait
        self._ending = b"\n" * newline
        self._splitter = LineSplitter()
        self._lines: deque[bytes] = deque()
        self._turn: IDelayedCall | None = None
        self._turn_ends = 0.0
        self._farewell = Silence(clock, FAREWELL_SECONDS, self._part)
        self._failure: BaseException | None = None
        self._input_ended = False
        self._has_said_farewell = False
        self._peer_is_full = False

    def start(self, link: IPeerTransport, output: IOutput) -> None:
        """
        Start the dialog.

        @param link: the transport, already connected.
        @param output: the output that the screen writes to.
        """
        self._link = link
        output.registerProducer(CallbackProducer(link.pause, link.resume, link.abort), True)
        link.hold(CallbackProducer(self._peer_full, self._peer_ready, lambda: None))
        self._source.start(self)
        self._go_on()

    # Called by the input.

    def input_received(self, data: bytes) -> None:
        """
        Queue the complete lines of the input.

        @param data: bytes of the input.
        """
        self._screen.line_typed()
        try:
            self._lines.extend(self._splitter.feed(data))
        except ValueError as error:
            self._fail(CommandError(str(error)))
        else:
            self._go_on()

    def input_ended(self) -> None:
        """Queue the rest of the input as the last line."""
        self._lines.extend(self._splitter.end())
        self._input_ended = True
        self._go_on()

    def input_failed(self, error: OSError) -> None:
        """
        Abort the connection.

        @param error: the error of the read.
        """
        self._fail(CommandError(f"standard input: {error.strerror}"))

    # Called by the transport.

    def answered(self, data: bytes) -> None:
        """
        Show part of a reply.

        @param data: bytes of a stream, or one datagram.
        """
        self._screen.show(data, self._link.keeps_messages)
        if self._has_said_farewell:
            self._farewell.start()
        elif self._turn is not None:
            settle = 0 if self._link.keeps_messages else SETTLE_SECONDS
            self._turn.reset(max(0, min(settle, self._turn_ends - self._clock.seconds())))
        else:
            self._go_on()

    def peer_ended(self) -> None:
        """Close on the peer's EOF."""
        self._part()

    def lost(self, reason: Failure) -> None:
        """
        Stop the timers, close the screen, and fire C{done}.

        @param reason: why the connection ended.
        """
        self._source.pause()
        self._farewell.stop()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._screen.close()
        if self._failure is None and not reason.check(ConnectionDone):
            self._failure = reason.value
        self._has_said_farewell = True
        self.done.callback(self._failure)

    # Turn-taking.

    def _go_on(self) -> None:
        if self._turn is not None or self._peer_is_full or self._has_said_farewell:
            self._source.pause()
        elif self._lines:
            self._say(self._lines.popleft())
        elif self._input_ended:
            self._say_farewell()
        else:
            self._source.resume()
            self._screen.prompt()

    def _say(self, line: bytes) -> None:
        self._source.pause()
        self._screen.new_line()
        self._turn = self._clock.callLater(self._wait, self._turn_over)
        self._turn_ends = self._clock.seconds() + self._wait
        self._link.send(line + self._ending)

    def _turn_over(self) -> None:
        self._turn = None
        self._go_on()

    def _say_farewell(self) -> None:
        self._has_said_farewell = True
        self._screen.new_line()
        self._farewell.start()
        self._link.end()

    def _peer_full(self) -> None:
        self._peer_is_full = True

    def _peer_ready(self) -> None:
        self._peer_is_full = False
        self._go_on()

    def _part(self) -> None:
        self._has_said_farewell = True
        self._source.pause()
        self._link.close()

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self._link.abort()
