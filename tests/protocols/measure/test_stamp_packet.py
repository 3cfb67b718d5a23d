"""Tests for L{socketd.protocols.measure.stamp_packet}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.common.system_clock import ClockState
from socketd.protocols.measure.stamp_packet import (
    MAX_MULTIPLIER,
    MAX_STAY,
    PTP,
    SYNCHRONISED,
    Answer,
    Request,
    error_estimate,
    error_of,
    instant_of,
    is_answer,
    is_authentic,
    is_padding,
    is_usual,
    parse_answer,
    parse_authenticated,
    parse_authenticated_answer,
    parse_open,
    parse_usual,
    timestamps,
    write_authenticated,
    write_authenticated_request,
    write_open,
    write_request,
    write_usual,
)
from tests.protocols.measure import stamp_wire as wire

#: A moment in 2026, and the seconds from 1900 to 1970.
NOW = 1_780_000_000
EPOCH = 2_208_988_800

KEY = b"0123456789abcdef"

#: Packets that scapy's contrib.stamp has in its own tests.
SCAPY_SENDER = bytes.fromhex("00001234 000004d2915b573e 9234 054d") + bytes(28)
SCAPY_REFLECTOR = bytes.fromhex(
    "00001234 000004d2915b573e 9234 054d 000010e1e0624dd2 00004321 0000085fa8a0902d 2143 0000"
    "6f 000000"
)


class FormatTests(SynchronousTestCase):
    """The packets are those of the figures."""

    def test_scapy(self) -> None:
        """The packets of another implementation are read and written."""
        found = parse_open(SCAPY_SENDER)
        self.assertEqual((found.sequence, found.ssid), (0x1234, 0x54D))
        self.assertEqual((found.timestamp, found.error), (0x04D2915B573E, 0x9234))
        sender = Request(0x4321, 0x085FA8A0902D, 0x2143, 0)
        received, sent = 0x10E1E0624DD2, 0x4D2915B573E
        answer = Answer(0x1234, sent, 0x9234, 0x54D, received, sender, 0x6F)
        self.assertEqual(write_open(answer), SCAPY_REFLECTOR)
        self.assertEqual(parse_answer(SCAPY_REFLECTOR)[:5], answer[:5])
        self.assertEqual(parse_answer(SCAPY_REFLECTOR).request[:3], sender[:3])

    def check(self, fields: wire.Fields, found: bytes) -> None:
        """See that each field has its place, and all else is zero."""
        expected = {
            "sequence": 1, "timestamp": 2, "error": 3, "ssid": 4, "received": 5,
            "sender_sequence": 6, "sender_timestamp": 0x0102030405060708, "sender_error": 0x1122,
            "ttl": 9,
        }  # fmt: skip
        self.assertEqual(wire.read(fields, found), expected)
        self.assertEqual(set(wire.must_be_zero(fields, found)), {0})

    def test_places(self) -> None:
        """Each field of both answers is where the figures have it."""
        sender = Request(6, 0x0102030405060708, 0x1122, 0)
        answer = Answer(1, 2, 3, 4, 5, sender, 9)
        self.check(wire.REFLECTOR, write_open(answer))
        found = write_authenticated(answer, KEY)
        self.check(wire.AUTHENTICATED_REFLECTOR, found[:96])
        self.assertEqual(found[96:], wire.mac(KEY, found[:96]))

    def test_authenticated(self) -> None:
        """A packet with authentication is read; each bit in front of the HMAC is covered."""
        packet = wire.signed(KEY, sequence=7, timestamp=8, error=9, ssid=10)
        found = parse_authenticated(packet)
        expected = Request(7, 8, 9, 10)
        self.assertEqual(found, expected)
        self.assertTrue(is_authentic(packet + b"behind", KEY))
        self.assertFalse(is_authentic(packet, KEY + b"x"))
        for at in range(len(packet)):
            forged = bytearray(packet)
            forged[at] ^= 1
            self.assertFalse(is_authentic(bytes(forged), KEY), at)

    def test_open_sender(self) -> None:
        """A sender's packet has its fields, and zeros behind them."""
        expected = wire.request(sequence=7, timestamp=8, error=9, ssid=10)
        self.assertEqual(write_request(7, 8, 9, 10), expected)

    def test_authenticated_sender(self) -> None:
        """A sender's packet has its fields and its HMAC; its answer is read again."""
        packet = write_authenticated_request(7, 8, 9, 10, KEY)
        self.assertEqual(packet, wire.signed(KEY, sequence=7, timestamp=8, error=9, ssid=10))
        sender = Request(6, 0x0102030405060708, 0x1122, 4)
        answer = Answer(1, 2, 3, 4, 5, sender, 9)
        self.assertEqual(parse_authenticated_answer(write_authenticated(answer, KEY)), answer)

    def test_light(self) -> None:
        """What TWAMP Light leaves out is zero."""
        for length in (14, 15, 16, 43):
            self.assertEqual(parse_open(SCAPY_SENDER[:length]).sequence, 0x1234)
        self.assertEqual(parse_open(SCAPY_SENDER[:14]).ssid, 0)
        self.assertEqual(parse_answer(SCAPY_REFLECTOR[:41]), parse_answer(SCAPY_REFLECTOR))

    def test_usual(self) -> None:
        """Packets that are answered together have the answers of each, padding too, and times."""
        packet, now = wire.request(sequence=1, timestamp=2, error=3, ssid=4), NOW * 10**9
        rows = [(parse_usual(packet + bytes(5)), 7 + at, now, 9) for at in range(3)]
        answers, times = write_usual(rows, 0x1122, now + 10**6, 1000)
        for at, (answer, sent) in enumerate(zip(answers, times, strict=True)):
            first, last = timestamps(now, now + 10**6 + 1000 * at, False)
            expected = Answer(7 + at, sent, 0x1122, 4, first, parse_open(packet), 9)
            self.assertEqual(answer, write_open(expected) + bytes(5))
            self.assertLess(abs(sent - last), 4)

    def test_padding(self) -> None:
        """Zeros are the padding of TWAMP, and no TLV; type 0 with a flag is an unknown one."""
        for data, expected in ((b"\0", True), (bytes(27), True), (b"\0\1\0\0", False),
                               (b"\x80\0\0\0", False)):  # fmt: skip
            self.assertEqual(is_padding(data), expected)


class AnswerTests(SynchronousTestCase):
    """Tests for L{is_answer}."""

    def answers(self, received: int, sent: int) -> list[bool]:
        """Say whether each form of an answer with these times is one."""
        answer = Answer(1, sent, 3, 4, received, Request(6, 0, 0, 0), 9)
        authenticated = write_authenticated(answer, KEY)
        packet = write_open(answer)
        is_loop = not is_usual(parse_usual(packet))
        return [is_answer(packet, False), is_loop, is_answer(authenticated, True)]

    def test_times(self) -> None:
        """It left at most a second after it came, also where the time wraps."""
        for received, stay, expected in (
            (1, 0, True), (1 << 63, MAX_STAY - 1, True), ((1 << 64) - 5, 9, True),
            (1 << 63, MAX_STAY, False), (1 << 63, -1, False), (0, 5, False),
        ):  # fmt: skip
            found = self.answers(received, (received + stay) % (1 << 64))
            self.assertEqual(found, [expected] * 3, (received, stay))

    def test_places(self) -> None:
        """Nothing but the two times matters."""
        for fields, length, is_authenticated in (
            (wire.REFLECTOR, wire.OPEN, False),
            (wire.AUTHENTICATED_REFLECTOR, wire.AUTHENTICATED, True),
        ):
            times = {"timestamp": 0x0102030405060708, "received": 0x0102030405060707}
            packet = bytearray(b"\xff" * length)
            for name, value in times.items():
                at, size = fields[name]
                packet[at : at + size] = value.to_bytes(size, "big")
            self.assertTrue(is_answer(bytes(packet), is_authenticated))


class TimeTests(SynchronousTestCase):
    """Tests for L{timestamps}."""

    def test_formats(self) -> None:
        """NTP counts from 1900 in parts of 2**-32, PTP from 1970 in nanoseconds."""
        received, sent = NOW * 10**9 + 500_000_000, NOW * 10**9 + 750_000_000
        expected = (NOW + EPOCH) << 32 | 1 << 31, (NOW + EPOCH) << 32 | 3 << 30
        self.assertEqual(timestamps(received, sent, False), expected)
        expected = NOW << 32 | 500_000_000, NOW << 32 | 750_000_000
        self.assertEqual(timestamps(received, sent, True), expected)

    def test_never_equal(self) -> None:
        """T3 is after T2, also with a coarse clock, and with one that was set back."""
        for ptp in (False, True):
            for sent in (NOW * 10**9, NOW * 10**9 - 1, (NOW - 5) * 10**9):
                first, last = timestamps(NOW * 10**9, sent, ptp)
                self.assertEqual(last, first + 1)

    def test_eras(self) -> None:
        """The seconds wrap in 2036 with NTP, and in 2106 with PTP."""
        for ptp, wrap in ((False, (1 << 32) - EPOCH), (True, 1 << 32)):
            first, last = timestamps(wrap * 10**9 - 1, wrap * 10**9, ptp)
            self.assertEqual((first >> 32, last), ((1 << 32) - 1, 0))

    def test_read(self) -> None:
        """A timestamp is read as the time that is near, in any era; to one unit of its format."""
        for seconds in (NOW, (1 << 32) - EPOCH - 1, (1 << 32) - EPOCH, (1 << 32) + 5, 5 << 32):
            when = seconds * 10**9 + 123_456_789
            for ptp in (False, True):
                wire_time, _ = timestamps(when, when, ptp)
                for away in (-20, 0, 20):
                    found = instant_of(wire_time, ptp, when + away * 365 * 86400 * 10**9)
                    self.assertIn(found, (when - 1, when))


class ErrorTests(SynchronousTestCase):
    """Tests for L{error_estimate}."""

    def bound(self, estimate: int) -> float:
        """Compute the seconds that an estimate stands for (RFC 4656, section 4.1.2)."""
        multiplier = estimate & 0xFF
        self.assertGreater(multiplier, 0)
        return float(multiplier * 2.0 ** ((estimate >> 8 & 0x3F) - 32))

    def test_synchronised(self) -> None:
        """The estimate is above the kernel's bound, by less than two of its steps."""
        for error in (1e-9, 1e-6, 0.0005, 0.0123, 0.1, 1.0, 15.9):
            state = ClockState(synchronised=True, max_error=error, precision=-30, read_at=NOW)
            found = error_estimate(state, NOW, False)
            self.assertEqual(found & (SYNCHRONISED | PTP), SYNCHRONISED)
            self.assertGreaterEqual(self.bound(found), error)
            self.assertLess(self.bound(found), (error + 1e-9) * (1 + 2 / MAX_MULTIPLIER) + 1e-9)

    def test_rounded(self) -> None:
        """It is rounded up to the next multiplier, of the smallest scale that has one."""
        for units, expected in (
            (-5, 1), (1, 1), (255, 255), (256, 0x180), (510, 0x1FF), (511, 0x280),
        ):  # fmt: skip
            state = ClockState(True, 0, (units - 1) / 2**32, -32, False, NOW)
            self.assertEqual(error_estimate(state, NOW, False), SYNCHRONISED | expected)

    def test_grows(self) -> None:
        """It grows with the time since the kernel was asked, as the kernel's does."""
        state = ClockState(synchronised=True, max_error=0.0, precision=-30, read_at=NOW)
        self.assertAlmostEqual(self.bound(error_estimate(state, NOW + 10, False)), 0.005, 4)

    def test_read(self) -> None:
        """What is written is read; without S nothing is known."""
        self.assertEqual(error_of(SYNCHRONISED | 0x1D80), 16.0)
        self.assertIsNone(error_of(0x1D80))

    def test_unsynchronised(self) -> None:
        """A clock that nothing keeps, or that was set just now, has no S, and the worst bound."""
        for state in (ClockState(), ClockState(synchronised=True, max_error=0.1, stepped=True)):
            found = error_estimate(state, NOW, True)
            self.assertEqual(found & (SYNCHRONISED | PTP), PTP)
            self.assertEqual(self.bound(found), 16.0)
