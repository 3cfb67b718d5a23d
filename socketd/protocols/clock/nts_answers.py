"""Answers to NTP requests that Network Time Security protects (RFC 8915, section 5.7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from socketd.common.counters import Counters
from socketd.protocols.clock.nts_fields import (
    MIN_INNER,
    FieldError,
    Request,
    Type,
    authenticator,
    field,
    fields_of,
    read_request,
)
from socketd.protocols.clock.nts_key_file import KeyFile
from socketd.protocols.clock.nts_keys import NONCE, KeyRing
from socketd.protocols.clock.nts_records import COOKIES

#: What requests with extension fields of NTS come to, as it is counted.
ANSWERED, NAK, DISCARDED = "answered", "nak", "discarded"
RESULTS = (ANSWERED, NAK, DISCARDED)

#: The kiss code for a cookie or a tag that is not ours (section 5.7).
KISS = b"NTSN"

#: Ciphers of clients that are kept for their next request: making one costs as much as using it.
KEPT_CIPHERS = 1024

_cipher = lru_cache(KEPT_CIPHERS)(AESSIV)


#: The keys from a client and to it, and how many cookies its answer may have.
_Opened = tuple[bytes, bytes, int]


@frozen
class NtsAnswers:
    """Makes the answers of one port."""

    keys: KeyFile
    counters: Counters

    def answer(self, packet: bytes, header: Callable[[], bytes | None]) -> bytes | None:
        """
        Answer a request with extension fields.

        @param header: makes the plain answer, whose transmit time is that of the call; C{None}
            if there is none.
        @return: as long as the request where that is protected, else not longer.
        """
        try:
            request = read_request(packet)
        except FieldError:
            self.counters.nts_requests[DISCARDED] += 1
            return None
        if isinstance(request, bytes):
            # A unique identifier alone is returned, too (section 5.3).
            plain = header()
            return plain and plain + (request and field(Type.IDENTIFIER, request))
        identifier = field(Type.IDENTIFIER, request.identifier)
        ring = self.keys.ring
        opened = _open(request, ring)
        if opened is None:
            self.counters.nts_requests[NAK] += 1
            plain = header()
            # The kiss-o'-death: the alarm, stratum 0 and the code.
            head = plain and bytes([plain[0] | 0xC0, 0]) + plain[2:12] + KISS + plain[16:]
            return head and head + identifier
        self.counters.nts_requests[ANSWERED] += 1
        return _sealed(packet, opened, identifier, ring, header)


def _open(request: Request, ring: KeyRing) -> _Opened | None:
    """Verify a request; C{None} if the cookie or the tag is not good."""
    keys = ring.open(request.cookie)
    if keys is None:
        return None
    try:
        plain = _cipher(keys[0]).decrypt(request.sealed, [request.associated, request.nonce])
        inner = list(fields_of(plain, 0, MIN_INNER))
    except (InvalidTag, FieldError):
        return None
    size = len(request.cookie)
    hidden = sum(one.type == Type.PLACEHOLDER and len(one.body) == size for one in inner)
    return *keys, min(1 + request.placeholders + hidden, COOKIES)


def _sealed(
    packet: bytes,
    opened: _Opened,
    identifier: bytes,
    ring: KeyRing,
    header: Callable[[], bytes | None],
) -> bytes | None:
    """
    Make a protected answer, as long as the request.

    The request has room for it: a placeholder for each further cookie, the same identifier, and
    an authenticator with as long a nonce and tag. All but the seal is ready before the time is
    taken.
    """
    to_server, to_client, count = opened
    cookies = (field(Type.COOKIE, ring.seal(to_server, to_client)) for _ in range(count))
    plain, nonce, aead = b"".join(cookies), os.urandom(NONCE), _cipher(to_client)
    head = header()
    if head is None:
        return None
    associated = head + identifier
    sealed = aead.encrypt(plain, [associated, nonce])
    return associated + authenticator(nonce, sealed, len(packet) - len(associated))
