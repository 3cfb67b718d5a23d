"""
An input to a peer, and what the peer says to an output, until it ends.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from socketd.cli.common.errors import CommandError
from socketd.cli.transport.asking import no_answer
from socketd.cli.transport.inactivity import Silence
from socketd.cli.transport.interface import CallbackProducer
from socketd.cli.transport.interfaces import IInput, IOutput
from socketd.cli.transport.stream import StreamLink

QUIET_SECONDS = 1.0
"""
After a pause of this length an answer over TLS counts as whole, and the peer is told our end: it
may close at that, and lose what it had still to say.
"""


class Exchange:
    """
    Sends an input, shuts down the writing side, and writes what comes back until the peer ends.

    Neither side is read faster than the other takes it. The peer's silence is counted only while
    it is the peer's turn: the input is all sent, or the peer takes no more of it; and the output
    is not what holds everything up.

    A peer that ends before the input does may still be listening, so the rest is sent as long as
    it takes it. Nobody at a terminal is asked for more input then.

    Over TLS the end of the input can be told only by closing. That waits until the peer has
    answered and then been quiet for L{QUIET_SECONDS}, or has ended by itself. What the peer still
    says after that is written too.

    @ivar link: what has to be connected before the L{start}.
    @ivar done: fires in the end, with what failed or C{None}.
    @ivar timeout: how many seconds the peer may be silent; 0 for ever.
    @ivar has_answer: whether the peer has said anything.
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
        Begin unconnected.

        @param clock: what keeps the time.
        @param source: the input.
        @param output: where the peer's bytes go.
        @param timeout: how many seconds the peer may be silent; 0 for ever.
        @param pause: what stands for L{QUIET_SECONDS}; 0 for ever, C{None} for these, or for half
            of a shorter timeout.
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
        """
        Begin to send; the link is connected.
        """
        self._output.registerProducer(
            CallbackProducer(self._output_full, self._output_ready, self.link.abort), True
        )
        self.link.hold(CallbackProducer(self._peer_full, self._peer_ready, lambda: None))
        self._source.start(self)

    # What the input calls.

    def input_received(self, data: bytes) -> None:
        """
        Send it.

        @param data: some bytes of the input.
        """
        self.link.send(data)

    def input_ended(self) -> None:
        """
        Tell the peer, and wait for what it still says.
        """
        self._source_ended = True
        if self._peer_ended:
            self.link.close()
        elif self.link.can_end:
            self._end()
        self._watch()

    def input_failed(self, error: OSError) -> None:
        """
        Give up: the peer must not take half an input for the whole.

        @param error: why it cannot be read.
        """
        self._fail(CommandError(f"standard input: {error.strerror}"))

    # What the link calls.

    def answered(self, data: bytes) -> None:
        """
        Write it.

        @param data: some bytes from the peer.
        """
        self.has_answer = True
        self._output.write(data)
        self._watch()

    def peer_ended(self) -> None:
        """
        Part, unless something is left to send.
        """
        self._peer_ended = True
        if self._source_ended or self._source.is_terminal:
            self._source.pause()
            self.link.close()

    def lost(self, reason: Failure) -> None:
        """
        End.

        @param reason: why there is no peer any more.
        """
        self._silence.stop()
        self._quiet.stop()
        self._source.pause()
        if self._failure is None and not reason.check(ConnectionDone):
            self._failure = reason.value
        self.done.callback(self._failure)

    # What the two valves call.

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

    # The peer's silence.

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
