"""The extension fields of NTS in NTP packets (RFC 8915, section 5; RFC 7822)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from socketd.protocols.clock.ntp_time import LENGTH

#: The shortest extension field, and the shortest within an encrypted one (bytes).
MIN_FIELD, MIN_INNER = 16, 4

#: The shortest unique identifier (bytes; section 5.3).
MIN_IDENTIFIER = 32

#: The room (bytes) that a request must leave for the server's nonce (section 5.6); AEADs without a
#: limit for nonces, as this one, have 16.
NONCE_ROOM = 16

_HEADER = struct.Struct("!HH")


class Type(IntEnum):
    """The types of extension fields (section 7.5)."""

    IDENTIFIER = 0x0104
    COOKIE = 0x0204
    PLACEHOLDER = 0x0304
    AUTHENTICATOR = 0x0404


# Plain numbers compare faster than those of the enum.
_KINDS = tuple(map(int, Type))
_OF_NTS = (Type.COOKIE, Type.PLACEHOLDER, Type.AUTHENTICATOR)


class FieldError(Exception):
    """Extension fields that break a rule."""


class Field(NamedTuple):
    """One extension field; C{at}: where its header begins."""

    type: int
    body: bytes
    at: int


class Request(NamedTuple):
    """
    The fields of a request that NTS protects.

    @ivar identifier: the unique identifier.
    @ivar nonce: of the authenticator.
    @ivar sealed: its tag and ciphertext.
    @ivar associated: what it authenticates: the packet before it.
    @ivar placeholders: how many further cookies it asks for in plain text.
    """

    identifier: bytes
    cookie: bytes
    nonce: bytes
    sealed: bytes
    associated: bytes
    placeholders: int


class Answer(NamedTuple):
    """The fields of an answer that NTS protects, as those of L{Request}."""

    identifier: bytes
    nonce: bytes
    sealed: bytes
    associated: bytes


def fields_of(data: bytes, start: int, shortest: int = MIN_FIELD) -> Iterator[Field]:
    """
    Take extension fields apart; what follows the authenticator is not looked at, since nothing
    vouches for it (section 5.7).

    @raise FieldError: if one is too short, or ends behind the data.
    """
    at = start
    while at < len(data):
        if at + _HEADER.size > len(data):
            raise FieldError
        kind, length = _HEADER.unpack_from(data, at)
        if length < shortest or length % 4 or at + length > len(data):
            raise FieldError
        yield Field(kind, data[at + _HEADER.size : at + length], at)
        if kind == Type.AUTHENTICATOR:
            return
        at += length


def read_request(packet: bytes) -> Request | bytes:
    """
    Find the fields of NTS in a request.

    @return: the request; if it has none of NTS, its unique identifier, or nothing.
    @raise FieldError: if it has some, and they break a rule of section 5.7.
    """
    found: list[Field] = []
    try:
        found.extend(fields_of(packet, LENGTH))
    except FieldError:
        # Without NTS it is a message authentication code of plain NTP, for example.
        if any(field.type in _OF_NTS for field in found):
            raise
    identifiers, cookies, placeholders, authenticators = (
        [field for field in found if field.type == kind] for kind in _KINDS
    )
    if not (cookies or placeholders or authenticators):
        return identifiers[0].body if len(identifiers) == 1 else b""
    if not len(identifiers) == len(cookies) == len(authenticators) == 1:
        raise FieldError
    if len(identifiers[0].body) < MIN_IDENTIFIER:
        raise FieldError
    nonce, sealed, room = _take_authenticator(authenticators[0].body)
    if room < NONCE_ROOM:
        raise FieldError
    size = len(cookies[0].body)
    asked = sum(len(field.body) == size for field in placeholders)
    associated = packet[: authenticators[0].at]
    return Request(identifiers[0].body, cookies[0].body, nonce, sealed, associated, asked)


def read_answer(packet: bytes) -> Answer | bytes:
    """
    Find the fields of NTS in an answer.

    @return: the answer; if it has no authenticator, its unique identifier.
    @raise FieldError: if they break a rule of section 5.7.
    """
    found = list(fields_of(packet, LENGTH))
    identifiers = [field.body for field in found if field.type == Type.IDENTIFIER]
    if len(identifiers) != 1:
        raise FieldError
    last = found[-1]
    if last.type != Type.AUTHENTICATOR:
        return identifiers[0]
    nonce, sealed, _ = _take_authenticator(last.body)
    return Answer(identifiers[0], nonce, sealed, packet[: last.at])


def _take_authenticator(body: bytes) -> tuple[bytes, bytes, int]:
    """
    Read nonce, ciphertext, and how many bytes there are for another nonce.

    @param body: of a field that is L{MIN_FIELD} long at least.
    @raise FieldError: if they do not fit.
    """
    nonce, sealed = _HEADER.unpack_from(body)
    begin = _HEADER.size + _padded(nonce)
    end = begin + _padded(sealed)
    if not nonce or end > len(body):
        raise FieldError
    room = _padded(nonce) + len(body) - end
    return body[_HEADER.size : _HEADER.size + nonce], body[begin : begin + sealed], room


def field(kind: Type, body: bytes) -> bytes:
    """Encode an extension field, padded to four bytes."""
    length = _padded(len(body))
    return _HEADER.pack(kind, _HEADER.size + length) + body.ljust(length, b"\0")


def authenticator(nonce: bytes, sealed: bytes, length: int = 0) -> bytes:
    """
    Encode an authenticator.

    @param length: its whole length, if additional padding makes it longer.
    """
    body = _HEADER.pack(len(nonce), len(sealed))
    body += nonce.ljust(_padded(len(nonce)), b"\0") + sealed
    return field(Type.AUTHENTICATOR, body.ljust(length - _HEADER.size, b"\0"))


def _padded(length: int) -> int:
    return length + -length % 4
