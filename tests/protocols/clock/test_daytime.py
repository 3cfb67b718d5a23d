"""Tests for L{socketd.protocols.clock.daytime}."""

from __future__ import annotations

import locale
import os
import time
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.system_clock import BUILD_DATE
from socketd.protocols.clock.daytime import daytime_line
from tests.protocols.fakes import answers, context, declaration_of, make_stream, told

#: A time of day in seconds since 1970, and its line, by format.
TABLE: list[tuple[float, bytes, bytes]] = [
    (1795219200.0, b"Sat Nov 21 00:00:00 2026\r\n", b"2026-11-21T00:00:00Z\r\n"),
    (1795231321.0, b"Sat Nov 21 03:22:01 2026\r\n", b"2026-11-21T03:22:01Z\r\n"),
    (1795231321.999, b"Sat Nov 21 03:22:01 2026\r\n", b"2026-11-21T03:22:01Z\r\n"),
    # A day of one digit has a space before it, as asctime(3) does.
    (1796083200.0, b"Tue Dec  1 00:00:00 2026\r\n", b"2026-12-01T00:00:00Z\r\n"),
    (1798761599.0, b"Thu Dec 31 23:59:59 2026\r\n", b"2026-12-31T23:59:59Z\r\n"),
    (1798761600.0, b"Fri Jan  1 00:00:00 2027\r\n", b"2027-01-01T00:00:00Z\r\n"),
    (1835395200.0, b"Tue Feb 29 00:00:00 2028\r\n", b"2028-02-29T00:00:00Z\r\n"),
    # Where the count of RFC 868 is full.
    (2085978495.0, b"Thu Feb  7 06:28:15 2036\r\n", b"2036-02-07T06:28:15Z\r\n"),
    (2085978496.0, b"Thu Feb  7 06:28:16 2036\r\n", b"2036-02-07T06:28:16Z\r\n"),
    # Where signed counts of 32 bits end.
    (2147483647.0, b"Tue Jan 19 03:14:07 2038\r\n", b"2038-01-19T03:14:07Z\r\n"),
    (2147483648.0, b"Tue Jan 19 03:14:08 2038\r\n", b"2038-01-19T03:14:08Z\r\n"),
    # 2100 has no leap day.
    (4107542399.0, b"Sun Feb 28 23:59:59 2100\r\n", b"2100-02-28T23:59:59Z\r\n"),
    (4107542400.0, b"Mon Mar  1 00:00:00 2100\r\n", b"2100-03-01T00:00:00Z\r\n"),
    # Where unsigned counts of 32 bits end.
    (4294967295.0, b"Sun Feb  7 06:28:15 2106\r\n", b"2106-02-07T06:28:15Z\r\n"),
    (4294967296.0, b"Sun Feb  7 06:28:16 2106\r\n", b"2106-02-07T06:28:16Z\r\n"),
]

#: Before the date from which a clock is believed; the line is written all the same.
EARLY: list[tuple[float, bytes, bytes]] = [
    (-1.0, b"Wed Dec 31 23:59:59 1969\r\n", b"1969-12-31T23:59:59Z\r\n"),
    (0.0, b"Thu Jan  1 00:00:00 1970\r\n", b"1970-01-01T00:00:00Z\r\n"),
    # The second after an inserted one: 2016-12-31T23:59:60Z is not to be seen.
    (1483228799.0, b"Sat Dec 31 23:59:59 2016\r\n", b"2016-12-31T23:59:59Z\r\n"),
    (1483228800.0, b"Sun Jan  1 00:00:00 2017\r\n", b"2017-01-01T00:00:00Z\r\n"),
]

NOW, UNIX, ISO = TABLE[1]


class DaytimeLineTests(SynchronousTestCase):
    """Tests for L{daytime_line}."""

    def assert_table(self) -> None:
        """Check each line of the tables."""
        for now, unix, iso in TABLE + EARLY:
            found = (daytime_line(now, "inetd"), daytime_line(now, "iso"))
            self.assertEqual(found, (unix, iso))

    def test_table(self) -> None:
        """The whole second is told, rounded down, in a line that ends with CR LF."""
        self.assert_table()

    def test_zone(self) -> None:
        """The zone of the process does not matter, one that counts leap seconds neither."""
        self.addCleanup(time.tzset)
        for zone in ("XST-12:30", "right/UTC"):
            with patch.dict(os.environ, TZ=zone):
                time.tzset()
                self.assert_table()

    def test_locale(self) -> None:
        """Nor does its locale."""
        before = locale.setlocale(locale.LC_TIME)
        self.addCleanup(locale.setlocale, locale.LC_TIME, before)
        for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "ja_JP.UTF-8", "C.UTF-8"):
            try:
                locale.setlocale(locale.LC_TIME, name)
            except locale.Error:
                continue
            self.assert_table()


class DaytimeTests(SynchronousTestCase):
    """Tests for C{daytime}."""

    def told(self, now: float, **options: str) -> bytes:
        """Return what a connection is told."""
        return told(make_stream("daytime", context(now), **options))

    def test_stream(self) -> None:
        """A connection is told the time at once, whatever its peer says, and closed."""
        for now, unix, iso in TABLE:
            self.assertEqual(self.told(now, format="inetd"), unix)
            self.assertEqual(self.told(now, format="iso"), iso)

    def test_default(self) -> None:
        """The line is that of inetd unless the configuration wants another."""
        self.assertEqual(self.told(NOW), UNIX)
        self.assertEqual(answers("daytime", b"x" * 100, now=NOW), [UNIX])

    def test_implausible(self) -> None:
        """
        A clock before the date of the build is not told: a connection is closed
        without a byte, and a datagram has no answer.
        """
        for now in (-1.0, 0.0, BUILD_DATE - 1.0):
            self.assertEqual(self.told(now), b"")
            self.assertEqual(answers("daytime", b"x" * 512, now=now, udp_amplify=512), [])
        self.assertEqual(self.told(float(BUILD_DATE)), b"Thu Jan  1 00:00:00 2026\r\n")

    def test_datagrams(self) -> None:
        """A datagram that is as long as the line is answered with the whole of it."""
        for now, unix, iso in TABLE:
            found = answers("daytime", b"x" * 26, b"x" * 65507, now=now)
            self.assertEqual(found, [unix, unix])
            self.assertEqual(answers("daytime", b"x" * 22, now=now, format="iso"), [iso])

    def test_short_datagrams(self) -> None:
        """A shorter one has no answer."""
        self.assertEqual(answers("daytime", b"", b"\n", b"x" * 25, now=NOW), [])
        self.assertEqual(answers("daytime", b"", b"x" * 21, now=NOW, format="iso"), [])

    def test_amplify(self) -> None:
        """It has, if the configuration allows an answer of that length."""
        self.assertEqual(answers("daytime", b"", b"\n", now=NOW, udp_amplify=26), [UNIX, UNIX])
        self.assertEqual(answers("daytime", b"", now=NOW, udp_amplify=25), [])
        self.assertEqual(answers("daytime", b"x" * 26, now=NOW, udp_amplify=25), [UNIX])
        self.assertEqual(answers("daytime", b"", now=NOW, udp_amplify=22, format="iso"), [ISO])

    def test_reply_floor(self) -> None:
        """The port is told how long an answer to a short datagram may be."""
        found = declaration_of("daytime")
        for size in (0, 26, 512):
            self.assertEqual(found.reply_floor(found.options(udp_amplify=size)), size)
