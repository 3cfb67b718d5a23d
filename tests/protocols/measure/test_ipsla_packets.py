"""Tests for L{socketd.protocols.measure.ipsla_packets}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.ipsla_packets import (
    AUTHENTICATED,
    MALFORMED,
    UNSUPPORTED,
    BadRequest,
    answer_probe,
    parse_request,
)

#: What devices send and answer: UDP echo at port 42518 for 5 s, jitter at port 16384 for 5.4 s.
ECHO_REQUEST = bytes.fromhex(
    "0169003400000000 0002001000000000c0a80c02a6161388 0001001c" + "00" * 24
)
ECHO_ANSWER = bytes.fromhex("0169001800000000 0002001000000000c0a80c02a6161388")
JITTER_REQUEST = bytes.fromhex(
    "0172003400000000 0004001000000000c0a80c0240001518 0001001c" + "00" * 24
)
JITTER_ANSWER = bytes.fromhex("0172001800000000 0004001000000000c0a80c0240001518")

#: A request for jitter by IPv6, at port 50505 for 7 s.
IPV6_REQUEST = bytes.fromhex(
    "013c004400000000 0008002000000000 20010db8000000000000000000000001 c549000000001b58 0001001c"
    + "00" * 24
)

#: 12:06:25.825 UTC on a day, and half a second later (nanoseconds since 1970).
RECEIVED = (1_764_374_400 + 43_585) * 10**9 + 825_000_000
SENT = RECEIVED + 500_000_000


class RequestTests(SynchronousTestCase):
    """Tests for L{parse_request}."""

    def test_devices(self) -> None:
        """What devices ask has the answer that devices give."""
        for message, port, duration, answer in (
            (ECHO_REQUEST, 42518, 5.0, ECHO_ANSWER),
            (JITTER_REQUEST, 16384, 5.4, JITTER_ANSWER),
        ):
            found = parse_request(message)
            self.assertEqual((found.port, found.duration, found.answer), (port, duration, answer))

    def test_ipv6(self) -> None:
        """The port and the time are behind a longer address; the answer has the same form."""
        found = parse_request(IPV6_REQUEST)
        self.assertEqual((found.port, found.duration), (50505, 7.0))
        self.assertEqual(found.answer, b"\x01\x3c\0\x28" + bytes(4) + IPV6_REQUEST[8:40])

    def test_shortest(self) -> None:
        """A version, a port, and no time: that of a device that does not say another."""
        found = parse_request(b"\x01\xff" + bytes(18) + b"\xc5\x49\0\0")
        self.assertEqual((found.port, found.duration, len(found.answer)), (50505, 5.0, 24))

    def test_longest(self) -> None:
        """No time is longer than an hour."""
        message = bytearray(IPV6_REQUEST)
        message[36:40] = b"\xff" * 4
        self.assertEqual(parse_request(bytes(message)).duration, 3600.0)

    def test_answers_are_no_longer(self) -> None:
        """An answer is no longer than what it answers."""
        for message in (ECHO_REQUEST, ECHO_REQUEST[:24], IPV6_REQUEST, IPV6_REQUEST[:40]):
            self.assertLessEqual(len(parse_request(message).answer), len(message))

    def test_refused(self) -> None:
        """What is cut, of another version, for TCP or authenticated has no answer."""
        tcp = ECHO_REQUEST[:9] + b"\x03" + ECHO_REQUEST[10:]
        for message, reason in (
            (b"", MALFORMED),
            (ECHO_REQUEST[:23], MALFORMED),
            (IPV6_REQUEST[:39], MALFORMED),
            (b"\x02" + ECHO_REQUEST[1:], MALFORMED),
            (tcp, UNSUPPORTED),
            (ECHO_REQUEST[:40] + b"\x01" + ECHO_REQUEST[41:], AUTHENTICATED),
        ):
            problem = self.assertRaises(BadRequest, parse_request, message)
            self.assertEqual(str(problem), reason, message.hex())


class ProbeTests(SynchronousTestCase):
    """Tests for L{answer_probe}."""

    def test_echo(self) -> None:
        """A probe of type 1 comes back as it is."""
        for probe in (b"\0\1", b"\0\1\0\0" + b"\xab\xcd" * 6):
            self.assertEqual(answer_probe(probe, RECEIVED, SENT), probe)

    def test_milliseconds(self) -> None:
        """
        One of type 2 has the milliseconds since midnight when it came, how many the answer took,
        and the number twice.
        """
        probe = bytes.fromhex("00020000 029aa061 00000000 00010000") + b"\xab\xcd" * 8
        expected = bytes.fromhex("000201f4 029aa061 02991921 00010001") + b"\xab\xcd" * 8
        found = answer_probe(probe, RECEIVED, SENT)
        assert found is not None
        self.assertEqual(int.from_bytes(found[8:12], "big"), 43_585_825)
        self.assertEqual(found[:8] + found[12:], expected[:8] + expected[12:])

    def test_milliseconds_of_a_device(self) -> None:
        """With nothing to tell apart it is the answer of a device, octet for octet."""
        midnight = 1_764_374_400 * 10**9
        received = midnight + 0x029AA0D0 * 10**6
        probe = bytes.fromhex("00020000 029aa0cf 00000000 00030000") + b"\xab\xcd" * 8
        answer = bytes.fromhex("00020000 029aa0cf 029aa0d0 00030003") + b"\xab\xcd" * 8
        self.assertEqual(answer_probe(probe, received, received + 1000), answer)

    def test_microseconds(self) -> None:
        """One of type 3 has both times as NTP writes them, and the number twice."""
        probe = b"\0\3" + bytes(50) + b"\x12\x34\0\0" + b"\xab\xcd" * 4
        found = answer_probe(probe, RECEIVED, SENT)
        assert found is not None
        seconds = 1_764_374_400 + 43_585 + 2_208_988_800
        times = [int.from_bytes(found[at : at + 8], "big") / 2**32 for at in (12, 20)]
        for read, expected in zip(times, (seconds + 0.825, seconds + 1.325)):
            self.assertAlmostEqual(read, expected, places=5)
        self.assertEqual(found[52:56], b"\x12\x34\x12\x34")
        left = found[:12], found[28:52], found[56:]
        self.assertEqual(left, (probe[:12], bytes(24), probe[56:]))

    def test_short_microseconds(self) -> None:
        """A short one has no number, and times all the same."""
        found = answer_probe(b"\0\3" + bytes(30), RECEIVED, SENT)
        assert found is not None
        self.assertEqual(len(found), 32)
        self.assertNotEqual(found[12:20], found[20:28])

    def test_lengths(self) -> None:
        """A probe of microseconds has its times from 28 octets on, and its number from 56 on."""
        for size, has_number in ((28, False), (55, False), (56, True), (57, True)):
            probe = b"\0\3" + bytes(range(2, size))
            found = answer_probe(probe, RECEIVED, SENT)
            assert found is not None
            self.assertEqual(len(found), size)
            self.assertEqual(found[28:54], probe[28:54])
            if has_number:
                self.assertEqual(found[52:56], probe[52:54] * 2)
        self.assertIsNone(answer_probe(b"\0\3" + bytes(25), RECEIVED, SENT))

    def test_long_stay(self) -> None:
        """A stay that two octets cannot tell is the longest that they can."""
        found = answer_probe(b"\0\2" + bytes(14), RECEIVED, RECEIVED + 70 * 10**9)
        assert found is not None
        self.assertEqual(found[2:4], b"\xff\xff")

    def test_measurement(self) -> None:
        """With a number of its own a probe has 60 octets, and no time of an answer yet."""
        probe = b"\0\3" + bytes(58)
        found = answer_probe(probe, RECEIVED, SENT, 7)
        assert found is not None
        self.assertEqual((len(found), found[56:60]), (60, b"\0\0\0\7"))
        self.assertIsNone(answer_probe(probe[:59], RECEIVED, SENT, 7))
        for at in (20, 27):
            answered = probe[:at] + b"\1" + probe[at + 1 :]
            self.assertIsNone(answer_probe(answered, RECEIVED, SENT, 7))
        later = probe[:28] + b"\1" + probe[29:]
        self.assertIsNotNone(answer_probe(later, RECEIVED, SENT, 7))

    def test_step_back(self) -> None:
        """A clock that went back makes no time negative."""
        for kind in (2, 3):
            probe = bytes([0, kind]) + bytes(58)
            self.assertEqual(len(answer_probe(probe, SENT, RECEIVED) or b""), 60)

    def test_unknown(self) -> None:
        """What is no probe, or too short for its times, has no answer."""
        for probe in (b"", b"\0", b"\0\0", b"\0\4" + bytes(60), b"\1\1", b"\0\2" + bytes(13),
                      b"\0\3" + bytes(25)):
            self.assertIsNone(answer_probe(probe, RECEIVED, SENT), probe)
