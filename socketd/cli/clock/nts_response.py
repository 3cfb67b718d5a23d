"""Reads what a key server of Network Time Security answers (RFC 8915, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from socketd.common.errors import CommandError
from socketd.common.host_names import parse_host
from socketd.protocols.clock.nts_records import (
    AES_SIV_CMAC_256,
    COOKIES,
    NTPV4,
    Record,
    Type,
)

#: The longest cookie (bytes) whose request fits the smallest packet of IPv6 (1280 bytes).
MAX_COOKIE = 1024

#: The codes of error records (section 4.1.3).
ERRORS = ("unrecognized critical record", "bad request", "internal error")

MALFORMED = "its response breaks a rule of RFC 8915"

_ONCE = (Type.NEXT_PROTOCOL, Type.AEAD, Type.SERVER, Type.PORT)


@frozen
class Offer:
    """
    What a response gives.

    @ivar host: the NTP server; empty: the address of the key server.
    @ivar port: its port; 0: the usual one.
    """

    cookies: tuple[bytes, ...]
    host: str
    port: int


def read_response(records: Iterable[Record]) -> Offer:
    """
    Check a response (sections 4.1.2 to 4.1.8).

    @raise CommandError: if it gives no cookies, or breaks a rule.
    """
    found: dict[int, list[bytes]] = {kind: [] for kind in Type}
    for record in records:
        if record.critical and record.type not in found:
            raise CommandError(f"its response has a critical record of type {record.type}")
        found.setdefault(record.type, []).append(record.body)
    _check_problems(found)
    if any(len(found[kind]) > 1 for kind in _ONCE):
        raise CommandError(MALFORMED)
    _check_agreed(found[Type.NEXT_PROTOCOL], NTPV4, "it gives no keys for NTPv4")
    _check_agreed(found[Type.AEAD], AES_SIV_CMAC_256, "it has no AEAD_AES_SIV_CMAC_256")
    cookies = tuple(filter(is_usable, found[Type.COOKIE]))
    if not cookies:
        raise CommandError("it gives no cookie that can be used")
    host, port = _read_host(found[Type.SERVER]), _read_port(found[Type.PORT])
    return Offer(cookies[:COOKIES], host, port)


def is_usable(cookie: bytes) -> bool:
    """Whether a cookie can be sent as a field of a packet, which padding would change."""
    return 0 < len(cookie) <= MAX_COOKIE and len(cookie) % 4 == 0


def _check_problems(found: dict[int, list[bytes]]) -> None:
    for body in found[Type.ERROR]:
        code = int.from_bytes(body[:2])
        meaning = f" ({ERRORS[code]})" if code < len(ERRORS) else ""
        raise CommandError(f"it refuses: error {code}{meaning}")
    for body in found[Type.WARNING]:
        # None is defined, and one that is not known is an error (section 4.1.4).
        raise CommandError(f"it warns: {int.from_bytes(body[:2])}")


def _check_agreed(bodies: Sequence[bytes], number: int, otherwise: str) -> None:
    """Expect the one number that was offered; an empty list says that it is not there."""
    if bodies == [b""]:
        raise CommandError(otherwise)
    if bodies != [number.to_bytes(2)]:
        raise CommandError(MALFORMED)


def _read_host(bodies: Sequence[bytes]) -> str:
    if not bodies:
        return ""
    try:
        return parse_host(bodies[0].decode("ascii"))
    except ValueError:
        raise CommandError(MALFORMED) from None


def _read_port(bodies: Sequence[bytes]) -> int:
    if not bodies:
        return 0
    port = int.from_bytes(bodies[0])
    if len(bodies[0]) != 2 or not port:
        raise CommandError(MALFORMED)
    return port
