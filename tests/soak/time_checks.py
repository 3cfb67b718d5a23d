"""Checks that the time in an answer can be right."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime

from tests.soak.client import Client

#: An answer may wait while the daemon is stopped, and the clock of both is the same
#: (seconds).
SLACK = 15.0

#: RFC 868 and NTP count from 1900.
SINCE_1900 = 2208988800

_NTP = struct.Struct("!B23s8s8sII")


def check_time(client: Client, found: bytes | None, since: int = 0) -> None:
    """Check four bytes, which count from so many seconds before 1970."""
    good = found is not None and len(found) == 4
    told = struct.unpack("!I", found)[0] if found is not None and good else 0
    now = (time.time() + since) % 2**32
    client.check(good and abs(told - now) < SLACK, f"{found!r} is no time, {now:.0f} is")


def check_daytime(client: Client, found: bytes | None) -> None:
    """Check a line for people (RFC 867, as asctime(3) has it)."""
    try:
        told = datetime.strptime((found or b"").decode(), "%a %b %d %H:%M:%S %Y\r\n")
        good = abs(told.replace(tzinfo=UTC).timestamp() - time.time()) < SLACK
    except ValueError:
        good = False
    client.check(good, f"{found!r} is no time of day")


def ntp_question(client: Client) -> bytes:
    """Ask as a client of version 4 does (RFC 5905, section 7.3)."""
    return bytes([0x23]) + bytes(39) + client.random.randbytes(8)


def check_ntp(client: Client, question: bytes, found: bytes | None) -> None:
    """Check what a server says: mode 4, our own time of sending, and a time that can be right."""
    good = found is not None and len(found) == len(question)
    if found is not None and good:
        head, _, origin, _, seconds, _ = _NTP.unpack(found)
        now = (time.time() + SINCE_1900) % 2**32
        good = head & 7 == 4 and origin == question[40:48] and abs(seconds - now) < SLACK
    client.check(good, f"{found!r} is no answer of a time server")
