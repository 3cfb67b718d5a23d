"""
The TLVs behind the base packet of STAMP (RFC 8972, section 4, with errata 8199 and 8339), as a
reflector answers them.

An answer has the length of its request: each TLV is answered in place.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from attrs import frozen

from socketd.protocols.measure.stamp_packet import HMAC_LENGTH, digest

#: Flags, type and length in front of each TLV, in bytes.
HEADER_LENGTH = 4

#: TLVs of a packet, and parts of a Location, that are read; there are eight types. What follows is
#: malformed: a packet of 64 KiB would have 16384 and take 10 ms.
MAX_TLVS = 32

#: The flags that a reflector sets: type unknown, malformed, HMAC wrong.
UNRECOGNISED = 0x80
MALFORMED = 0x40
INTEGRITY_FAILED = 0x20

#: The types of RFC 8972, section 5.1.
EXTRA_PADDING, LOCATION, TIMESTAMP_INFORMATION, CLASS_OF_SERVICE = 1, 2, 3, 4
DIRECT_MEASUREMENT, ACCESS_REPORT, FOLLOW_UP_TELEMETRY, HMAC = 5, 6, 7, 8

#: The types for Private Use (RFC 8972, tables 1 and 4), whose values begin with the number of the
#: vendor, and how many octets that has.
PRIVATE_USE = range(252, 255)
VENDOR_LENGTH = 4

#: What keeps the clock (RFC 8972, section 5.4): NTP, or nothing; the kernel tells no more.
SYNC_NTP, SYNC_NONE = 1, 5

#: How timestamps are made (RFC 8972, section 5.5): by software of this host.
METHOD_SOFTWARE = 2

#: Access IDs (RFC 8972, section 4.6): 3GPP and other.
ACCESS_IDS = (1, 2)

# What a sender asks for in a Location TLV, and the length of each: the source's MAC address, the
# destination's and the source's IP address (RFC 8972, section 4.2.1). An answer to the first has
# the type of an EUI-64, which is zero: sockets do not tell it. IPv4 and IPv6 have the next types.
_MAC, _DESTINATION, _SOURCE = 1, 4, 7
_EUI_64 = 3
_LOCATIONS = {_MAC: 8, _DESTINATION: 16, _SOURCE: 16}

_PORTS = struct.Struct("!HH")
_COUNTERS = struct.Struct("!II")
_FOLLOW_UP = struct.Struct("!IQB3x")


@frozen
class Facts:
    """
    What a reflector knows of a packet.

    @ivar source: packed address and port; an address that is not known is empty, one that is not
        told is zero.
    @ivar destination: the same of where it was sent to.
    @ivar tos: its TOS; C{None} if not known.
    @ivar dscps: the values that an answer may have by request.
    @ivar synchronised: whether the clock is.
    @ivar counts: the packets of the session that were received and sent, both with this one.
    @ivar previous: sequence number and time on the wire of the answer before.
    """

    source: tuple[bytes, int] = (b"", 0)
    destination: tuple[bytes, int] = (b"", 0)
    tos: int | None = None
    dscps: frozenset[int] = frozenset(range(64))
    synchronised: bool = False
    counts: tuple[int, int] = (0, 0)
    previous: tuple[int, int] | None = None


class Tlv(NamedTuple):
    """
    Where a TLV is.

    @ivar at: its offset.
    @ivar end: that of what follows it.
    """

    at: int
    type: int
    end: int

    @property
    def begin(self) -> int:
        """The offset of its value."""
        return self.at + HEADER_LENGTH


@frozen
class Answered:
    """
    The answers to the TLVs of a packet.

    @ivar wire: as long as those of the packet.
    @ivar dscp: what the sender wants the answer to have; C{None} without a wish, or against the
        policy.
    @ivar intact: whether the HMAC was right, or none was there and none was due.
    """

    wire: bytes
    dscp: int | None = None
    intact: bool = True


def split(data: bytes, at: int = 0) -> Iterator[Tlv]:
    """Take TLVs apart, up to L{MAX_TLVS}, or to one that is longer than what is left."""
    for _ in range(MAX_TLVS):
        if at + HEADER_LENGTH > len(data):
            return
        end = at + HEADER_LENGTH + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield Tlv(at, data[at + 1], end)
        at = end


def answer_tlvs(
    data: bytes, asked: int, facts: Facts, key: bytes | None = None, is_authenticated: bool = False
) -> Answered:
    """
    Answer the TLVs of a packet.

    @param asked: its sequence number.
    @param key: that of its session.
    @param is_authenticated: whether they must have an HMAC.
    """
    tlvs = list(split(data))
    out = bytearray(data)
    intact = _is_intact(data, tlvs, asked, key, is_authenticated)
    dscp = _answer_all(out, tlvs, facts) if intact else None
    if not intact:
        _refuse_all(out, tlvs)
    return Answered(bytes(out), dscp, intact)


def sign(wire: bytes, sequence: int, key: bytes | None) -> bytes:
    """Write the HMAC of TLVs that have one, for an answer with this sequence number."""
    for tlv in split(wire):
        if tlv.type == HMAC and key is not None:
            signature = _hmac(key, sequence, wire[: tlv.at])
            return wire[: tlv.begin] + signature + wire[tlv.begin + HMAC_LENGTH :]
    return wire


def _hmac(key: bytes, sequence: int, covered: bytes) -> bytes:
    return digest(key, sequence.to_bytes(4, "big") + covered)


def _is_intact(
    data: bytes, tlvs: list[Tlv], asked: int, key: bytes | None, is_authenticated: bool
) -> bool:
    """
    Check the HMAC TLV, which comes last but for Extra Padding (RFC 8972, section 4.8). Only a
    single Extra Padding TLV may do without one in the authenticated mode.
    """
    found = [index for index, tlv in enumerate(tlvs) if tlv.type == HMAC]
    if not found:
        is_alone = len(tlvs) == 1 and tlvs[0] == (0, EXTRA_PADDING, len(data))
        return is_alone or not is_authenticated
    tlv, behind = tlvs[found[0]], tlvs[found[0] + 1 :]
    if key is None or any(one.type != EXTRA_PADDING for one in behind):
        return False
    if tlvs[-1].end != len(data):
        return False
    expected = _hmac(key, asked, data[: tlv.at])
    return hmac.compare_digest(data[tlv.begin : tlv.end], expected)


def _refuse_all(out: bytearray, tlvs: list[Tlv]) -> None:
    """Set the flag I of every TLV, and the others as far as its contents do not matter."""
    for tlv in tlvs:
        out[tlv.at] = INTEGRITY_FAILED | (0 if tlv.type in _ANSWERS else UNRECOGNISED)
        if tlv.type == HMAC and tlv.end - tlv.begin != HMAC_LENGTH:
            out[tlv.at] |= MALFORMED
    end = tlvs[-1].end if tlvs else 0
    if end < len(out):
        out[end] = INTEGRITY_FAILED | MALFORMED


def _answer_all(out: bytearray, tlvs: list[Tlv], facts: Facts) -> int | None:
    """
    Answer TLVs in place, up to the first malformed one; the rest stays as it came.

    @return: the DSCP that was asked for.
    """
    dscp = None
    for tlv in tlvs:
        value = memoryview(out)[tlv.begin : tlv.end]
        answer = _ANSWERS.get(tlv.type)
        out[tlv.at] = _unknown(tlv.type, len(value)) if answer is None else answer(value, facts)
        if out[tlv.at] & MALFORMED:
            return dscp
        if tlv.type == CLASS_OF_SERVICE and (value[0] >> 2) in facts.dscps:
            dscp = value[0] >> 2
    end = tlvs[-1].end if tlvs else 0
    if end < len(out):
        out[end] = MALFORMED
    return dscp


def _unknown(type: int, length: int) -> int:
    """Return the flags of a TLV, or of a part, of an unknown type, with a value of this length."""
    is_short = type in PRIVATE_USE and length < VENDOR_LENGTH
    return UNRECOGNISED | MALFORMED if is_short else UNRECOGNISED


def _answer_parts(value: memoryview, begin: int, answer: Callable[[memoryview, int], int]) -> int:
    """
    Answer the parts of a TLV, which have the form of TLVs and follow its own fields.

    @param answer: answers a part of a type, and returns its flags.
    """
    end = begin
    for sub in split(bytes(value), begin):
        value[sub.at] = answer(value[sub.at : sub.end], sub.type)
        if value[sub.at] & MALFORMED:
            return MALFORMED
        end = sub.end
    return 0 if end == len(value) else MALFORMED


def _keep(value: memoryview, facts: Facts) -> int:
    # An HMAC is checked before, and signed once the rest is written.
    return 0


def _answer_location(value: memoryview, facts: Facts) -> int:
    if len(value) < _PORTS.size:
        return MALFORMED
    _PORTS.pack_into(value, 0, facts.destination[1], facts.source[1])
    return _answer_parts(
        value, _PORTS.size, lambda part, type: _answer_location_part(part, type, facts)
    )


def _answer_location_part(sub: memoryview, type: int, facts: Facts) -> int:
    """
    Answer a part of a Location TLV, and return its flags.

    The types of answers are not processed in what is sent here, and have the flag for that.
    """
    length = _LOCATIONS.get(type)
    if length is None:
        return _unknown(type, len(sub) - HEADER_LENGTH)
    if len(sub) != HEADER_LENGTH + length:
        return MALFORMED
    address = b""
    if type == _MAC:
        sub[1] = _EUI_64
    else:
        address = (facts.source if type == _SOURCE else facts.destination)[0]
        sub[1] = type + (2 if len(address) == length else 1)
    sub[HEADER_LENGTH:] = address.ljust(length, b"\0")
    return 0


def _answer_timestamp_information(value: memoryview, facts: Facts) -> int:
    """Fill its fields in; no parts are defined for those that may follow."""
    if len(value) < 4:
        return MALFORMED
    source = SYNC_NTP if facts.synchronised else SYNC_NONE
    value[:4] = bytes((source, METHOD_SOFTWARE)) * 2
    return _answer_parts(value, 4, lambda part, type: _unknown(type, len(part) - HEADER_LENGTH))


def _answer_class_of_service(value: memoryview, facts: Facts) -> int:
    """
    Write DSCP1 (6 bits) as it came, DSCP2 (6) and ECN (2) as received, and RP (2): whether the
    policy has refused DSCP1.
    """
    if len(value) != 4:
        return MALFORMED
    wanted = value[0] >> 2
    refused = wanted not in facts.dscps
    bits = wanted << 10 | (facts.tos or 0) << 2 | refused
    value[:] = bits.to_bytes(2, "big") + bytes(2)
    return 0


def _answer_direct_measurement(value: memoryview, facts: Facts) -> int:
    if len(value) != 12:
        return MALFORMED
    _COUNTERS.pack_into(value, 4, *facts.counts)
    return 0


def _answer_access_report(value: memoryview, facts: Facts) -> int:
    """
    Copy an Access ID and a return code; the rest is reserved, and zero. An invalid ID is
    discarded: it comes back as not recognised, since the answer keeps the length of the request.
    """
    if len(value) != 4:
        return MALFORMED
    value[:] = bytes((value[0] & 0xF0, value[1], 0, 0))
    return 0 if value[0] >> 4 in ACCESS_IDS else UNRECOGNISED


def _answer_follow_up(value: memoryview, facts: Facts) -> int:
    if len(value) != _FOLLOW_UP.size:
        # Its two fields, as far as they are there (erratum 8339).
        cut = min(len(value), 12)
        value[:cut] = bytes(cut)
        return MALFORMED
    if facts.previous is None:
        value[:] = bytes(len(value))
    else:
        _FOLLOW_UP.pack_into(value, 0, *facts.previous, METHOD_SOFTWARE)
    return 0


_ANSWERS: Mapping[int, Callable[[memoryview, Facts], int]] = {
    EXTRA_PADDING: _keep,
    LOCATION: _answer_location,
    TIMESTAMP_INFORMATION: _answer_timestamp_information,
    CLASS_OF_SERVICE: _answer_class_of_service,
    DIRECT_MEASUREMENT: _answer_direct_measurement,
    ACCESS_REPORT: _answer_access_report,
    FOLLOW_UP_TELEMETRY: _answer_follow_up,
    HMAC: _keep,
}
