"""Tests for L{socketd.cli.clock.time_query}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.time_query import Daytime, parse_daytime
from socketd.protocols.clock.daytime import daytime_line

#: 2026-11-29 17:43:09 UTC.
NOW = 1_795_974_189

LINES = [
    # a line, its time, its zone, whether that is known
    ("2026-11-29T17:43:09Z", NOW, "Z", True),
    ("2026-11-29 17:43:09", NOW, "", False),
    ("2026-11-29T18:43:09.123+01:00", NOW, "+01:00", True),
    ("2026-11-29T12:13:09-0530", NOW, "-0530", True),
    ("Sun Nov 29 17:43:09 2026", NOW, "", False),
    ("Sun Nov  1 17:43:09 2026", NOW - 28 * 86400, "", False),
    ("Sun Nov 29 17:43:09 UTC 2026", NOW, "UTC", True),
    ("Sun Nov 29 17:43:09 CET 2026", NOW, "CET", False),
    ("Sun Nov 29 17:43:09 2026 GMT", NOW, "GMT", True),
    ("61373 26-11-29 17:43:09 00 0 0 543.2 UTC(NIST) *", NOW, "UTC(NIST)", True),
    ("Sunday, November 29, 2026 17:43:09-UTC", NOW, "UTC", True),
    # The examples of RFC 867.
    ("Tuesday, February 22, 1982 17:37:43-PST", 383_247_463, "PST", False),
    ("02 FEB 82 07:59:01 PST", 381_484_741, "PST", False),
    ("Sun, 29 Nov 2026 18:43:09 +0100", NOW, "+0100", True),
    # A leap second.
    ("2016-12-31T23:59:60Z", 1_483_228_800, "Z", True),
]


class ParseTests(SynchronousTestCase):
    """Tests for L{parse_daytime}."""

    def test_forms(self) -> None:
        """Each form that servers send is read; what no zone says is taken for UTC."""
        for line, unix, zone, is_known in LINES:
            self.assertEqual(parse_daytime(line), Daytime(unix, zone, is_known), line)

    def test_own(self) -> None:
        """What this daemon sends is read, whatever the day."""
        for now in range(0, 2**32, 2**27 + 12_345):
            for format in ("inetd", "iso"):
                found = parse_daytime(daytime_line(now, format).decode("ascii"))
                assert found is not None
                self.assertEqual(found.unix, now)

    def test_none(self) -> None:
        """What is no time is none: no guess is made."""
        for line in (
            "", "hello", "2026-13-29T17:43:09Z", "2026-11-29T25:43:09Z", "17:43:09", "2026-11-29",
            "Sun Now 29 17:43:09 2026", "31 FEB 82 07:59:01 PST", "2026-11-29T17:43:09Zx",
            "\u0661\u0662",
        ):  # fmt: skip
            self.assertIsNone(parse_daytime(line), line)
