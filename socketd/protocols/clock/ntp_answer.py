"""The answers of C{ntp} (RFC 5905, sections 7.3 and 9.2), and the options that they depend on."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address
from math import ceil

from attrs import field, frozen

from socketd.common.system_clock import BUILD_DATE, ClockState
from socketd.protocols.clock.ntp_time import (
    LENGTH,
    MAX_DISPERSION,
    Instant,
    error_at,
    instant,
    wide_timestamp,
)
from socketd.settings.options import option
from socketd.settings.value_types import DURATION, NUMBER, SERVICE, YES_NO, ValueType, within

#: The shortest and longest poll interval, as log2 of seconds (RFC 5905, section 7.2).
MIN_POLL, MAX_POLL = 4, 17

#: The default error bound (seconds) of a clock that only C{assume_synchronised} declares good, as
#: the kernel's estimate is meaningless then. Clients add the network delay and reject a server
#: above 0.1 s (Android), 1 s (BusyBox) or 1.5 s (ntpd).
ASSUMED_ERROR = 0.05

#: The longest time (ns) between a reply's receive and transmit timestamps. A clock step between
#: them misleads the client by half the step: at most half a second, the largest jump that does not
#: count as a step (L{socketd.common.system_clock.STEP}).
MAX_STAY = 10**9

_SECOND = 10**9
_MASK = (1 << 64) - 1
_ORIGIN = slice(40, 48)
_ALARM = 3
REPLY_MODES = {1: 2, 3: 4}

# Leap, version and mode; stratum; poll; precision; root delay; root dispersion; reference id.
_HEAD = struct.Struct("!BBbbII4s")
_TIMES = struct.Struct("!Q8sQQ")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,3}", re.ASCII)


@frozen
class ReferenceId:
    """
    The reference id: a server's time source (RFC 5905, section 7.3).

    @ivar text: a name of up to four characters, or an IPv4 address.
    @ivar wire: the four bytes on the wire; a shorter name is zero-padded.
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
    """Parse a reference id such as C{GPS} or C{192.0.2.1}."""
    try:
        return ReferenceId(text)
    except AddressValueError:
        raise ValueError(
            "is no reference; write up to four letters and digits, as GPS, or an IPv4 address"
        ) from None


@frozen
class NtpOptions:
    """
    The options of C{ntp}.

    The default C{refid} is 127.127.1.1, which other servers send for their local clock, since no
    real address describes it.
    """

    stratum: int = option(
        within(NUMBER, 1, 15, "write 1 to 15"),
        10,
        "How many servers away a reference clock is: 1 has one itself.",
    )
    refid: ReferenceId = option(
        ValueType("name (GPS) | IPv4 address", parse_reference_id),
        ReferenceId("127.127.1.1"),
        "Where the time is from: a name for stratum 1 (GPS PPS DCF), above it the IPv4 address"
        " of the server that keeps this clock; it is sent as written.",
    )
    assume_synchronised: bool = option(
        YES_NO, False, "Whether to vouch for the clock where the kernel does not."
    )
    assumed_error: float = option(
        within(DURATION, 0.0, MAX_DISPERSION, "write up to 16s"),
        ASSUMED_ERROR,
        "How far off that clock is at most; BusyBox takes no server that says 1s or more.",
    )
    nts: str = option(
        SERVICE, "", "The nts-ke service whose cookies are taken; by default there is no NTS."
    )


def answer(
    request: bytes,
    received: Instant,
    transmit: Callable[[], Instant],
    state: ClockState,
    options: NtpOptions,
    random_bits: Callable[[int], int] = random.getrandbits,
) -> bytes | None:
    """
    Build the reply to a request, ignoring extension fields and authentication (RFC 5905, section
    9.2 and A.5.3, C{fast_xmit}).

    @param transmit: reads the clock; called once, as late as possible.
    @param random_bits: returns that many random bits, for the bits below the precision; not
        security-relevant.
    @return: 48 bytes, the header alone; C{None} if the request is invalid or its mode or version
        is not served.
    """
    if len(request) < LENGTH or len(request) % 4:
        return None
    version, mode = request[0] >> 3 & 7, REPLY_MODES.get(request[0] & 7)
    if mode is None or not 1 <= version <= 4:
        return None
    fit = is_fit(state, options, received)
    head = write_head(request, version << 3 | mode, received, state, options if fit else None)
    origin = request[_ORIGIN]
    fuzz = max(0, 32 + state.precision)
    noise = [random_bits(fuzz) for _ in range(2)] if fuzz else [0, 0]
    sent = transmit()
    # The clock made no step forward since, and none back to before the build date. A smaller step
    # back is harmless, since L{_times} then drops the older reading.
    if fit and (sent < BUILD_DATE * _SECOND or sent - received > MAX_STAY):
        fit, head = False, write_head(request, version << 3 | mode, received, state, None)
    return head + _times(origin, received, sent, reference_time(state, fit), fuzz, noise)


def is_fit(state: ClockState, options: NtpOptions, now: Instant) -> bool:
    """Whether to serve the clock: kept (or assumed so), not just stepped, past the build date."""
    synchronised = state.synchronised or options.assume_synchronised
    return synchronised and not state.stepped and now >= BUILD_DATE * _SECOND


def write_head(
    request: bytes, version_mode: int, now: Instant, state: ClockState, options: NtpOptions | None
) -> bytes:
    """
    Encode the first sixteen bytes.

    Without options the clock is unfit: the leap indicator is 3 (alarm), and stratum 16,
    "unsynchronised", is encoded as 0 (RFC 5905, section 7.3). Such a reply makes a client try
    another server at once, where silence would make it wait for its timeout. The reference id must
    be empty, because at stratum 0 it is a kiss code, a command to the client.

    The root delay is zero, since the kernel's error estimate includes it.
    """
    poll = int.from_bytes(request[2:3], "big", signed=True)
    poll = max(MIN_POLL, min(MAX_POLL, poll))
    if options is None:
        worst = ceil(MAX_DISPERSION * 65536)
        return _HEAD.pack(_ALARM << 6 | version_mode, 0, poll, state.precision, 0, worst, bytes(4))
    return _HEAD.pack(
        state.leap << 6 | version_mode,
        options.stratum,
        poll,
        state.precision,
        0,
        root_dispersion(state, now, options.assumed_error),
        options.refid.wire,
    )


def root_dispersion(state: ClockState, now: Instant, assumed_error: float = ASSUMED_ERROR) -> int:
    """
    Return the upper bound of the clock's error in units of 2**-16 seconds, rounded up.

    @param assumed_error: the bound (seconds) if the kernel has no estimate.
    """
    error = state.max_error if state.synchronised else assumed_error
    error = error_at(now / _SECOND, state, error)
    return ceil(min(MAX_DISPERSION, max(0.0, error)) * 65536)


def reference_time(state: ClockState, fit: bool) -> Instant | None:
    """When the clock was last known to be right; C{None} if unfit, 0 if that is only assumed."""
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
    Encode the four timestamps: reference, origin, receive, transmit.

    Clients reject a reply whose timestamps are zero, or equal to each other or to their own. The
    bits below the precision are random, as they carry no information.

    @param fuzz: the number of bits below the precision.
    @param noise: the random bits of the receive and transmit timestamps.
    """
    # If the clock was stepped back since, the older reading is invalid.
    received = min(received, sent)
    used = {0, int.from_bytes(origin, "big")}
    arrival = _distinct(wide_timestamp(received) >> fuzz << fuzz | noise[0], used)
    departure = wide_timestamp(sent) >> fuzz << fuzz | noise[1]
    departure = _distinct(max(departure, arrival + 1), used)
    last_set = 0
    if reference is not None:
        last_set = wide_timestamp(reference if 0 < reference <= received else received)
        last_set = _distinct(last_set >> fuzz << fuzz, {0})
    return _TIMES.pack(last_set & _MASK, origin, arrival & _MASK, departure & _MASK)


def _distinct(wide: int, used: set[int]) -> int:
    """Increment a timestamp until it differs from those used."""
    while wide & _MASK in used:
        wide += 1
    return wide
