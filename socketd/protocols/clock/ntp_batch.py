"""The answers of C{ntp} to many requests at once: what they have in common is written once."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable

from socketd.common.system_clock import BUILD_DATE, ClockState
from socketd.protocols.clock.ntp_answer import (
    MAX_STAY,
    REPLY_MODES,
    NtpOptions,
    answer,
    is_fit,
    reference_time,
    root_dispersion,
    write_head,
)
from socketd.protocols.clock.ntp_time import SECONDS_1900_TO_1970, Instant, wide_timestamp

#: What a request tells: its first three bytes, and its transmit timestamp. Nothing else of its
#: 48 bytes is looked at.
REQUEST = "3s37xQ"

#: How long before and after a moment (nanoseconds) the error may be the same in units of NTP: it
#: grows by one in 30 ms.
SPANS = (1 << 24, 1 << 22, 1 << 20, 1 << 17)

#: Heads that are kept meanwhile: clients differ in version and poll interval only.
MAX_HEADS = 256

_SECOND = 10**9
_EPOCH = SECONDS_1900_TO_1970 * _SECOND
_MASK = (1 << 64) - 1
_EARLIEST = BUILD_DATE * _SECOND
_REST = struct.Struct("!37xQ")

# Head, reference, origin, receive, transmit.
_ANSWER = struct.Struct("!16sQQQQ")


class BatchWriter:
    """
    Writes what L{answer} does, for requests of 48 bytes.

    The head of an answer depends on the state of the clock and on the error at the time of
    arrival, and is the same as long as both are. Whatever is not usual is left to L{answer}.
    """

    def __init__(
        self, options: NtpOptions, random_bits: Callable[[int], int] = random.getrandbits
    ) -> None:
        self._options = options
        self._bits = random_bits
        self._state = ClockState()
        self._heads: dict[bytes, bytes] = {}
        self._reference = self._fuzz = self._kept_bits = 0
        # The times of arrival for which the heads hold: none.
        self._first, self._last = 1, 0

    def prepare(self, request: tuple[tuple[bytes, int], Instant], state: ClockState) -> None:
        """Write what answers to the next requests have in common, of which this is the first."""
        (start, _), received = request
        if state is not self._state:
            # Nothing holds any more.
            self._state = state
            self._fuzz = max(0, 32 + state.precision)
            self._kept_bits = _MASK >> self._fuzz << self._fuzz
            self._first, self._last = 1, 0
        if start not in self._heads or not self._first <= received <= self._last:
            self._renew(start, received, received)

    def answers(
        self, requests: Iterable[tuple[tuple[bytes, int], Instant]], sent: Instant, each: int
    ) -> list[bytes | None]:
        """
        Answer requests, after L{prepare}.

        @param requests: what L{REQUEST} reads of each, and when it came.
        @param sent: the transmit timestamp of the first answer.
        @param each: how much later every other one is (nanoseconds).
        """
        bits, fuzz, kept, heads = self._bits, self._fuzz, self._kept_bits, self._heads
        first, last = self._usual(sent)
        departed, step = wide_timestamp(sent), (each << 32) // _SECOND
        made: list[bytes | None] = []
        for (start, origin), received in requests:
            head, noise = heads.get(start), None
            if head is None or not first <= received <= last:
                head = self._renew(start, received, sent)
                first, last = self._usual(sent)
            if head:
                noise = bits(fuzz), bits(fuzz)
                arrived = (received + _EPOCH << 32) // _SECOND & kept
                arrival, departure = arrived | noise[0], departed & kept | noise[1]
                if arrived and arrival < departure and arrival != origin != departure:
                    reference = self._reference or arrived
                    made.append(_ANSWER.pack(head, reference, origin, arrival, departure))
                    departed += step
                    continue
            later = sent + each * len(made)
            made.append(self._alone(start + _REST.pack(origin), received, later, noise))
            departed += step
        return made

    def _alone(
        self, request: bytes, received: Instant, sent: Instant, noise: tuple[int, int] | None
    ) -> bytes | None:
        """Answer a request that is not usual, with the random bits that were drawn for it."""
        drawn = iter(noise or ())
        bits = self._bits if noise is None else lambda count: next(drawn)
        return answer(request, received, lambda: sent, self._state, self._options, bits)

    def _usual(self, sent: Instant) -> tuple[Instant, Instant]:
        """Between which times of arrival the heads hold, and the clock was not set meanwhile."""
        return max(self._first, sent - MAX_STAY), min(self._last, sent)

    def _renew(self, start: bytes, received: Instant, sent: Instant) -> bytes:
        """
        Write the head of an answer, and find for which times of arrival it holds.

        @return: an empty one where L{answer} has to decide.
        """
        if not self._first <= received <= self._last:
            self._find_times(received)
        first, last = self._usual(sent)
        return self._add_head(start) if first <= received <= last else b""

    def _find_times(self, received: Instant) -> None:
        """Find for which times of arrival the heads hold that are written from now on."""
        state = self._state
        self._heads.clear()
        self._first, self._last = 1, 0
        if not is_fit(state, self._options, received):
            return
        reference = reference_time(state, True) or 0
        self._reference = wide_timestamp(reference) & self._kept_bits if reference > 0 else 0
        # The error only grows: where it is the same at both ends, it is between them, too.
        before, after = (self._span(state, received, sign) for sign in (-1, 1))
        self._first, self._last = max(_EARLIEST, reference, received - before), received + after

    def _span(self, state: ClockState, received: Instant, sign: int) -> int:
        """Find how long before or after a moment the error is the same."""
        assumed = self._options.assumed_error
        error = root_dispersion(state, received, assumed)
        same = (
            span
            for span in SPANS
            if root_dispersion(state, received + sign * span, assumed) == error
        )
        return next(same, 0)

    def _add_head(self, start: bytes) -> bytes:
        """Write the head of an answer; an empty one where L{answer} has to decide."""
        state, version, mode = self._state, start[0] >> 3 & 7, REPLY_MODES.get(start[0] & 7)
        if mode is None or not 1 <= version <= 4:
            return b""
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        head = write_head(start, version << 3 | mode, self._last, state, self._options)
        self._heads[start] = head
        return head
