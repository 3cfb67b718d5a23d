"""Tests for L{socketd.cli.clock.time_reply}."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.time_reply import (
    AUTO,
    ERA,
    Measurement,
    TimeReply,
    Timestamp,
    read_reply,
    unix_time,
)
from socketd.common.errors import CommandError

NOW = 1_800_000_000
#: 2036-02-07 06:28:16 UTC, when the number of RFC 868 starts again at zero.
WRAP_1900 = 2_085_978_496
#: 2106-02-07 06:28:16 UTC, when the number of seconds since 1970 does.
WRAP_UNIX = ERA

YEAR = 365 * 86400

TIMES = [
    # number, epoch, our clock, the time that is meant
    (NOW, "unix", NOW, NOW),
    (NOW + 2_208_988_800, "1900", NOW, NOW),
    (0, "unix", 0, 0),
    (2_208_988_800, "1900", 0, 0),
    (0, "1900", NOW, WRAP_1900),
    (ERA - 1, "1900", WRAP_1900 + 100, WRAP_1900 - 1),
    (0, "1900", WRAP_1900 - 100, WRAP_1900),
    (5, "1900", WRAP_1900 + 1e9, WRAP_1900 + 5),
    (2**31 - 1, "unix", NOW, 2**31 - 1),
    (2**31, "unix", 2**31, 2**31),
    (ERA - 1, "unix", WRAP_UNIX + 100, WRAP_UNIX - 1),
    (0, "unix", WRAP_UNIX - 100, WRAP_UNIX),
    (7, "unix", WRAP_UNIX + 1e9, WRAP_UNIX + 7),
    (7, "unix", 3 * ERA, 3 * ERA + 7),
]


class UnixTimeTests(SynchronousTestCase):
    """Tests for L{unix_time}."""

    def test_eras(self) -> None:
        """The era is the one that comes nearest to our clock, across both wraps."""
        for number, epoch, near, meant in TIMES:
            self.assertEqual(unix_time(number, epoch, near), meant)

    def test_every_clock(self) -> None:
        """What a server sends comes back, whatever the year, with clocks decades apart."""
        for true in range(-(2**33), 2**35, 2**29 + 12345):
            for apart in (-(2**30), 0, 2**30):
                self.assertEqual(unix_time(true % ERA, "unix", true + apart), true)
                number = (true + 2_208_988_800) % ERA
                self.assertEqual(unix_time(number, "1900", true + apart), true)


class ReadReplyTests(SynchronousTestCase):
    """Tests for L{read_reply}."""

    def test_reading(self) -> None:
        """The offset is from the middle of both wall times, the round trip is monotonic."""
        sent, received = Timestamp(NOW - 3.0, 50.0), Timestamp(NOW - 2.0, 50.25)
        reply = TimeReply(struct.pack("!I", NOW), sent, received)
        expected = Measurement(NOW, "unix", NOW, 0.25, 2.5)
        self.assertEqual(read_reply(reply, "unix"), expected)
        self.assertEqual(read_reply(reply, AUTO), expected)

    def test_epoch(self) -> None:
        """The epoch of the server is found by our own clock, which may be up to 32 years off."""
        for apart in (-32 * YEAR, -1, 0, 32 * YEAR):
            moment = Timestamp(NOW + apart, 0)
            for number, epoch in ((NOW, "unix"), (NOW + 2_208_988_800, "1900")):
                reading = read_reply(TimeReply(struct.pack("!I", number), moment, moment), AUTO)
                self.assertEqual((reading.epoch, reading.unix), (epoch, NOW))

    def test_length(self) -> None:
        """A reply of another length is an error that tells it."""
        moment = Timestamp(0, 0)
        for data, guess in (
            (b"", ": the server does not know the time, or is none (RFC 868)"),
            (b"x", ""),
            (b"abc", ""),
            (b"12345", ""),
            (bytes(47), ""),
            (bytes(48), ": the peer is no time server of RFC 868"),
            (b"Sun Nov 29 10:00:00 2026\r\n", ": it is text, as daytime servers send (RFC 867)"),
        ):
            reply = TimeReply(data, moment, moment)
            error = self.assertRaises(CommandError, read_reply, reply, AUTO)
            self.assertEqual(str(error), f"reply error {len(data)}{guess}")
