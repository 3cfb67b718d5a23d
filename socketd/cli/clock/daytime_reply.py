"""Interprets the line of a daytime server (RFC 867), which has no fixed form."""

from __future__ import annotations

import re
import time
from calendar import timegm

from attrs import frozen

_CLOCK = r"(\d\d:\d\d:(?:[0-5]\d|60))"
_ZONE = r"([A-Z]{1,5}|[+-]\d{4})"

#: The known forms: an expression, the groups that are date and time, their format (strptime(3)),
#: and the groups that are the zone.
_FORMS = (
    (
        rf"(\d{{4}}-\d\d-\d\d)[T ]{_CLOCK}(?:\.\d+)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?",
        r"\1 \2", "%Y-%m-%d %H:%M:%S", r"\3",
    ),
    # That of NIST.
    (
        rf"\d{{5}} (\d\d-\d\d-\d\d) {_CLOCK} .*\bUTC\(\w+\).*",
        r"\1 \2", "%y-%m-%d %H:%M:%S", "UTC(NIST)",
    ),
    # asctime(3), as inetd sends it, or date(1), which has the zone before the year.
    (
        rf"(?:[A-Za-z]{{3}},? )?([A-Za-z]{{3}} \d{{1,2}} {_CLOCK})(?: ([A-Z]{{1,5}}))? (\d{{4}})"
        rf"(?: {_ZONE})?",
        r"\1 \4", "%b %d %H:%M:%S %Y", r"\3\5",
    ),
    # The first two examples of RFC 867: "Tuesday, February 22, 1982 17:37:43-PST", and with a
    # two-digit year "02 FEB 82 07:59:01 PST"; and the form of RFC 822.
    (
        rf"(?:[A-Za-z]+, )?([A-Za-z]{{3}})[A-Za-z]* (\d{{1,2}}), (\d{{4}}) {_CLOCK}"
        r"[- ]?([A-Z]{1,5})?",
        r"\1 \2 \3 \4", "%b %d %Y %H:%M:%S", r"\5",
    ),
    (
        rf"(?:[A-Za-z]{{3}}, )?(\d{{1,2}} [A-Za-z]{{3}} \d\d {_CLOCK})(?: {_ZONE})?",
        r"\1", "%d %b %y %H:%M:%S", r"\3",
    ),
    (
        rf"(?:[A-Za-z]{{3}}, )?(\d{{1,2}} [A-Za-z]{{3}} \d{{4}} {_CLOCK})(?: {_ZONE})?",
        r"\1", "%d %b %Y %H:%M:%S", r"\3",
    ),
)  # fmt: skip


@frozen
class Daytime:
    """
    A time of day that was sent as text.

    @ivar unix: the seconds since 1970; as if it were UTC where the zone is not known.
    @ivar zone: as it was sent; empty if it was not.
    @ivar is_known: whether the zone says by how much it differs from UTC.
    """

    unix: int
    zone: str
    is_known: bool


def parse_daytime(text: str) -> Daytime | None:
    """Parse a line; C{None} if its form is not known, or there is no such time."""
    text = " ".join(text.split())
    for pattern, date, form, place in _FORMS:
        if match := re.fullmatch(pattern, text, re.ASCII):
            zone = match.expand(place)
            offset = _offset(zone)
            try:
                # The second 60 is a leap second, which is the first second of the next day here.
                unix = timegm(time.strptime(match.expand(date), form))
            except ValueError:
                return None
            return Daytime(unix - (offset or 0), zone, offset is not None)
    return None


def _offset(zone: str) -> int | None:
    """Give the seconds that a zone is ahead of UTC; names other than UTC mean several."""
    if zone in ("Z", "UTC", "GMT", "UTC(NIST)"):
        return 0
    if zone[:1] not in ("+", "-"):
        return None
    digits = zone[1:].replace(":", "")
    seconds = (int(digits[:2]) * 60 + int(digits[2:])) * 60
    return -seconds if zone[0] == "-" else seconds
