"""
The control messages of version 2 of Cisco's IP SLA (RFC 6812, section 3.1).

Where the RFC leaves a choice, or disagrees with itself:

  - The role of a responder is 1 in section 3.1.1.2.2, and 2 in the registry of section 6: both are
    taken.
  - A receiver ignores the status of a request. Here a message with one is an answer, and has none:
    else two responders could refuse each other's messages without end.
  - HMAC-SHA-256 is that of RFC 4868, which cuts it to 128 bits; the field has 256, and is filled.
  - The digest of an answer is computed as that of a request. That of a message which failed is
    zero: a signed refusal would be a valid request, as its status is ignored.
  - The addresses of a request say who asks, but are not those of its packets behind a NAT: the
    port is opened at the address that the message came to, for the address that it came from.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import NamedTuple

from attrs import define

from socketd.protocols.clock.ntp_time import Instant, wide_timestamp
from socketd.protocols.measure.ipsla_packets import (
    AUTHENTICATED,
    MALFORMED,
    UNSUPPORTED,
    BadRequest,
    Request,
    duration_of,
)
from socketd.protocols.measure.keys import Keys

VERSION = 2

#: The longest message that is read, in bytes: with both of its sections it has 172.
MAX_MESSAGE = 512

#: A message that has no digest, or a wrong one, where keys are set.
BAD_DIGEST = "bad_digest"

#: The values of a status (section 3.1.2).
SUCCESS, FAILED, NOT_AUTHENTIC, FORMAT_ERROR, PORT_IN_USE = range(5)

#: The sections of a message, by their command: the two come in this order.
AUTHENTICATION, MEASUREMENT = 1, 2

#: The modes of the authentication.
NO_AUTHENTICATION, SHA_256, HMAC_SHA_256 = range(3)

_ADDRESS_TYPES = (2, 3)
_ROLES = (1, 2)

# Version, status, sequence number, length, and the time of sending.
_HEADER = struct.Struct("!BxHII8s")
# Command, status, length.
_SECTION = struct.Struct("!HHI")
# The section: mode and key ID; with a mode there are a random number and the digest, too.
_MODE = struct.Struct("!8xBxH")
_AUTHENTICATION_SIZES = (_MODE.size, _MODE.size + 16 + 32)
# The section: address type and role; behind the addresses source port, port and milliseconds.
_MEASUREMENT = struct.Struct("!8xBB74xHHI")
_STATUS = struct.Struct("!H")

_STATUS_AT = 2
_TIME = slice(12, 20)
_DIGEST = slice(48, 80)
_MASK = (1 << 64) - 1


class Section(NamedTuple):
    """Where a section is; C{end}: the offset of what follows it."""

    command: int
    at: int
    end: int


@define
class _Control:
    """
    A message.

    @ivar now: the time of its answer.
    @ivar signature: mode and key, once its digest was verified.
    """

    wire: bytes
    now: Instant
    sections: list[Section]
    signature: tuple[int, bytes] | None = None

    def answer(self, status: int, section: int = 0, of_section: int | None = None) -> bytes:
        """
        Encode the answer: the message, with each status, the time if it has one, and the digest.

        @param section: the index of the section that failed.
        @param of_section: its status, if it is another one than that of the message.
        """
        out = bytearray(self.wire)
        _STATUS.pack_into(out, _STATUS_AT, status)
        for index, one in enumerate(self.sections):
            own = status if of_section is None else of_section
            _STATUS.pack_into(out, one.at + _STATUS_AT, own if index == section else SUCCESS)
        if any(out[_TIME]):
            out[_TIME] = (wide_timestamp(self.now) & _MASK).to_bytes(8, "big")
        if self.sections[0].end >= _DIGEST.stop:
            out[_DIGEST] = bytes(32)
        if self.signature is not None:
            out[_DIGEST] = digest(*self.signature, bytes(out))
        return bytes(out)

    def refuse(self, reason: str, status: int, section: int = 0) -> BadRequest:
        """Make the error of a section."""
        return BadRequest(reason, self.answer(status, section))


def digest(mode: int, key: bytes, message: bytes) -> bytes:
    """Compute the digest of a message whose own is zero (sections 4 and 7.1)."""
    if mode == SHA_256:
        return hashlib.sha256(key + message).digest()
    return hmac.digest(key, message, "sha256")


def parse_request(message: bytes, keys: Keys | None, now: Instant) -> Request:
    """
    Parse a message, whose digest is verified before anything else of it is used.

    @param now: the time of its answer.
    @raise BadRequest: if it asks for nothing that is served.
    """
    control = _Control(message, now, _split(message))
    _authenticate(control, keys)
    sections = control.sections
    if len(sections) != 2:
        raise control.refuse(MALFORMED, FORMAT_ERROR)
    if sections[1].command != MEASUREMENT:
        raise control.refuse(UNSUPPORTED, FORMAT_ERROR, 1)
    if sections[1].end - sections[1].at != _MEASUREMENT.size:
        raise control.refuse(MALFORMED, FORMAT_ERROR, 1)
    kind, role, source, port, milliseconds = _MEASUREMENT.unpack_from(message, sections[1].at)
    if kind not in _ADDRESS_TYPES or role not in _ROLES:
        raise control.refuse(UNSUPPORTED, FORMAT_ERROR, 1)
    refusal = control.answer(FAILED, 1, PORT_IN_USE)
    accepted = control.answer(SUCCESS)
    return Request(port, duration_of(milliseconds), accepted, refusal, VERSION, source)


def _split(message: bytes) -> list[Section]:
    """
    Take a message apart.

    @raise BadRequest: if it is none, or an answer; what is not as long as it says has no answer.
    """
    if not _HEADER.size < len(message) <= MAX_MESSAGE:
        raise BadRequest(MALFORMED)
    version, status, _, length, _ = _HEADER.unpack_from(message)
    if version != VERSION or status != SUCCESS or length != len(message):
        raise BadRequest(MALFORMED)
    sections, at = [], _HEADER.size
    while at < length:
        if length - at < _SECTION.size:
            raise BadRequest(MALFORMED)
        command, _, size = _SECTION.unpack_from(message, at)
        if not _SECTION.size <= size <= length - at:
            raise BadRequest(MALFORMED)
        sections.append(Section(command, at, at + size))
        at += size
    return sections


def _authenticate(control: _Control, keys: Keys | None) -> None:
    """
    Check the authentication, which is the first section of every message (section 4).

    @raise BadRequest: if it is wrong, or there is none and keys are set, or one and no keys.
    """
    first = control.sections[0]
    if first.command != AUTHENTICATION or first.end - first.at not in _AUTHENTICATION_SIZES:
        raise control.refuse(MALFORMED, FORMAT_ERROR)
    mode, key_id = _MODE.unpack_from(control.wire, first.at)
    if keys is None:
        if mode != NO_AUTHENTICATION:
            raise control.refuse(AUTHENTICATED, NOT_AUTHENTIC)
        return
    key = keys.of(key_id)
    if key is None or not _is_authentic(control, mode, key):
        raise control.refuse(BAD_DIGEST, NOT_AUTHENTIC)
    control.signature = mode, key


def _is_authentic(control: _Control, mode: int, key: bytes) -> bool:
    if mode not in (SHA_256, HMAC_SHA_256) or control.sections[0].end < _DIGEST.stop:
        return False
    covered = bytearray(control.wire)
    covered[_DIGEST] = bytes(32)
    return hmac.compare_digest(control.wire[_DIGEST], digest(mode, key, bytes(covered)))
