"""Interprets the line of a daytime server (RFC 867), which has no fixed form."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from attrs import frozen

#: Zones that mean UTC, in forms that name one.
_UTC = ("Z", "UTC", "GMT", "UTC(NIST)")

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?", re.ASCII
)
_NIST = re.compile(r"\d{5} (\d\d-\d\d-\d\d) (\d\d:\d\d:\d\d) .*\bUTC\(\w+\).*", re.ASCII)
#: asctime(3), as inetd sends it, or date(1), which has the zone before the year.
_CTIME = re.compile(
    r"(?:[A-Za-z]{3},? )?([A-Za-z]{3}) +(\d{1,2}) (\d\d:\d\d:\d\d)(?: ([A-Z]{1,5}))? (\d{4})"
    r"(?: ([A-Z]{1,5}|[+-]\d{4}))?",
    re.ASCII,
)
#: The first two examples of RFC 867: C{Tuesday, February 22, 1982 17:37:43-PST}, and with a
#: two-digit year C{02 FEB 82 07:59:01 PST}; and the form of RFC 822.
_LONG = re.compile(
    r"(?:[A-Za-z]+, )?([A-Za-z]{3})[A-Za-z]* (\d{1,2}), (\d{4}) (\d\d:\d\d:\d\d)"
    r"[- ]?([A-Z]{1,5})?",
    re.ASCII,
)
_SHORT = re.compile(
    r"(?:[A-Za-z]{3}, )?(\d{1,2}) ([A-Za-z]{3}) (\d{4}|\d\d) (\d\d:\d\d:\d\d)"
    r"(?: ([A-Z]{1,5}|[+-]\d{4}))?",
    re.ASCII,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


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
    for form, read in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            date, clock, zone = read(match)
            return _made(date, clock, zone)
    return None


def _made(date: tuple[str, str, str], clock: str, zone: str) -> Daytime | None:
    year, month, day = date
    if not month.isdigit():
        month = str(_MONTHS.index(month.lower()) + 1) if month.lower() in _MONTHS else "0"
    if len(year) == 2:
        # POSIX's strptime: 69 to 99 are of the last century.
        year = f"{19 if int(year) > 68 else 20}{year}"
    try:
        hour, minute, second = map(int, clock.split(":"))
        # 60 is a leap second, which is the first second of the next day elsewhere.
        leap = second == 60
        moment = datetime(int(year), int(month), int(day), hour, minute, second - leap, tzinfo=UTC)
    except ValueError:
        return None
    moment += timedelta(seconds=leap)
    offset = _offset(zone)
    return Daytime(round(moment.timestamp()) - (offset or 0), zone, offset is not None)


def _offset(zone: str) -> int | None:
    """Give the seconds that a zone is ahead of UTC; names other than UTC mean several."""
    if zone in _UTC:
        return 0
    if zone[:1] not in ("+", "-"):
        return None
    digits = zone[1:].replace(":", "")
    seconds = (int(digits[:2]) * 60 + int(digits[2:])) * 60
    return -seconds if zone[0] == "-" else seconds


_Read = tuple[tuple[str, str, str], str, str]


def _dashed(date: str) -> tuple[str, str, str]:
    year, month, day = date.split("-")
    return year, month, day


def _iso(match: re.Match[str]) -> _Read:
    return _dashed(match[1]), match[2], match[3] or ""


def _nist(match: re.Match[str]) -> _Read:
    return _dashed(match[1]), match[2], "UTC(NIST)"


def _ctime(match: re.Match[str]) -> _Read:
    return (match[5], match[1], match[2]), match[3], match[4] or match[6] or ""


def _long(match: re.Match[str]) -> _Read:
    return (match[3], match[1], match[2]), match[4], match[5] or ""


def _short(match: re.Match[str]) -> _Read:
    return (match[3], match[2], match[1]), match[4], match[5] or ""


_FORMS = ((_ISO, _iso), (_NIST, _nist), (_CTIME, _ctime), (_LONG, _long), (_SHORT, _short))
