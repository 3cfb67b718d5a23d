"""The sender of STAMP (RFC 8762, section 4.2): packets at an interval, and their answers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.client.stamp.results import Sample, StampResults
from socketd.cli.transport.interface import Receiver
from socketd.common.system_clock import ClockState
from socketd.protocols.measure.stamp_packet import (
    LIGHT_ANSWER_LENGTH,
    OPEN_LENGTH,
    PTP,
    Answer,
    error_estimate,
    error_of,
    instant_of,
    parse_answer,
    timestamps,
    write_request,
)

#: The TTL of packets, so that what is left of it tells the way (RFC 5357, section 4.1.2).
TTL = 255

# The header of an Extra Padding TLV, with the flag U (RFC 8972, section 4.1), and of a Direct
# Measurement TLV, with U and without (section 4.5): the number of packets, and two counters of the
# reflector.
_PADDING = struct.Struct("!BBH")
_COUNTS = struct.Struct("!HHIII")
_ASK_COUNTS, _COUNTS_ANSWER, _COUNTS_LENGTH = 0x8005, 0x0005, 12

_SECOND = 10**9


@frozen
class StampPlan:
    """
    The parameters of a measurement; times are in seconds.

    @ivar size: bytes of a packet: 44 without TLVs, 60 with a Direct Measurement TLV, which tells
        whether the reflector counts, and from 64 on with Extra Padding, too.
    @ivar dscp: that of the packets; the reflector's have it, too.
    """

    count: int
    interval: float
    timeout: float
    size: int = OPEN_LENGTH
    dscp: int = 0

    def tlvs(self, number: int) -> bytes:
        """Make what follows the base packet of a sequence number."""
        if self.size == OPEN_LENGTH:
            return b""
        counts = _COUNTS.pack(_ASK_COUNTS, _COUNTS_LENGTH, number + 1, 0, 0)
        length = self.size - OPEN_LENGTH - _COUNTS.size - _PADDING.size
        return counts + (_PADDING.pack(0x80, 1, length) + bytes(length) if length >= 0 else b"")


@frozen
class SentPacket:
    """
    A packet: when it was sent, by the time of day (ns) and on the monotonic clock (s), and as it
    says on the wire.
    """

    wall: int
    monotonic: float
    timestamp: int


class StampProbe(Receiver):
    """
    Sends packets, and collects what the answers show.

    @ivar done: fires when all are answered or the last one has had its time.
    """

    def __init__(
        self,
        clock: Any,
        plan: StampPlan,
        wall_clock: Callable[[], int],
        state: ClockState,
        progress: Callable[[int, int], object] = lambda *_: None,
    ) -> None:
        """
        @param wall_clock: returns the time of day in nanoseconds since 1970.
        @param state: that of this machine's clock.
        """
        super().__init__()
        self.results = StampResults()
        self._clock = clock
        self._plan = plan
        self._wall_clock = wall_clock
        self._error = error_estimate(state, wall_clock() / _SECOND, False)
        self._progress = progress
        self._sent: list[SentPacket] = []
        self._timer: IDelayedCall | None = None
        self._started_at = 0.0

    def connectionMade(self) -> None:
        self._started_at = self._clock.seconds()
        self.transport.mark(TTL, self._plan.dscp << 2)
        self._send()

    def _send(self) -> None:
        number = len(self._sent)
        now = self._wall_clock()
        timestamp, _ = timestamps(now, now, False)
        self._sent.append(SentPacket(now, self._clock.seconds(), timestamp))
        self.results.sent += 1
        packet = write_request(number, timestamp, self._error, 0)
        self.transport.write(packet + self._plan.tlvs(number))
        self._progress(self.results.sent, len(self.results.samples))
        self._wait()

    def _wait(self) -> None:
        """Set the timer for the next packet, or for the end."""
        if len(self._sent) < self._plan.count:
            due = self._started_at + len(self._sent) * self._plan.interval
            delay = max(0.0, due - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._send)
        else:
            self._timer = self._clock.callLater(self._plan.timeout, self._end)

    def dataReceived(self, data: bytes) -> None:
        wall, monotonic = self._wall_clock(), self._clock.seconds()
        answer = parse_answer(data) if len(data) >= LIGHT_ANSWER_LENGTH else None
        sent = None if answer is None else self._packet_of(answer)
        if answer is None or sent is None:
            self.results.wrong += 1
            return
        if monotonic - sent.monotonic <= self._plan.timeout:
            sample = self._sample(answer, sent, wall, monotonic)
            self.results.add(sample, _is_counted(data))
        if len(self.results.samples) == self._plan.count:
            self._end()

    def _packet_of(self, answer: Answer) -> SentPacket | None:
        """Find the packet that an answer is to; C{None} if it is to none."""
        asked = answer.request
        sent = self._sent[asked.sequence] if asked.sequence < len(self._sent) else None
        if sent is None or sent.timestamp.to_bytes(8, "big") != asked.timestamp:
            return None
        return sent

    def _sample(self, answer: Answer, sent: SentPacket, wall: int, monotonic: float) -> Sample:
        ptp = bool(answer.error & PTP)
        received = instant_of(answer.received, ptp, wall)
        answered = instant_of(answer.sent, ptp, wall)
        ours, theirs = error_of(self._error), error_of(answer.error)
        return Sample(
            asked=answer.request.sequence,
            answered=answer.sequence,
            forward=(received - sent.wall) / _SECOND,
            backward=(wall - answered) / _SECOND,
            round_trip=monotonic - sent.monotonic - (answered - received) / _SECOND,
            error=None if ours is None or theirs is None else ours + theirs,
            ttl=answer.ttl,
        )

    def _end(self) -> None:
        if not self.done.called:
            self._stop()
            self.transport.loseConnection()
            self.done.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self._stop()
            self.done.errback(reason)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _is_counted(data: bytes) -> bool:
    """Tell whether the reflector has counted its answers, which a stateless one does not."""
    if len(data) < OPEN_LENGTH + _COUNTS.size:
        return False
    head, length, _, _, answers = _COUNTS.unpack_from(data, OPEN_LENGTH)
    return bool(head == _COUNTS_ANSWER and length == _COUNTS_LENGTH and answers)
