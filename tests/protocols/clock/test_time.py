"""Tests for L{socketd.protocols.clock.time}."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.system_clock import BUILD_DATE, is_plausible
from socketd.protocols.clock.ntp_time import SECONDS_1900_TO_1970
from socketd.protocols.clock.time import time_reply
from tests.protocols.fakes import answers, context, declaration_of, make_stream, told

#: A time of day in seconds since 1970, and what is sent for it, by epoch.
TABLE: list[tuple[float, str, str]] = [
    (-2208988801.0, "7c55817f", "ffffffff"),
    (-2208988800.0, "7c558180", "00000000"),
    (-1.0, "ffffffff", "83aa7e7f"),
    (-0.25, "ffffffff", "83aa7e7f"),
    (0.0, "00000000", "83aa7e80"),
    (0.999, "00000000", "83aa7e80"),
    (1.0, "00000001", "83aa7e81"),
    (946684800.0, "386d4380", "bc17c200"),
    (1767225599.999, "6955b8ff", "ed00377f"),
    # 2026-01-01, from when on a clock is believed.
    (1767225600.0, "6955b900", "ed003780"),
    # 2036-02-07 06:28:15 and :16, where the count from 1900 is full.
    (2085978495.0, "7c55817f", "ffffffff"),
    (2085978495.999, "7c55817f", "ffffffff"),
    (2085978496.0, "7c558180", "00000000"),
    (2085978497.0, "7c558181", "00000001"),
    # 2038-01-19 03:14:07 and :08, where signed counts end.
    (2147483647.0, "7fffffff", "03aa7e7f"),
    (2147483648.0, "80000000", "03aa7e80"),
    # 2106-02-07 06:28:15 and :16, where the count from 1970 is full.
    (4294967295.0, "ffffffff", "83aa7e7f"),
    (4294967295.5, "ffffffff", "83aa7e7f"),
    (4294967296.0, "00000000", "83aa7e80"),
    (4294967297.0, "00000001", "83aa7e81"),
]

#: Those at which a clock is believed, and the time is told.
TOLD = [row for row in TABLE if is_plausible(row[0])]

#: When each count begins again.
WRAPS = {"1900": datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC)}
WRAPS["unix"] = datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC)


class TimeReplyTests(SynchronousTestCase):
    """Tests for L{time_reply}."""

    def test_table(self) -> None:
        """Whole seconds are sent, rounded down, modulo 2**32."""
        found = [
            (now, time_reply(now, "unix").hex(), time_reply(now, "1900").hex())
            for now, *_ in TABLE
        ]
        self.assertEqual(found, TABLE)

    def test_wraps(self) -> None:
        """The counts begin again at the second that the calendar says."""
        for epoch, when in WRAPS.items():
            self.assertEqual(time_reply(when.timestamp() - 1, epoch), b"\xff\xff\xff\xff")
            self.assertEqual(time_reply(when.timestamp(), epoch), b"\0\0\0\0")

    def test_rfc_868(self) -> None:
        """The examples of RFC 868 are right: it counts from midnight of 1900-01-01."""
        examples = {
            2208988800: datetime(1970, 1, 1, tzinfo=UTC),
            2398291200: datetime(1976, 1, 1, tzinfo=UTC),
            2524521600: datetime(1980, 1, 1, tzinfo=UTC),
            2629584000: datetime(1983, 5, 1, tzinfo=UTC),
        }
        for count, when in examples.items():
            self.assertEqual(time_reply(when.timestamp(), "1900"), count.to_bytes(4, "big"))
        # Written as -1297728000 there, in two's complement.
        before = datetime(1858, 11, 17, tzinfo=UTC).timestamp()
        expected = (-1297728000).to_bytes(4, "big", signed=True)
        self.assertEqual(time_reply(before, "1900"), expected)

    def test_difference(self) -> None:
        """The two epochs are seventy years with seventeen leap days apart."""
        self.assertEqual(SECONDS_1900_TO_1970, (70 * 365 + 17) * 86400)


class TimeTests(SynchronousTestCase):
    """Tests for C{time}."""

    def test_stream(self) -> None:
        """A connection is told the time at once, whatever its peer says, and closed."""
        for now, unix, since_1900 in TOLD:
            for epoch, expected in (("unix", unix), ("1900", since_1900)):
                found = told(make_stream("time", context(now), epoch=epoch))
                self.assertEqual(found.hex(), expected)

    def test_datagrams(self) -> None:
        """Each datagram is told the time, an empty one too."""
        for now, unix, since_1900 in TOLD:
            for epoch, expected in (("unix", unix), ("1900", since_1900)):
                found = answers("time", b"", b"x", b"x" * 65507, now=now, epoch=epoch)
                self.assertEqual([reply.hex() for reply in found], [expected] * 3)

    def test_default(self) -> None:
        """The seconds are those since 1970 unless the configuration wants others."""
        expected = (BUILD_DATE + 7).to_bytes(4, "big")
        self.assertEqual(told(make_stream("time", context(BUILD_DATE + 7.9))), expected)
        self.assertEqual(answers("time", b"", now=BUILD_DATE + 7.9), [expected])

    def test_implausible(self) -> None:
        """
        A clock before the date of the build is not told: a connection is closed
        without a byte, and a datagram has no answer (RFC 868).
        """
        early = [now for now, *_ in TABLE if not is_plausible(now)]
        self.assertIn(BUILD_DATE - 0.001, early)
        for now in early:
            for epoch in ("unix", "1900"):
                self.assertEqual(told(make_stream("time", context(now), epoch=epoch)), b"")
                self.assertEqual(answers("time", b"", b"x" * 4, now=now, epoch=epoch), [])

    def test_implausible_batch(self) -> None:
        """So it is with many datagrams at once."""
        for now, count in ((0.0, 0), (BUILD_DATE + 7.0, 1)):
            batch: Any = mock.Mock(spec=["answer_all"])
            declaration = declaration_of("time")
            assert declaration.datagram is not None
            protocol: Any = declaration.datagram(declaration.options(), context(now))
            protocol.batch_received(batch)
            self.assertEqual(batch.answer_all.call_count, count)

    def test_reply_floor(self) -> None:
        """The port is told that four bytes answer a datagram however short."""
        found = declaration_of("time")
        self.assertEqual(found.reply_floor(found.options()), 4)
