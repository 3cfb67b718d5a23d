"""The sender of STAMP (RFC 8762, section 4.2): packets at an interval, and their answers."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import Any

from attrs import frozen

from socketd.cli.client.stamp.results import Sample, StampResults
from socketd.cli.transport.interface import Probe
from socketd.common.system_clock import ClockState
from socketd.protocols.measure import stamp_packet

#: The TTL of packets, so that what is left of it tells the way (RFC 5357, section 4.1.2).
TTL = 255

#: An answer is read no later than so long after the kernel got it (ns); else the clock was set.
MAX_DELIVERY = 10**9

# The header of an Extra Padding TLV, and of an HMAC TLV, with the flag U (RFC 8972, sections 4.1
# and 4.8), and a Direct Measurement TLV, with U and without (section 4.5): the number of packets,
# and two counters of the reflector.
_HEAD = struct.Struct("!HH")
_ASK_PADDING, _ASK_HMAC = 0x8001, 0x8008
_COUNTS = struct.Struct("!HHIII")
_ASK_COUNTS, _COUNTS_ANSWER, _COUNTS_LENGTH = 0x8005, 0x0005, 12
_HMAC_TLV_LENGTH = _HEAD.size + stamp_packet.HMAC_LENGTH

_SECOND = 10**9


def sizes(is_authenticated: bool) -> tuple[int, int, int]:
    """
    Give the sizes of packets (bytes): without TLVs, with a Direct Measurement TLV, which tells
    whether the reflector counts, and the least with Extra Padding, too.
    """
    base = stamp_packet.AUTHENTICATED_LENGTH if is_authenticated else stamp_packet.OPEN_LENGTH
    counted = base + _COUNTS.size + (_HMAC_TLV_LENGTH if is_authenticated else 0)
    return base, counted, counted + _HEAD.size


@frozen
class StampPlan:
    """
    What to send: seconds, bytes of a packet (see L{sizes}), and for the session its SSID, 0 for
    none, and its key; without a key packets are not authenticated.
    """

    count: int
    interval: float
    timeout: float
    size: int = stamp_packet.OPEN_LENGTH
    dscp: int = 0
    ssid: int = 0
    key: bytes | None = None

    def packet(self, number: int, timestamp: int, error: int) -> bytes:
        """Make the packet of a sequence number."""
        said = number, timestamp, error, self.ssid
        if self.key is None:
            base = stamp_packet.write_request(*said)
        else:
            base = stamp_packet.write_authenticated_request(*said, self.key)
        return base + self._tlvs(number)

    def _tlvs(self, number: int) -> bytes:
        base, counted, _ = sizes(self.key is not None)
        if self.size == base:
            return b""
        tlvs = _COUNTS.pack(_ASK_COUNTS, _COUNTS_LENGTH, number + 1, 0, 0)
        padding = self.size - counted - _HEAD.size
        if padding >= 0:
            tlvs += _HEAD.pack(_ASK_PADDING, padding) + bytes(padding)
        if self.key is None:
            return tlvs
        return (
            tlvs
            + _HEAD.pack(_ASK_HMAC, stamp_packet.HMAC_LENGTH)
            + _tlv_digest(self.key, number, tlvs)
        )

    def is_counted(self, answer: bytes, number: int) -> bool:
        """
        Tell whether the reflector has counted its answers, which a stateless one does not; with a
        key, only if the HMAC of the TLVs is right.
        """
        tlvs = answer[sizes(self.key is not None)[0] :]
        if self.key is not None:
            tlvs, code = tlvs[:-_HMAC_TLV_LENGTH], tlvs[-stamp_packet.HMAC_LENGTH :]
            if not hmac.compare_digest(code, _tlv_digest(self.key, number, tlvs)):
                return False
        if len(tlvs) < _COUNTS.size:
            return False
        head, length, _, _, answers = _COUNTS.unpack_from(tlvs)
        return bool(head == _COUNTS_ANSWER and length == _COUNTS_LENGTH and answers)


def _tlv_digest(key: bytes, number: int, tlvs: bytes) -> bytes:
    return stamp_packet.digest(key, number.to_bytes(4, "big") + tlvs)


@frozen
class SentPacket:
    """
    A packet: when it was sent, by the time of day (ns) and on the monotonic clock (s), and as it
    says on the wire.
    """

    wall: int
    monotonic: float
    timestamp: int


class StampProbe(Probe):
    """Sends packets, and collects what the answers show."""

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
        super().__init__(clock)
        self.results = StampResults()
        self._plan = plan
        self._wall_clock = wall_clock
        self._error = stamp_packet.error_estimate(state, wall_clock() / _SECOND, False)
        self._progress = progress
        self._sent: list[SentPacket] = []
        self._started_at = 0.0

    def connectionMade(self) -> None:
        self._started_at = self._clock.seconds()
        self.transport.mark(TTL, self._plan.dscp << 2)
        self.transport.stamp_arrivals()
        self._send()

    def _send(self) -> None:
        number = len(self._sent)
        now = self._wall_clock()
        timestamp, _ = stamp_packet.timestamps(now, now, False)
        self._sent.append(SentPacket(now, self._clock.seconds(), timestamp))
        self.results.sent += 1
        self.transport.write(self._plan.packet(number, timestamp, self._error))
        self._progress(self.results.sent, len(self.results.samples))
        self._wait()

    def _wait(self) -> None:
        """Set the timer for the next packet, or for the end."""
        if len(self._sent) < self._plan.count:
            due = self._started_at + len(self._sent) * self._plan.interval
            self._set_timer(due - self._clock.seconds(), self._send)
        else:
            self._set_timer(self._plan.timeout, self._end)

    def dataReceived(self, data: bytes) -> None:
        wall, monotonic = self._arrival()
        answer = self._read(data)
        sent = None if answer is None else self._packet_of(answer)
        if answer is None or sent is None:
            self.results.wrong += 1
            return
        if monotonic - sent.monotonic <= self._plan.timeout:
            sample = self._sample(answer, sent, wall, monotonic)
            self.results.add(sample, self._plan.is_counted(data, answer.sequence))
        if len(self.results.samples) == self._plan.count:
            self._end()

    def _arrival(self) -> tuple[int, float]:
        """
        Tell when the current datagram came, without the wait for this process if the kernel says
        so: the time of day (ns), and the monotonic clock (s).
        """
        wall, monotonic = self._wall_clock(), self._clock.seconds()
        arrived = self.transport.arrived_at
        if arrived is None or not 0 <= wall - arrived <= MAX_DELIVERY:
            return wall, monotonic
        return arrived, monotonic - (wall - arrived) / _SECOND

    def _read(self, data: bytes) -> stamp_packet.Answer | None:
        """Read an answer, whose HMAC is checked first; C{None} if it is none."""
        key = self._plan.key
        if key is None:
            is_whole = len(data) >= stamp_packet.LIGHT_ANSWER_LENGTH
            return stamp_packet.parse_answer(data) if is_whole else None
        if len(data) < stamp_packet.AUTHENTICATED_LENGTH:
            return None
        if not stamp_packet.is_authentic(data, key):
            self.results.bad_hmac += 1
            return None
        return stamp_packet.parse_authenticated_answer(data)

    def _packet_of(self, answer: stamp_packet.Answer) -> SentPacket | None:
        """Find the packet that an answer is to; C{None} if it is to none."""
        asked, ssid = answer.request, self._plan.ssid
        # A reflector without RFC 8972 writes none.
        if ssid and answer.ssid not in (ssid, 0):
            return None
        self.results.is_ssid_lost |= bool(ssid and not answer.ssid)
        sent = self._sent[asked.sequence] if asked.sequence < len(self._sent) else None
        if sent is None or sent.timestamp != asked.timestamp:
            return None
        return sent

    def _sample(
        self, answer: stamp_packet.Answer, sent: SentPacket, wall: int, monotonic: float
    ) -> Sample:
        ptp = bool(answer.error & stamp_packet.PTP)
        received = stamp_packet.instant_of(answer.received, ptp, wall)
        answered = stamp_packet.instant_of(answer.sent, ptp, wall)
        ours, theirs = stamp_packet.error_of(self._error), stamp_packet.error_of(answer.error)
        return Sample(
            asked=answer.request.sequence,
            answered=answer.sequence,
            forward=(received - sent.wall) / _SECOND,
            backward=(wall - answered) / _SECOND,
            round_trip=monotonic - sent.monotonic - (answered - received) / _SECOND,
            error=None if ours is None or theirs is None else ours + theirs,
            ttl=answer.ttl,
        )
