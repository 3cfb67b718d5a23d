"""Tests for L{socketd.protocols.clock.nts_answers} and C{nts_fields} (RFC 8915, section 5)."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from cryptography.exceptions import InvalidTag
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.system_clock import ClockState
from socketd.protocols.clock.ntp import make_datagrams
from socketd.protocols.clock.ntp_answer import NtpOptions
from socketd.protocols.clock.ntp_time import LENGTH
from socketd.protocols.clock.nts_answers import NtsAnswers
from socketd.protocols.clock.nts_ke import NtsKeOptions
from socketd.protocols.clock.nts_key_file import key_file
from tests.protocols.clock.nts_client import HEADER, TO_CLIENT, TO_SERVER, Client, ef, read_fields
from tests.protocols.fakes import PEER, FakeDatagramTransport, context

NOW = 1_795_000_000.0
KEPT = ClockState(synchronised=True, max_error=0.25, precision=-22, read_at=NOW)

#: The least lengths: header, identifier, cookie, authenticator.
SHORTEST = 48 + 36 + 104 + 40


class Case(SynchronousTestCase):
    """A port of C{ntp} with NTS, and a client with a cookie."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.now = NOW
        self.context = evolve(
            context(),
            wall_clock=lambda: self.now,
            clock_state=lambda: KEPT,
            references={"nts": NtsKeOptions()},
            state=self.directory,
        )
        self.options = NtpOptions(nts="nts-ke")
        self.keys = key_file("{state}/nts.keys", self.context)
        self.client = Client(self.keys.ring.seal(TO_SERVER, TO_CLIENT))

    @property
    def counts(self) -> dict[str, int]:
        """What was counted of requests."""
        return dict(self.context.record.counters.nts_requests)

    def ask(self, datagram: bytes, options: NtpOptions | None = None) -> list[bytes]:
        """Ask, on the terms of a port: no answer is longer than its question."""
        transport: Any = FakeDatagramTransport()
        transport.allowance = len(datagram)
        protocol = make_datagrams(options or self.options, self.context)
        protocol.makeConnection(transport)
        protocol.datagramReceived(datagram, PEER)
        self.assertEqual(transport.refused, [])
        return [packet for packet, addr in transport.sent if addr == PEER]

    def ask_one(self, datagram: bytes) -> bytes:
        """Ask what is answered."""
        (answer,) = self.ask(datagram)
        return answer


class AnswerTests(Case):
    """Tests for requests that are good."""

    def test_shortest(self) -> None:
        """One cookie comes back, in an answer as long as the request."""
        request = self.client.request()
        answer = self.ask_one(request)
        self.assertEqual((len(request), len(answer)), (SHORTEST, SHORTEST))
        (cookie,) = self.client.cookies(answer)
        self.assertEqual(self.keys.ring.open(cookie), (TO_SERVER, TO_CLIENT))
        self.assertNotEqual(cookie, self.client.cookie)
        self.assertEqual(answer[:2], bytes([0x24, 10]))
        self.assertEqual(answer[24:32], HEADER[40:])
        self.assertEqual(self.counts, {"answered": 1})

    def test_again(self) -> None:
        """The cookie of an answer is good for the next request."""
        client = self.client
        for _ in range(3):
            (cookie,) = client.cookies(self.ask_one(client.request()))
            client = evolve(client, cookie=cookie)
        self.assertEqual(self.counts, {"answered": 3})

    def test_placeholders(self) -> None:
        """Each placeholder brings one more, eight in all at most; the lengths stay equal."""
        for placeholders in range(11):
            request = self.client.request(placeholders=placeholders)
            answer = self.ask_one(request)
            self.assertEqual(len(answer), len(request))
            cookies = self.client.cookies(answer)
            self.assertEqual(len(set(cookies)), min(8, placeholders + 1))

    def test_encrypted_placeholders(self) -> None:
        """A placeholder may be encrypted (section 5.7)."""
        others = ef(0x7777, b"") + ef(0x7777, bytes(100)) + ef(0x0304, bytes(96))
        request = self.client.request(inner=ef(0x0304, bytes(100)) * 2 + others)
        answer = self.ask_one(request)
        self.assertEqual((len(self.client.cookies(answer)), len(answer)), (3, len(request)))

    def test_other_placeholders(self) -> None:
        """One of another length than the cookie brings none (section 5.5)."""
        request = self.client.request(ef(0x0304, bytes(96)), ef(0x0304, bytes(104)))
        self.assertEqual(len(self.client.cookies(self.ask_one(request))), 1)

    def test_other_fields(self) -> None:
        """Fields of others are authenticated and ignored, and those behind are not looked at."""
        request = self.client.request(ef(0x7777, bytes(20)))
        for behind in (b"", ef(0x0204, bytes(100)), ef(0x0304, bytes(100)), b"any1", bytes(24)):
            answer = self.ask_one(request + behind)
            self.assertEqual(len(answer), len(request + behind))
            self.assertEqual(len(self.client.cookies(answer)), 1)

    def test_identifiers(self) -> None:
        """An identifier of any length from 32 bytes on is returned (section 5.3)."""
        for size in (32, 36, 64, 400):
            client = evolve(self.client, identifier=bytes(size))
            request = client.request()
            self.assertEqual(len(client.cookies(self.ask_one(request))), 1)

    def test_nonces(self) -> None:
        """A client's nonce of any length is good if there is room for ours (section 5.6)."""
        for size in (1, 4, 12, 15, 16, 17, 32):
            request = self.client.request(nonce=b"n" * size)
            answer = self.ask_one(request)
            self.assertEqual((len(answer), len(self.client.cookies(answer))), (len(request), 1))

    def test_unfit(self) -> None:
        """A server whose clock is not right says so, and proves that it is the server."""
        self.context = evolve(self.context, clock_state=ClockState)
        answer = self.ask_one(self.client.request())
        self.assertEqual(len(self.client.cookies(answer)), 1)
        self.assertEqual(answer[:2], bytes([0xE4, 0]))
        self.assertEqual(answer[12:16], bytes(4))

    def test_time_is_read_late(self) -> None:
        """The transmit time is read once all but the seal is done."""
        order: list[str] = []
        ring = self.keys.ring

        def seal(*arguments: object) -> bytes:
            order.append("cookie")
            return bytes(100)

        self.patch(type(ring), "seal", seal)

        def clock() -> float:
            order.append("time")
            return NOW

        self.context = evolve(self.context, wall_clock=clock)
        self.ask(self.client.request(placeholders=1))
        self.assertEqual(order, ["time", "cookie", "cookie", "time"])

    def test_rotation(self) -> None:
        """A client is answered over rotations, and its next cookie has the new key."""
        for _ in range(7):
            self.now += 86400
            (cookie,) = self.client.cookies(self.ask_one(self.client.request()))
            self.assertEqual(cookie[:4], self.keys.ring.keys[1].number)
        self.assertEqual(self.context.record.counters.nts_keys["rotated"], 7)


class NakTests(Case):
    """Tests for cookies and tags that are not good."""

    def assert_nak(self, request: bytes, identifier: bytes) -> None:
        """Expect the kiss code, and no field but the identifier (section 5.7)."""
        answer = self.ask_one(request)
        self.assertEqual((answer[0], answer[1]), (0xE4, 0))
        self.assertEqual(answer[12:16], b"NTSN")
        self.assertEqual(answer[24:32], HEADER[40:])
        self.assertEqual(read_fields(answer[48:]), [(0x0104, identifier)])
        self.assertLessEqual(len(answer), len(request))

    def test_cookies(self) -> None:
        """A cookie of another server, of another length, or with another bit."""
        for cookie in (bytes(100), b"x" * 96, b"x" * 12, self.client.cookie[:-4] + b"abcd"):
            client = evolve(self.client, cookie=cookie)
            self.assert_nak(client.request(), client.identifier)
        self.assertEqual(self.counts, {"nak": 4})

    def test_keys(self) -> None:
        """A request of a client that has the cookie and not the keys."""
        client = evolve(self.client, to_server=bytes(range(7, 39)))
        self.assert_nak(client.request(), client.identifier)

    def test_changed(self) -> None:
        """Any other bit before the authenticator or in it."""
        request = self.client.request()
        for at in (2, 41, 60, SHORTEST - 40 + 9, SHORTEST - 1):
            changed = bytearray(request)
            changed[at] ^= 1
            answer = self.ask_one(bytes(changed))
            self.assertEqual(answer[12:16], b"NTSN", at)

    def test_encrypted_garbage(self) -> None:
        """What is encrypted are fields (section 5.6)."""
        self.assert_nak(self.client.request(inner=b"xx"), self.client.identifier)

    def test_forgotten(self) -> None:
        """After the key of its cookie is gone, a client asks for new ones."""
        for _ in range(8):
            self.now += 86400
            self.assertTrue(self.keys.ring)
        self.assert_nak(self.client.request(), self.client.identifier)

    def test_not_ours(self) -> None:
        """A client with other keys does not take an answer."""
        answer = self.ask_one(self.client.request())
        stranger = evolve(self.client, to_client=TO_SERVER)
        self.assertRaises(InvalidTag, stranger.cookies, answer)


class DiscardTests(Case):
    """Tests for requests that break a rule of section 5.7."""

    def assert_discarded(self, *requests: bytes) -> None:
        """Expect no answers, and that each is counted."""
        for request in requests:
            self.assertEqual(self.ask(request), [], request.hex())
        self.assertEqual(self.counts, {"discarded": len(requests)})

    def test_missing(self) -> None:
        """Each of the three fields is needed, once."""
        identifier, cookie = ef(0x0104, bytes(32)), ef(0x0204, self.client.cookie)
        sets = [[identifier], [cookie], [identifier] * 2 + [cookie], [identifier] + [cookie] * 2]
        sealed = [self.client.seal(HEADER + b"".join(fields)) for fields in sets]
        unsealed = [HEADER + identifier + cookie, HEADER + ef(0x0304, bytes(100))]
        self.assert_discarded(*sealed, *unsealed, self.client.seal(HEADER))

    def test_short_identifier(self) -> None:
        """An identifier has 32 bytes at least (section 5.3)."""
        self.assert_discarded(evolve(self.client, identifier=bytes(28)).request())

    def test_no_room(self) -> None:
        """There is room for a nonce of 16 bytes (section 5.6)."""
        start = self.client.request()[: SHORTEST - 40]
        for body in ("0000 0010", "0004 0010 00000000", "000c 0010" + "00" * 12, "0010 0020"):
            short = ef(0x0404, bytes.fromhex(body) + bytes(16))
            self.assertEqual(self.ask(start + short), [])
        for garbage in (b"", b"\0\x10\xff\xff" + bytes(32), b"\xff\xff\0\x10" + bytes(32)):
            self.assertEqual(self.ask(start + ef(0x0404, garbage.ljust(12, b"\0"))), [])
        self.assertEqual(self.counts, {"discarded": 7})

    def test_lengths(self) -> None:
        """A field that is too short, or ends behind the packet, behind one of NTS."""
        start = HEADER + ef(0x0204, self.client.cookie)
        for end in ("01040000", "01040008 00000000", "0104ffff", "01040012" + "00" * 16):
            self.assertEqual(self.ask(start + bytes.fromhex(end)), [])

    def test_no_header(self) -> None:
        """What has no plain answer has no other one."""
        answers = NtsAnswers(self.keys, self.context.record.counters)
        stranger = evolve(self.client, to_server=TO_CLIENT)
        for request in (self.client.request(), stranger.request(), HEADER):
            self.assertFalse(answers.answer(request, lambda: None))


class PlainTests(Case):
    """Tests for requests without NTS at a port with it: nothing is new."""

    def test_same(self) -> None:
        """What has no NTS is answered as without the option, byte for byte."""
        # No bits below its precision, which would be random.
        precise = evolve(KEPT, precision=-32)
        self.context = evolve(self.context, clock_state=lambda: precise)
        code = bytes(20)
        modes = [bytes([byte]) + HEADER[1:] for byte in (0x1B, 0x21, 0x23, 0x24, 0x26, 0, 0xE3)]
        changed = [bytes([0x1B]) + self.client.request()[1:], self.client.request() + b"x"]
        for request in (HEADER, HEADER + code, HEADER[:47], *modes, *changed):
            plain = self.ask(request, NtpOptions())
            self.assertEqual(self.ask(request), plain)
            self.assertTrue(all(len(one) == LENGTH for one in plain))
        self.assertEqual(self.counts, {})

    def test_identifier_alone(self) -> None:
        """
        An identifier without NTS is returned (section 5.3), one of them, also before a message
        authentication code.
        """
        field = ef(0x0104, bytes(range(32)))
        for behind in (b"", bytes(20), b"\0\1\0\2" + b"x" * 16):
            self.assertEqual(self.ask_one(HEADER + field + behind)[48:], field)
        self.assertEqual(len(self.ask_one(HEADER + field * 2)), LENGTH)
