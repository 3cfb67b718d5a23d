"""Round trips as fast as an echo service answers: C{socketd ping --flood}."""

from __future__ import annotations

from socketd.cli.client.echo_probe import NUMBER_BYTES, EchoProbe
from socketd.common.errors import CommandError

#: Seconds after which the next request is sent though none was answered, as C{ping -f} does.
PAUSE = 0.01

#: The most requests without an answer; they fit the buffers of both sides. No more are sent
#: until one of them is answered or lost.
MAX_IN_FLIGHT = 128


class FloodProbe(EchoProbe):
    """
    Sends a request whenever a reply comes or L{PAUSE} has passed without one, up to
    L{MAX_IN_FLIGHT} at a time; one without a reply within the timeout is lost.
    """

    def _wait(self) -> None:
        self._timer = self._clock.callLater(PAUSE, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        overdue = self._clock.seconds() - self._plan.timeout
        while self._pending and self._pending[0].sent_at <= overdue:
            if not self.transport.is_datagram:
                # What is lost in a stream shifts all that follows.
                self._end(CommandError(f"no answer within {self._plan.timeout:g} s"))
                return
            self._pending.popleft()
        self._schedule()

    def _schedule(self) -> None:
        if self.done.called:
            return
        self._progress(self._sent, len(self._times))
        if self._sent < self._plan.count and len(self._pending) < MAX_IN_FLIGHT:
            self._send()
        elif self._pending or self._sent < self._plan.count:
            self._wait()
        else:
            self._end(None)

    def _compare_datagram(self, data: bytes) -> None:
        if not self._is_late(data):
            super()._compare_datagram(data)

    def _is_late(self, data: bytes) -> bool:
        """Tell whether a datagram answers a request that is lost already, or answered."""
        if self._plan.size < NUMBER_BYTES or any(one.data == data for one in self._pending):
            return False
        try:
            number = int(data[:NUMBER_BYTES], 16)
        except ValueError:
            return False
        return 0 <= number < self._sent and self._plan.request(number) == data
