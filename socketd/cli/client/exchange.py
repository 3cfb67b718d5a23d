"""A stream exchange: copies an input to the peer, and the peer's data to an output, until EOF."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from socketd.cli.transport.asking import no_answer
from socketd.cli.transport.inactivity import Silence
from socketd.cli.transport.interface import CallbackProducer
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.stream import StreamLink
from socketd.common.errors import CommandError

#: Seconds without data after which a reply over TLS counts as complete and C{close_notify} is
#: sent. Not sooner: the peer may close on it and drop unsent data.
QUIET_SECONDS = 1.0


class Exchange:
    """
    Sends an input, shuts down the write side, and writes the reply to an output until the peer's
    EOF.

    Backpressure applies in both directions. The inactivity timeout runs only while the peer is
    expected to act: the input is sent completely, or the write buffer is full because the peer
    does not read; and the output is not blocked.

    After the peer's EOF the peer may still read, so the rest of the input is sent. Input from a
    terminal is not continued then.

    TLS cannot signal EOF in one direction without closing. The close therefore waits until the
    peer has replied and then sent nothing for L{QUIET_SECONDS}, or has closed. Data that arrives
    after that is still written.

    @ivar link: the transport, which must be connected before L{start}.
    @ivar done: fires at the end, with the error or C{None}.
    @ivar timeout: seconds that the peer may be inactive; 0 for no limit.
    @ivar has_answer: whether the peer has sent any data.
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
        Create the object, not yet connected.

        @param clock: the clock that schedules timeouts.
        @param source: the input.
        @param output: the destination of the peer's data.
        @param timeout: seconds that the peer may be inactive; 0 for no limit.
        @param pause: seconds that replace L{QUIET_SECONDS}; 0 to wait for the peer's close;
            C{None} for L{QUIET_SECONDS}, or half the timeout where that is shorter.
        """
        if pause is None:
            pause = min(QUIET_SECONDS, timeout / 2 or QUIET_SECONDS)
        self.link = StreamLink(self)
        self.timeout = timeout
        self.done: Deferred[BaseException | None] = Deferred()
        self._source = source
        self._output = output
        self._silence = Silence(clock, timeout, self._expired)
        self._quiet = Silence(clock, pause, self._end)
        self._failure: BaseException | None = None
        self.has_answer = False
        self._source_ended = False
        self._has_told_end = False
        self._peer_ended = False
        self._peer_is_full = False
        self._output_is_full = False

    def start(self) -> None:
        """Start the exchange; the transport must be connected."""
        self._output.registerProducer(
            CallbackProducer(self._output_full, self._output_ready, self.link.abort), True
        )
        self.link.hold(CallbackProducer(self._peer_full, self._peer_ready, lambda: None))
        self._source.start(self)

    # Called by the input.

    def input_received(self, data: bytes) -> None:
        """
        Send input to the peer.

        @param data: bytes of the input.
        """
        self.link.send(data)

    def input_ended(self) -> None:
        """Signal EOF to the peer, and wait for the rest of its reply."""
        self._source_ended = True
        if self._peer_ended:
            self.link.close()
        elif self.link.can_end:
            self._end()
        self._watch()

    def input_failed(self, error: OSError) -> None:
        """
        Reset the connection, so that the peer does not take a truncated input for a complete one.

        @param error: the error of the read.
        """
        self._fail(CommandError(f"standard input: {error.strerror}"))

    # Called by the transport.

    def answered(self, data: bytes) -> None:
        """
        Write the peer's data to the output.

        @param data: bytes from the peer.
        """
        self.has_answer = True
        self._output.write(data)
        self._watch()

    def peer_ended(self) -> None:
        """Close on the peer's EOF, unless input is left to send."""
        self._peer_ended = True
        if self._source_ended or self._source.is_terminal:
            self._source.pause()
            self.link.close()

    def lost(self, reason: Failure) -> None:
        """
        Stop the timers, and fire C{done}.

        @param reason: why the connection ended.
        """
        self._silence.stop()
        self._quiet.stop()
        self._source.pause()
        if self._failure is None and not reason.check(ConnectionDone):
            self._failure = reason.value
        self.done.callback(self._failure)

    # Called by the two producers.

    def _output_full(self) -> None:
        self._output_is_full = True
        self.link.pause()
        self._watch()

    def _output_ready(self) -> None:
        self._output_is_full = False
        self.link.resume()
        self._watch()

    def _peer_full(self) -> None:
        self._peer_is_full = True
        self._source.pause()
        self._watch()

    def _peer_ready(self) -> None:
        self._peer_is_full = False
        self._source.resume()
        self._watch()

    # The inactivity timers.

    def _watch(self) -> None:
        if (self._source_ended or self._peer_is_full) and not self._output_is_full:
            self._silence.start()
        else:
            self._silence.stop()
        if self._source_ended and self.has_answer and not self._has_told_end:
            self._quiet.start()

    def _end(self) -> None:
        self._has_told_end = True
        self.link.end()

    def _expired(self) -> None:
        if self.has_answer:
            self._fail(CommandError(f"the peer was silent for {self.timeout:g} s"))
        else:
            self._fail(no_answer(self.timeout))

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        self.link.abort()
