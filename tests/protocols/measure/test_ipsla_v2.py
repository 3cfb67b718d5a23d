"""Tests for L{socketd.protocols.measure.ipsla_v2}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.ipsla_packets import (
    AUTHENTICATED,
    MALFORMED,
    UNSUPPORTED,
    BadRequest,
    Request,
    answer_probe,
)
from socketd.protocols.measure.ipsla_v2 import BAD_DIGEST, MAX_MESSAGE, parse_request
from socketd.protocols.measure.keys import Keys
from tests.protocols.measure.ipsla_wire import (
    DIGESTS,
    KEY,
    KEY_ID,
    authentication,
    control,
    measurement,
    number,
    probe,
    request,
    signed,
    statuses,
    with_statuses,
)

KEYS = Keys("keys", {KEY_ID: KEY})

#: 2026-01-01 00:00:00.5 UTC, in nanoseconds since 1970 and as NTP has it.
NOW = 1_767_225_600 * 10**9 + 500_000_000
NTP_NOW = (1_767_225_600 + 2_208_988_800 << 32) + (1 << 31)


class ParseCase(SynchronousTestCase):
    """A case for what becomes of messages."""

    def parse(self, message: bytes, keys: Keys | None = None) -> Request:
        """Parse a message that is served."""
        return parse_request(message, keys, NOW)

    def refused(self, message: bytes, keys: Keys | None = None) -> tuple[str, bytes]:
        """Return the reason why a message is refused, and the answer."""
        problem = self.assertRaises(BadRequest, parse_request, message, keys, NOW)
        return str(problem), problem.answer


class OpenTests(ParseCase):
    """Tests for messages without authentication."""

    def test_request(self) -> None:
        """Port and time are read; the answer is the message again, with success."""
        message = request(50001, milliseconds=7000, source_port=60000)
        found = self.parse(message)
        read = found.port, found.duration, found.version, found.source_port
        self.assertEqual(read, (50001, 7.0, 2, 60000))
        self.assertEqual(found.answer, message)

    def test_forms(self) -> None:
        """IPv6, both numbers that the RFC has for a responder, and a short section are taken."""
        six = measurement(50001, source="2001:db8::1", destination="2001:db8::2", kind=3, role=2)
        for first in (authentication(), authentication(size=12)):
            message = control(first, six)
            self.assertEqual(self.parse(message).answer, message)

    def test_durations(self) -> None:
        """No time is that of a device, and none is longer than an hour."""
        for milliseconds, expected in ((0, 5.0), (2**32 - 1, 3600.0)):
            found = self.parse(request(50001, milliseconds=milliseconds))
            self.assertEqual(found.duration, expected)

    def test_time(self) -> None:
        """The time of sending is that of the answer, if the message has one."""
        message = control(authentication(), measurement(50001), time=1)
        self.assertEqual(self.parse(message).answer[12:20], number(NTP_NOW, 8))

    def test_refusal(self) -> None:
        """If the port cannot be opened the answer says so: failed, and port in use."""
        self.assertEqual(statuses(self.parse(request(50001)).refusal), (1, 0, 4))

    def test_format(self) -> None:
        """What has other sections, or values that are not known, has a format error as answer."""
        auth, udp = authentication(), measurement(50001)
        other = number(53, 2) + udp[2:]
        for sections, reason, expected in (
            ((auth,), MALFORMED, (3, 3)),
            ((udp, auth), MALFORMED, (3, 3)),
            ((number(53, 2) + auth[2:], udp), MALFORMED, (3, 3)),
            ((authentication(size=20), udp), MALFORMED, (3, 3)),
            ((auth, udp, udp), MALFORMED, (3, 3, 0)),
            ((auth, other), UNSUPPORTED, (3, 0, 3)),
            ((auth, udp[:4] + number(90, 4) + udp[8:90]), MALFORMED, (3, 0, 3)),
            ((auth, udp[:4] + number(8, 4)), MALFORMED, (3, 0, 3)),
            ((auth, udp, udp[:4] + number(340, 4) + bytes(332)), MALFORMED, (3, 3, 0)),
            ((auth, measurement(50001, kind=1)), UNSUPPORTED, (3, 0, 3)),
            ((auth, measurement(50001, role=3)), UNSUPPORTED, (3, 0, 3)),
        ):
            found, answer = self.refused(control(*sections))
            places = [2, 22, 20 + len(sections[0]) + 2][: len(expected)]
            read = tuple(int.from_bytes(answer[at : at + 2], "big") for at in places)
            self.assertEqual((found, read), (reason, expected), sections)

    def test_no_message(self) -> None:
        """What is cut, too long, of another length than it says, or an answer has no answer."""
        message = request(50001)
        long = control(authentication(), measurement(50001) + bytes(MAX_MESSAGE))
        wrong = [message[:size] for size in range(len(message))] + [message + b"\0", long]
        wrong.append(message[:24] + number(7, 4) + message[28:])
        wrong.append(message[:84] + number(93, 4) + message[88:])
        wrong.append(control(authentication(), measurement(50001), status=2))
        wrong.append(control(authentication(), measurement(50001), bytes(7)))
        wrong.append(control(authentication(), bytes(4) + number(433, 4) + bytes(425)))
        wrong.append(control())
        for one in wrong:
            self.assertEqual(self.refused(one), (MALFORMED, b""), one)

    def test_answers_have_its_length(self) -> None:
        """No answer is longer than its message."""
        for message in (request(50001), request(50001, 2)):
            _, answer = self.refused(message, Keys("keys", {1: b"other"}))
            self.assertEqual(len(answer), len(message))


class AuthenticatedTests(ParseCase):
    """Tests for messages with a digest."""

    def test_vectors(self) -> None:
        """The digests of both modes are those of another program, and are verified."""
        for mode, expected in DIGESTS.items():
            message = request(50001, mode)
            self.assertEqual(message[48:80], expected)
            self.assertEqual(self.parse(message, KEYS).port, 50001)

    def test_answer(self) -> None:
        """An answer keeps the random number, and is signed in the same way."""
        for mode in (1, 2):
            first = authentication(mode, KEY_ID, b"r" * 16)
            message = signed(control(first, measurement(50001), time=1))
            found = self.parse(message, KEYS)
            self.assertEqual(found.answer, signed(found.answer))
            self.assertEqual(found.answer[28:48], message[28:48])
            self.assertNotEqual(found.answer[48:80], message[48:80])
            self.assertEqual(found.refusal, signed(found.refusal))

    def test_wrong(self) -> None:
        """
        Another key, a number without a key, any octet changed, no digest and another mode: the
        answer says that the authentication failed, and is not signed.
        """
        good, udp = request(50001, 2), measurement(50001)
        wrong = [
            request(50001),
            request(50001, 2, b"another"),
            signed(control(authentication(2, 8), udp)),
            signed(control(authentication(2, KEY_ID, size=12), udp)),
            signed(control(authentication(3, KEY_ID), udp)),
            good[:28] + b"\3" + good[29:],
        ]
        for at in (4, 30, 33, 50, 165, 171):
            wrong.append(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        for message in wrong:
            reason, answer = self.refused(message, KEYS)
            self.assertEqual(reason, BAD_DIGEST, message)
            self.assertEqual(answer[:12], with_statuses(message, {2: 2})[:12])
            self.assertEqual(answer[22:24], b"\0\2")
            self.assertFalse(any(answer[48:80]) and len(message) == 172)

    def test_no_oracle(self) -> None:
        """No answer to a message without a key is a message with a right digest."""
        forged = request(50001, 2, b"guess")
        _, answer = self.refused(forged, KEYS)
        again = with_statuses(answer, {2: 0, 22: 0})
        self.assertEqual(self.refused(again, KEYS)[0], BAD_DIGEST)

    def test_without_keys(self) -> None:
        """A digest that nothing here can verify is refused."""
        for mode in (1, 2, 3):
            reason, answer = self.refused(request(50001, mode))
            self.assertEqual((reason, statuses(answer)), (AUTHENTICATED, (2, 2, 0)))

    def test_verified_first(self) -> None:
        """What else is wrong with a message is not told without the key."""
        message = control(authentication(2, KEY_ID), measurement(50001, role=9))
        self.assertEqual(self.refused(message, KEYS)[0], BAD_DIGEST)
        reason, answer = self.refused(signed(message), KEYS)
        self.assertEqual((reason, answer), (UNSUPPORTED, signed(answer)))
        reason, answer = self.refused(signed(control(authentication(2, KEY_ID))), KEYS)
        self.assertEqual((reason, answer), (MALFORMED, signed(answer)))


class MeasurementTests(SynchronousTestCase):
    """Tests for L{answer_probe} where a message of version 2 has opened the port."""

    def test_answer(self) -> None:
        """Both times and the number of 32 bits are written; the rest stays as it is."""
        asked = probe(0x01020304)
        found = answer_probe(asked, NOW, NOW + 500_000_000, 0x0A0B0C0D)
        assert found is not None
        self.assertEqual(found[12:20], number(NTP_NOW, 8))
        self.assertEqual(found[20:28], number(NTP_NOW + (1 << 31), 8))
        self.assertEqual(found[52:60], number(0x01020304, 4) + number(0x0A0B0C0D, 4))
        left = found[:12], found[28:52], found[60:]
        self.assertEqual(left, (asked[:12], asked[28:52], asked[60:]))

    def test_wrap(self) -> None:
        """The number wraps around."""
        found = answer_probe(probe(1), NOW, NOW, 2**32 + 5)
        assert found is not None
        self.assertEqual(found[56:60], number(5, 4))

    def test_not_answered(self) -> None:
        """One without room for the number, and an answer, have no answer."""
        for asked in (probe(1)[:59], probe(1)[:20] + number(1, 8) + probe(1)[28:]):
            self.assertIsNone(answer_probe(asked, NOW, NOW, 1))
