"""
C{ntp}: the time of day for NTP and SNTP clients (RFC 5905, RFC 4330).

Only a server that remembers nobody: it answers clients (mode 3) and symmetric
active peers (mode 1) of the versions 1 to 4, and is silent to all else. So to mode 0,
which some clients of version 1 sent, and to the control and private modes 6 and 7,
whose answers are longer than what they answer.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address
from math import ceil, floor
from typing import Any

from attrs import field, frozen
from twisted.internet.protocol import DatagramProtocol

from socketd.common.system_clock import BUILD_DATE, ClockState
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.protocols.time import SECONDS_1900_TO_1970
from socketd.settings.options import option
from socketd.settings.value_types import DURATION, NUMBER, YES_NO, Kind, within

#: A time of day in nanoseconds since 1970.
Instant = int

#: The header without extension fields or authentication (RFC 5905, section 7.3),
#: which is all that is ever answered.
LENGTH = 48

#: The powers of two of the shortest and longest interval between requests (seconds;
#: RFC 5905, section 7.2).
MIN_POLL, MAX_POLL = 4, 17

#: A clock that may be off by more (seconds) is of no use to anybody (MAXDISP of RFC
#: 5905, section 7.2).
MAX_DISPERSION = 16.0

#: How much the error of a clock that nothing corrects grows (seconds a second); the
#: kernel counts so.
GROWTH = 500e-6

#: How far (seconds) a clock is off at most that only the operator vouches for, where the
#: configuration does not say; the kernel's number means nothing then. Clients add what the
#: network costs, and then refuse a server above 0.1 s (Android), 1 s (BusyBox) or 1.5 s
#: (ntpd).
ASSUMED_ERROR = 0.05

#: How many requests of one address are answered (a second), and how many at once: that of a
#: translator with 256 clients behind it, which ask once in 64 seconds each (RFC 5905, section
#: 7.2, MINPOLL 6), and all at once after a power failure. An answer is as long as the request
#: and is never a request, so it serves no attack.
NAT_RATE = 4.0
NAT_BURST = 256

#: The longest time (nanoseconds) between the two readings of the clock that an answer
#: has. If it was set forward between them, a client is misled by half of the step: by half
#: a second at most, as much as a jump that does not count as a step
#: (L{socketd.common.system_clock.STEP}).
MAX_STAY = 10**9

_SECOND = 10**9
_MASK = (1 << 64) - 1
_ORIGIN = slice(40, 48)
_ALARM = 3
_REPLY_MODES = {1: 2, 3: 4}

# Leap, version and mode; stratum; poll; precision; root delay and dispersion; who is
# asked for the time.
_HEAD = struct.Struct("!BBbbII4s")
_TIMES = struct.Struct("!Q8sQQ")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,3}", re.ASCII)


@frozen
class ReferenceId:
    """
    Where a server has its time from (RFC 5905, section 7.3).

    @ivar text: a name of up to four characters, or an IPv4 address.
    @ivar wire: the four bytes that are sent; a shorter name ends in zeros.
    """

    text: str
    wire: bytes = field(init=False)

    @wire.default
    def _encode(self) -> bytes:
        if _NAME.fullmatch(self.text):
            return self.text.encode().ljust(4, b"\0")
        return IPv4Address(self.text).packed

    def __str__(self) -> str:
        return self.text


def parse_reference_id(text: str) -> ReferenceId:
    """
    Read a reference such as C{GPS} or C{192.0.2.1}.
    """
    try:
        return ReferenceId(text)
    except AddressValueError:
        raise ValueError(
            "is no reference; write up to four letters and digits, as GPS, or an IPv4 address"
        ) from None


REFERENCE_ID = Kind("name (GPS) | IPv4 address", parse_reference_id)


@frozen
class NtpOptions:
    """
    The options of C{ntp}.

    No address is wrong for the daemon's own clock, and 127.127.1.1 is what other
    servers send for theirs.
    """

    stratum: int = option(
        within(NUMBER, 1, 15, "write 1 to 15"),
        10,
        "How many servers away a reference clock is: 1 has one itself.",
    )
    refid: ReferenceId = option(
        REFERENCE_ID,
        ReferenceId("127.127.1.1"),
        "Where the time is from: a name for stratum 1 (GPS PPS DCF), above it the IPv4 address"
        " of the server that keeps this clock; it is sent as written.",
    )
    assume_synchronised: bool = option(
        YES_NO,
        False,
        "Whether to vouch for the clock where the kernel does not.",
    )
    assumed_error: float = option(
        within(DURATION, 0.0, MAX_DISPERSION, "write up to 16s"),
        ASSUMED_ERROR,
        "How far off that clock is at most; BusyBox takes no server that says 1s or more.",
    )


def wide_timestamp(when: Instant) -> int:
    """
    Count from 1900 in units of 2**-32 seconds, without end (RFC 5905, section 6).
    """
    seconds, nanoseconds = divmod(when, _SECOND)
    return (seconds + SECONDS_1900_TO_1970 << 32) + (nanoseconds << 32) // _SECOND


def timestamp(when: Instant) -> int:
    """
    Make the 64 bits that are sent for a time.

    The seconds start again at zero on 2036-02-07 06:28:16 UTC, where era 1 begins; a
    client takes the era nearest to its own time (RFC 5905, section 6).
    """
    return wide_timestamp(when) & _MASK


def instant(now: float) -> Instant:
    """
    Turn seconds since 1970 into nanoseconds, as exactly as they are given: in 2026 the
    neighbours of a C{float} are 238 ns apart, which the precision of the clock tells.
    """
    seconds = floor(now)
    return seconds * _SECOND + int((now - seconds) * _SECOND)


def is_fit(state: ClockState, options: NtpOptions, now: Instant) -> bool:
    """
    Say whether the clock can be given as the time: somebody keeps it or vouches for
    it, it was not just set, and it is not before this program was written.
    """
    kept = state.synchronised or options.assume_synchronised
    return kept and not state.stepped and now >= BUILD_DATE * _SECOND


def root_dispersion(
    state: ClockState, now: Instant, assumed_error: float = ASSUMED_ERROR
) -> int:
    """
    Say how far the clock may be off at most.

    @param assumed_error: how far it may be where the kernel does not know.

    @return: units of 2**-16 seconds, rounded up.
    """
    error = state.max_error if state.synchronised else assumed_error
    age = now / _SECOND - state.read_at if state.read_at else 0.0
    error += 2.0**state.precision + GROWTH * max(0.0, age)
    return ceil(min(MAX_DISPERSION, max(0.0, error)) * 65536)


def answer(
    request: bytes,
    received: Instant,
    transmit: Callable[[], Instant],
    state: ClockState,
    options: NtpOptions,
    random_bits: Callable[[int], int] = random.getrandbits,
) -> bytes | None:
    """
    Answer a request, extension fields and authentication left aside (RFC 5905,
    section 9.2 and A.5.3, C{fast_xmit}).

    @param received: when the request came.
    @param transmit: gives the time; called last, once.
    @param random_bits: makes so many random bits, to fill what is below the precision;
        no secret hangs on them.
    @return: 48 bytes; C{None} if the request is none, or none that is answered.
    """
    if len(request) < LENGTH or len(request) % 4:
        return None
    version, mode = request[0] >> 3 & 7, _REPLY_MODES.get(request[0] & 7)
    if mode is None or not 1 <= version <= 4:
        return None
    fit = is_fit(state, options, received)
    head = _head(request, version << 3 | mode, received, state, options if fit else None)
    origin = request[_ORIGIN]
    fuzz = max(0, 32 + state.precision)
    noise = [random_bits(fuzz) for _ in range(2)] if fuzz else [0, 0]
    sent = transmit()
    if fit and not _agree(received, sent):
        fit, head = False, _head(request, version << 3 | mode, received, state, None)
    return head + _times(origin, received, sent, _reference(state, fit), fuzz, noise)


class NtpDatagrams(DatagramProtocol):
    """
    Answers the requests that come to one port.

    The time of receipt is the kernel's, as the transport has it (C{received_at}), or
    else that of delivery.
    """

    transport: Any

    def __init__(
        self,
        options: NtpOptions,
        now: Callable[[], Instant],
        clock_state: Callable[[], ClockState],
    ) -> None:
        self._options = options
        self._now = now
        self._clock_state = clock_state

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        received = self.transport.received_at
        if received is None:
            received = self._now()
        reply = answer(datagram, received, self._now, self._clock_state(), self._options)
        if reply is not None:
            self.transport.write(reply, addr)


def _head(
    request: bytes, kind: int, now: Instant, state: ClockState, options: NtpOptions | None
) -> bytes:
    """
    Write the first sixteen bytes.

    Without options the clock is not fit: the leap bits raise the alarm, and stratum
    16, "unsynchronised", is written as 0 with no reference (RFC 5905, section 7.3). Such
    an answer lets a client turn to another server at once; silence would have it wait.
    The name must stay empty, because at stratum 0 it is an order to the client.

    The root delay is zero: the kernel's error has it in it.
    """
    poll = int.from_bytes(request[2:3], "big", signed=True)
    poll = max(MIN_POLL, min(MAX_POLL, poll))
    if options is None:
        worst = ceil(MAX_DISPERSION * 65536)
        return _HEAD.pack(_ALARM << 6 | kind, 0, poll, state.precision, 0, worst, bytes(4))
    return _HEAD.pack(
        state.leap << 6 | kind,
        options.stratum,
        poll,
        state.precision,
        0,
        root_dispersion(state, now, options.assumed_error),
        options.refid.wire,
    )


def _agree(received: Instant, sent: Instant) -> bool:
    """
    Say whether two readings may be of one clock: it was not set forward between them,
    nor back to before this program was written. One that was set back otherwise agrees
    with itself once the older reading is dropped.
    """
    return sent >= BUILD_DATE * _SECOND and sent - received <= MAX_STAY


def _reference(state: ClockState, fit: bool) -> Instant | None:
    """
    Say when the clock was last known to be right; C{None} if never, 0 if only the
    operator says so.
    """
    if not fit:
        return None
    return instant(state.read_at) if state.synchronised else 0


def _times(
    origin: bytes,
    received: Instant,
    sent: Instant,
    reference: Instant | None,
    fuzz: int,
    noise: list[int],
) -> bytes:
    """
    Write the four timestamps: reference, origin, receive, transmit.

    Clients refuse an answer whose times are zero, or equal to each other or to their
    own. The bits below the precision are random, so that nobody takes them for
    knowledge.

    @param fuzz: how many bits are below the precision.
    @param noise: what the two times of this server have there.
    """
    # The clock may have been set back since; the older time is of no clock then.
    received = min(received, sent)
    taken = {0, int.from_bytes(origin, "big")}
    arrival = _apart(wide_timestamp(received) >> fuzz << fuzz | noise[0], taken)
    departure = wide_timestamp(sent) >> fuzz << fuzz | noise[1]
    departure = _apart(max(departure, arrival + 1), taken)
    known = 0
    if reference is not None:
        known = wide_timestamp(reference if 0 < reference <= received else received)
        known = _apart(known >> fuzz << fuzz, {0})
    return _TIMES.pack(known & _MASK, origin, arrival & _MASK, departure & _MASK)


def _apart(wide: int, taken: set[int]) -> int:
    """
    Take the next timestamp that is not taken.
    """
    while wide & _MASK in taken:
        wide += 1
    return wide


def _datagrams(options: NtpOptions, context: ProtocolContext) -> NtpDatagrams:
    return NtpDatagrams(
        options, lambda: instant(context.wall_clock()), context.clock_state
    )


# A network address translator maps port 123 to any other, reserved ones too; and what is
# answered here is a request, never an answer.
declaration = ProtocolSpec(
    options=NtpOptions,
    datagram=_datagrams,
    source_ports=range(1, 65536),
    udp_rate=NAT_RATE,
    udp_burst=NAT_BURST,
    timestamped=True,
)
