"""
The packets of STAMP (RFC 8762, section 4) and of TWAMP Light (RFC 5357, sections 4.1.2 and 4.2.1).

Times are in nanoseconds since 1970. PTPv2 timestamps count them as they are, in UTC: a host knows
no TAI (RFC 8186, section 2.3).
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable
from math import ceil, log2
from typing import Any, NamedTuple

from socketd.common.system_clock import ClockState
from socketd.protocols.clock import ntp_time
from socketd.protocols.clock.ntp_time import (
    MAX_DISPERSION,
    SECONDS_1900_TO_1970,
    Instant,
    error_at,
    nearest,
    wide_timestamp,
)

#: The base packets without and with authentication, in bytes; the same in both directions.
OPEN_LENGTH = 44
AUTHENTICATED_LENGTH = 112

#: The packet of a TWAMP Light sender without padding, and its answer.
LIGHT_LENGTH = 14
LIGHT_ANSWER_LENGTH = 41

#: Timestamps of an answer, T2 and T3, are at most so far apart (2**-32 s, or a PTPv2 second).
MAX_STAY = 1 << 32

#: The HMAC is SHA-256, cut to so many bytes (RFC 8762, section 4.4).
HMAC_LENGTH = 16

#: The TTL of an answer to a packet whose TTL is not known (RFC 5357, section 4.2.1).
UNKNOWN_TTL = 255

#: The fields of an Error Estimate (RFC 4656, section 4.1.2; Z is of RFC 8186, section 2.3).
SYNCHRONISED = 0x8000
PTP = 0x4000
MAX_MULTIPLIER = 255

#: What is read of a usual packet, without authentication: what L{Request} has, as numbers, and
#: where L{is_answer} looks for a time of arrival. Behind it is the padding.
USUAL = "IQHHQ"

_SECOND = 10**9
_EPOCH = SECONDS_1900_TO_1970 * _SECOND
_MASK = (1 << 64) - 1

# Sequence number, timestamp, error estimate, SSID (RFC 8972, section 3).
_OPEN = struct.Struct("!IQHH")
_AUTHENTICATED = struct.Struct("!I12xQHH")
# The same, then the receive timestamp, the sender's three, and its TTL.
_OPEN_ANSWER = struct.Struct("!IQHHQIQH2xB3x")
_USUAL = struct.Struct("!" + USUAL)
_AUTHENTICATED_ANSWER = struct.Struct("!I12xQHH4xQ8xI12xQH6xB15x")


class Request(NamedTuple):
    """What a sender's packet says, and is answered as it came."""

    sequence: int
    timestamp: int
    error: int
    ssid: int


class Answer(NamedTuple):
    """
    What a reflector's packet says.

    @ivar sent: T3, as on the wire.
    @ivar received: T2, as on the wire.
    @ivar request: what the sender said.
    @ivar ttl: that of the sender's packet on arrival.
    """

    sequence: int
    sent: int
    error: int
    ssid: int
    received: int
    request: Request
    ttl: int


def parse_open(packet: bytes) -> Request:
    """Read the packet of a sender, which may end behind the error estimate (TWAMP Light)."""
    return Request(*_OPEN.unpack(packet[: _OPEN.size].ljust(_OPEN.size, b"\0")))


def parse_authenticated(packet: bytes) -> Request:
    """Read the packet of a sender, whose HMAC L{is_authentic} has checked."""
    return Request(*_AUTHENTICATED.unpack_from(packet))


def write_request(sequence: int, timestamp: int, error: int, ssid: int) -> bytes:
    """Encode a sender's packet of L{OPEN_LENGTH}."""
    return _OPEN.pack(sequence, timestamp, error, ssid).ljust(OPEN_LENGTH, b"\0")


def write_authenticated_request(
    sequence: int, timestamp: int, error: int, ssid: int, key: bytes
) -> bytes:
    """Encode a sender's packet of L{AUTHENTICATED_LENGTH}."""
    head = _AUTHENTICATED.pack(sequence, timestamp, error, ssid)
    covered = head.ljust(AUTHENTICATED_LENGTH - HMAC_LENGTH, b"\0")
    return covered + digest(key, covered)


def parse_answer(packet: bytes) -> Answer:
    """Read an answer of L{LIGHT_ANSWER_LENGTH} or more, without authentication."""
    cut = packet[:OPEN_LENGTH].ljust(OPEN_LENGTH, b"\0")
    return _answer(_OPEN_ANSWER.unpack(cut))


def parse_authenticated_answer(packet: bytes) -> Answer:
    """Read an answer whose HMAC L{is_authentic} has checked."""
    return _answer(_AUTHENTICATED_ANSWER.unpack_from(packet))


def _answer(fields: tuple[Any, ...]) -> Answer:
    number, sent, error, ssid, received, asked, at, asked_error, ttl = fields
    return Answer(number, sent, error, ssid, received, Request(asked, at, asked_error, ssid), ttl)


def write_open(answer: Answer) -> bytes:
    """Encode an answer of L{OPEN_LENGTH}."""
    sequence, sent, error, ssid, received, request, ttl = answer
    return _OPEN_ANSWER.pack(sequence, sent, error, ssid, received, *request[:3], ttl)


def write_usual(
    packets: Iterable[tuple[Any, ...]], error: int, sent: Instant, each: int
) -> tuple[list[bytes], list[int]]:
    """
    Encode answers of L{OPEN_LENGTH} with NTP timestamps, as L{write_open} and L{timestamps} do.

    @param packets: what L{parse_usual} reads of each packet, the number of its answer, when it
        came, and its TTL.
    @param sent: T3 of the first answer.
    @param each: how much later every other one is (nanoseconds).
    @return: the answers, and T3 of each as on the wire.
    """
    departed, step, pack = wide_timestamp(sent), (each << 32) // _SECOND, _OPEN_ANSWER.pack
    made, times = [], []
    for (asked, at, asked_error, ssid, _, tail), number, received, ttl in packets:
        # Not by a call of wide_timestamp: this is the hot path.
        first, last = (received + _EPOCH << 32) // _SECOND, departed
        if first >= last:
            first, last = last, last + 1
        first, last = first & _MASK, last & _MASK
        base = pack(number, last, error, ssid, first, asked, at, asked_error, ttl)
        made.append(base + tail)
        times.append(last)
        departed += step
    return made, times


def write_authenticated(answer: Answer, key: bytes) -> bytes:
    """Encode an answer of L{AUTHENTICATED_LENGTH}."""
    sequence, sent, error, ssid, received, request, ttl = answer
    covered = _AUTHENTICATED_ANSWER.pack(sequence, sent, error, ssid, received, *request[:3], ttl)
    return covered + digest(key, covered)


def digest(key: bytes, covered: bytes) -> bytes:
    """Compute an HMAC (RFC 8762, section 4.4)."""
    return hmac.digest(key, covered, "sha256")[:HMAC_LENGTH]


def is_authentic(packet: bytes, key: bytes) -> bool:
    """Check the HMAC of a packet of L{AUTHENTICATED_LENGTH} or more."""
    at = AUTHENTICATED_LENGTH - HMAC_LENGTH
    return hmac.compare_digest(packet[at:AUTHENTICATED_LENGTH], digest(key, packet[:at]))


def is_answer(packet: bytes, is_authenticated: bool) -> bool:
    """
    Say whether a packet is the answer of a reflector: where a sender has zeros, or padding, there
    is a time of arrival just before its timestamp. In random padding one of 2**32 has.
    """
    sent, received = (16, 32) if is_authenticated else (4, 16)
    arrival = packet[received : received + 8]
    if not any(arrival):
        return False
    left = int.from_bytes(packet[sent : sent + 8], "big")
    return left - int.from_bytes(arrival, "big") & _MASK < MAX_STAY


def parse_usual(packet: bytes) -> tuple[Any, ...]:
    """Read what L{USUAL} has of a packet of L{OPEN_LENGTH} or more, and what is behind it."""
    return (*_USUAL.unpack_from(packet), packet[OPEN_LENGTH:])


def is_usual(packet: tuple[Any, ...]) -> bool:
    """Say whether what L{parse_usual} reads is no answer, and has no TLVs."""
    _, sent, _, _, arrival, tail = packet
    is_loop = arrival and sent - arrival & _MASK < MAX_STAY
    return not is_loop and (not tail or is_padding(tail))


def is_padding(data: bytes) -> bool:
    """
    Say whether what follows a base packet is the padding of TWAMP (RFC 8762, section 4.6): no TLV
    of type 0 exists, and a STAMP sender sets the flag U.
    """
    return data[:2] == b"\0\0"[: len(data)]


def timestamps(received: Instant, sent: Instant, ptp: bool) -> tuple[int, int]:
    """
    Encode T2 and T3, which are never equal.

    If the clock was set back between them, T2 is no longer valid, and becomes T3.
    """
    write = ptp_timestamp if ptp else wide_timestamp
    first = write(min(received, sent))
    last = max(write(sent), first + 1)
    return first & _MASK, last & _MASK


def ptp_timestamp(when: Instant) -> int:
    """Encode a truncated PTPv2 timestamp: 32 bits of seconds, and 32 of nanoseconds."""
    seconds, nanoseconds = divmod(when, _SECOND)
    return seconds << 32 | nanoseconds


def instant_of(timestamp: int, ptp: bool, near: Instant) -> Instant:
    """Read a timestamp, which stands for the time nearest to C{near} (RFC 5905, section 6)."""
    if not ptp:
        return ntp_time.instant_of(timestamp, near)
    return nearest(timestamp >> 32, near // _SECOND) * _SECOND + (timestamp & 0xFFFFFFFF)


def error_of(estimate: int) -> float | None:
    """Read an Error Estimate in seconds; C{None} if no clock was synchronised."""
    if not estimate & SYNCHRONISED:
        return None
    return float((estimate & 0xFF) * 2.0 ** ((estimate >> 8 & 0x3F) - 32))


def error_estimate(state: ClockState, now: float, ptp: bool) -> int:
    """
    Encode how far off the clock is at most, by the kernel's own state.

    @param now: seconds since 1970.
    """
    is_good = state.synchronised and not state.stepped
    error = error_at(now, state, state.max_error) if is_good else MAX_DISPERSION
    return (SYNCHRONISED if is_good else 0) | (PTP if ptp else 0) | _scaled(error)


def _scaled(error: float) -> int:
    """
    Encode seconds as C{multiplier * 2**(scale - 32)}, rounded up; a multiplier of 0 is invalid.
    """
    units = min(max(error, 0.0), MAX_DISPERSION) * 2.0**32
    scale = max(0, ceil(log2(units / MAX_MULTIPLIER))) if units else 0
    return scale << 8 | max(1, ceil(units / 2.0**scale))
