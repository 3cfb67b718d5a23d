"""
The control messages of version 1 of Cisco's IP SLA, and its probes, as its devices send them.

No document describes version 1: RFC 6812 is of version 2 (C{ipsla_v2}), and of probes of type 3
that such a message has opened a port for. What is here of the rest comes from captures of
devices, two of different makers of captures that agree, and from what the one free responder
does. Where these disagree:

  - The answer to a control message: devices send the first 24 octets back, with 24 as the length
    (octets 2-3). The responder writes 8 there, and zeros in octets 4 to 11. Senders take both,
    and what the devices do is done here.
  - Octets 2-3 of a probe of type 2: devices write how long the answer took (ms). The responder
    leaves them.
  - A probe of type 3: the responder writes eleven octets of unknown use at a place that depends on
    the frame. No capture has them; they are left.
  - IPv6: the responder sends the whole message back. There is no capture of an answer; here it has
    the form of IPv4's.
  - The sequence number of a probe of type 3: devices that use version 1, and the responder, write
    16 bits and the same again as the number of the answer. RFC 6812 has 32 bits, and behind them
    32 that the responder counts by itself.
  - The digest of a key chain: captures have its place (24 octets) with zeros. No source says how
    it is made.
"""

from __future__ import annotations

import struct

from attrs import frozen

from socketd.protocols.clock.ntp_time import Instant, wide_timestamp

#: The port of control messages.
CONTROL_PORT = 1967

VERSION = 1

#: The size of the header: version, sequence number, length, status (0: accepted).
HEADER = 8

#: What a request asks for, by its command: the IP version of its address. UDP echo is 2 or 6,
#: jitter 4 or 8 (6 by analogy); test senders write 0. TCP connect is 3 or 7, and not served.
COMMANDS = {0: 4, 2: 4, 4: 4, 6: 6, 8: 6}

#: By IP version, the size of a request up to its duration: what the answer repeats.
SIZES = {4: 24, 6: 40}

#: The header of the authentication: its type and length.
AUTHENTICATION = struct.pack("!HH", 1, 28)

#: The durations that are taken (seconds); a request without one gets what a device waits by
#: default, and none keeps a port longer than an operation of an hour.
DEFAULT_DURATION = 5.0
MAX_DURATION = 3600.0

#: Probes by type: UDP echo, jitter in milliseconds, jitter in microseconds.
ECHO, MILLISECONDS, MICROSECONDS = 1, 2, 3

_SECOND = 10**9
_DAY = 86_400 * _SECOND
_MILLISECOND = 10**6
_MASK = (1 << 64) - 1

# Sequence number and command; behind the address port and milliseconds.
_MESSAGE = struct.Struct("!xB6xH")
_IPV4_END = struct.Struct("!HH")
_IPV6_END = struct.Struct("!H2xI")
_SHORT = struct.Struct("!H")
_LONG = struct.Struct("!I")
_TIMES = struct.Struct("!QQ")

# Where a probe has its sequence number, and behind it its copy.
_MILLISECOND_SEQUENCE, _MICROSECOND_SEQUENCE = 12, 52

# Where one of version 2 has the number of its answer.
_NUMBER_AT = 56


class BadRequest(Exception):
    """
    A control message that cannot be served; the text is the reason for the counters.

    @ivar answer: what tells the sender; empty: nothing does.
    """

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


@frozen
class Request:
    """
    A request to open a port for probes.

    @ivar duration: for how long, in seconds.
    @ivar answer: what tells the sender that the port is open.
    @ivar refusal: what tells it that the port is not; empty: nothing does.
    @ivar version: that of the control message.
    @ivar source_port: where the probes will come from, if it says so.
    """

    port: int
    duration: float
    answer: bytes
    refusal: bytes = b""
    version: int = VERSION
    source_port: int = 0


#: Why a control message is not served: it is none of version 1, asks for TCP, or is authenticated.
MALFORMED, UNSUPPORTED, AUTHENTICATED = "malformed", "unsupported", "authenticated"


def parse_request(message: bytes) -> Request:
    """Parse a control message; raise C{BadRequest} if it asks for nothing that is served."""
    if len(message) < SIZES[4] or message[0] != VERSION:
        raise BadRequest(MALFORMED)
    sequence, command = _MESSAGE.unpack_from(message)
    if command not in COMMANDS:
        raise BadRequest(UNSUPPORTED)
    size = SIZES[COMMANDS[command]]
    if len(message) < size:
        raise BadRequest(MALFORMED)
    rest = message[size:]
    if rest.startswith(AUTHENTICATION) and any(rest[len(AUTHENTICATION) :]):
        # With a digest of a key chain; without one its octets are zero.
        raise BadRequest(AUTHENTICATED)
    end = _IPV4_END if size == SIZES[4] else _IPV6_END
    port, milliseconds = end.unpack_from(message, size - end.size)
    head = struct.pack("!BBH4x", VERSION, sequence, size)
    return Request(port, duration_of(milliseconds), head + message[HEADER:size])


def duration_of(milliseconds: int) -> float:
    """Convert the duration of a message to seconds, within bounds."""
    return min(milliseconds / 1000, MAX_DURATION) or DEFAULT_DURATION


def answer_probe(
    probe: bytes, received: Instant, sent: Instant, number: int | None = None
) -> bytes | None:
    """
    Answer a probe; C{None} if it is none of a known type.

    @param received: when it came.
    @param sent: when the answer leaves; no earlier.
    @param number: that of the answer, if a message of version 2 has opened the port.
    """
    kind = _SHORT.unpack_from(probe)[0] if len(probe) >= _SHORT.size else None
    if kind == ECHO:
        return probe
    if kind == MILLISECONDS and len(probe) >= _MILLISECOND_SEQUENCE + 4:
        return _milliseconds(probe, received, sent)
    if kind == MICROSECONDS and number is not None:
        return _measurement(probe, received, sent, number)
    if kind == MICROSECONDS and len(probe) >= 12 + _TIMES.size:
        return _microseconds(probe, received, sent)
    return None


def _milliseconds(probe: bytes, received: Instant, sent: Instant) -> bytes:
    """
    Write the time since midnight UTC into octets 8-11, the stay into 2-3, and our sequence number,
    which is the sender's, into 14-15.
    """
    found = bytearray(probe)
    stay = min(max(0, sent - received) // _MILLISECOND, 0xFFFF)
    _SHORT.pack_into(found, 2, stay)
    _LONG.pack_into(found, 8, received % _DAY // _MILLISECOND)
    return _with_sequence(found, _MILLISECOND_SEQUENCE)


def _microseconds(probe: bytes, received: Instant, sent: Instant) -> bytes:
    """
    Write when it came and when the answer leaves into octets 12-27, as NTP has it, and our
    sequence number into 54-55 where the probe has one.
    """
    found = _with_times(probe, received, sent)
    if len(found) < _MICROSECOND_SEQUENCE + 4:
        return bytes(found)
    return _with_sequence(found, _MICROSECOND_SEQUENCE)


def _measurement(probe: bytes, received: Instant, sent: Instant, number: int) -> bytes | None:
    """
    Write the same times, and the number into octets 56-59 (RFC 6812, section 3.2).

    The time of the answer is zero in what a sender sends: what has one is an answer.
    """
    if len(probe) < _NUMBER_AT + _LONG.size or any(probe[20:28]):
        return None
    found = _with_times(probe, received, sent)
    _LONG.pack_into(found, _NUMBER_AT, number & 0xFFFFFFFF)
    return bytes(found)


def _with_times(probe: bytes, received: Instant, sent: Instant) -> bytearray:
    found = bytearray(probe)
    times = wide_timestamp(received) & _MASK, wide_timestamp(max(sent, received)) & _MASK
    _TIMES.pack_into(found, 12, *times)
    return found


def _with_sequence(found: bytearray, at: int) -> bytes:
    found[at + 2 : at + 4] = found[at : at + 2]
    return bytes(found)
