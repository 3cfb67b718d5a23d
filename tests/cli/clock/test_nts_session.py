"""Tests for L{socketd.cli.clock.nts_session} and L{socketd.cli.clock.nts_session}."""

from __future__ import annotations

from twisted.internet.address import IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from socketd.cli.clock.nts_session import MALFORMED, MAX_COOKIE, REQUEST, KeyExchange, host_of
from socketd.common.errors import CommandError
from socketd.protocols.clock.nts_records import Agreement, RecordReader, agree
from tests.cli.clock.secure_fakes import Secured, SecureTransport
from tests.protocols.clock.nts_client import END, TO_CLIENT, TO_SERVER, record

NTP, AEAD = record(1, b"\0\0"), record(4, b"\0\x0f", critical=False)
COOKIE = record(5, b"c" * 100, critical=False)
GOOD = NTP + AEAD + COOKIE * 2

#: Each rule: its section, a response without its end, and what is complained of.
RULES: tuple[tuple[str, bytes, str], ...] = (
    ("4.1.1 nothing", b"", MALFORMED),
    ("4.1.2 no protocol", AEAD + COOKIE, MALFORMED),
    ("4.1.2 none in common", record(1) + AEAD + COOKIE, "gives no keys for NTPv4"),
    ("4.1.2 one that was not offered", record(1, b"\0\1") + AEAD + COOKIE, MALFORMED),
    ("4.1.2 two", record(1, b"\0\0\0\1") + AEAD + COOKIE, MALFORMED),
    ("4.1.2 twice", NTP + GOOD, MALFORMED),
    ("4.1.3 error", NTP + record(2, b"\0\1"), "it refuses: error 1 (bad request)"),
    ("4.1.3 another error", record(2, b"\x80\0") + GOOD, "it refuses: error 32768"),
    ("4.1.4 warning", GOOD + record(3, b"\0\7"), "it warns: 7"),
    ("4.1.5 no algorithm", NTP + COOKIE, MALFORMED),
    ("4.1.5 none in common", NTP + record(4) + COOKIE, "has no AEAD_AES_SIV_CMAC_256"),
    ("4.1.5 another", NTP + record(4, b"\0\x1e") + COOKIE, MALFORMED),
    ("4.1.6 no cookie", NTP + AEAD, "no cookie that can be used"),
    ("4.1.6 odd cookies", NTP + AEAD + record(5) + record(5, b"c" * 99), "no cookie that can"),
    ("4.1.6 too long", NTP + AEAD + record(5, bytes(MAX_COOKIE + 4)), "no cookie that can"),
    ("4.1.7 no host", GOOD + record(6, b"a b"), MALFORMED),
    ("4.1.7 no text", GOOD + record(6, b"\xff"), MALFORMED),
    ("4.1.7 empty", GOOD + record(6), MALFORMED),
    ("4.1.7 twice", GOOD + record(6, b"a") * 2, MALFORMED),
    ("4.1.8 no port", GOOD + record(7, b"\0\0"), MALFORMED),
    ("4.1.8 too long", GOOD + record(7, b"\0\0\x7b"), MALFORMED),
    ("4 critical and not known", GOOD + record(99), "a critical record of type 99"),
    ("4 too long", bytes(4) * 5000 + record(9, bytes(20_000), False), MALFORMED),
)


class ExchangeTests(SynchronousTestCase):
    """Tests for L{KeyExchange}."""

    def begin(self, secured: Secured | None = None) -> KeyExchange:
        """Connect."""
        self.transport = SecureTransport(secured)
        exchange = KeyExchange()
        self.transport.connect(exchange)
        return exchange

    def problem(self, exchange: KeyExchange) -> str:
        """Expect an error in one line."""
        text = str(self.failureResultOf(exchange.done, CommandError).value)
        self.assertTrue(text.isprintable())
        return text

    def test_request(self) -> None:
        """The request is one that a server takes: for NTPv4, with the algorithm that all have."""
        self.begin()
        self.assertEqual(self.transport.sent, [REQUEST])
        records = RecordReader().feed(REQUEST)
        assert records is not None
        self.assertEqual(agree(records), Agreement(ntp=True, aead=True))

    def test_response(self) -> None:
        """Whatever the pieces, both keys and the cookies are there, and TLS is ended."""
        for size in (1, 7, 10_000):
            exchange, response = self.begin(), GOOD + record(1024, b"", False) + END
            for at in range(0, len(response), size):
                self.assertNoResult(exchange.done)
                exchange.dataReceived(response[at : at + size])
            self.successResultOf(exchange.done)
            found = exchange.session
            self.assertEqual((found.to_server, found.to_client), (TO_SERVER, TO_CLIENT))
            self.assertEqual((found.cookies, found.host, found.port), (
                (b"c" * 100,) * 2, "192.0.2.7", 0
            ))  # fmt: skip
            self.assertNotIn(TO_CLIENT.hex(), repr(found))
            self.assertEqual(self.transport.calls, ["close"])
            exchange.dataReceived(b"more")
            exchange.connectionLost(connectionDone)

    def test_another_place(self) -> None:
        """The response may name the NTP server and its port; eight cookies are kept."""
        for name, host in ((b"B.Example", "b.example"), (b"2001:DB8:0::1", "2001:db8::1")):
            exchange = self.begin()
            response = GOOD + COOKIE * 9 + record(6, name) + record(7, b"\x10\x1b") + END
            exchange.dataReceived(response)
            self.successResultOf(exchange.done)
            found = exchange.session
            self.assertEqual((found.host, found.port, len(found.cookies)), (host, 4123, 8))

    def test_rules(self) -> None:
        """A response that gives no keys, or breaks a rule, is one line; it is closed at once."""
        for rule, response, text in RULES:
            exchange = self.begin()
            exchange.dataReceived(response + END)
            self.assertIn(text, self.problem(exchange), rule)
            self.assertEqual(self.transport.calls, ["abort"])
            exchange.dataReceived(GOOD)

    def test_behind_the_end(self) -> None:
        """Nothing stands behind the end, which is critical and empty (4.1.1)."""
        for end in (END + b"x", record(0, b"x"), record(0, b"", False)):
            exchange = self.begin()
            exchange.dataReceived(GOOD + end)
            self.assertEqual(self.problem(exchange), MALFORMED)

    def test_no_alpn(self) -> None:
        """A server that chose no protocol, or another one, is sent nothing."""
        for chosen in (None, b"http/1.1"):
            exchange = self.begin(Secured(chosen))
            self.assertEqual(self.problem(exchange), "it does not speak ntske/1")
            self.assertEqual(self.transport.sent, [])

    def test_cut_off(self) -> None:
        """A response that ends too early is named as such; a broken connection as what it is."""
        exchange = self.begin()
        exchange.dataReceived(GOOD)
        exchange.connectionLost(connectionDone)
        self.assertIn("closed before the end", self.problem(exchange))
        exchange = self.begin()
        exchange.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(exchange.done, ConnectionLost)

    def test_zone(self) -> None:
        """The address of a server on the link keeps its zone."""
        self.assertEqual(host_of(IPv6Address("TCP", "fe80::1", 1, scopeID=2)), "fe80::1%2")
        self.assertEqual(host_of(IPv6Address("TCP", "fe80::1%eth0", 1, scopeID=2)), "fe80::1%2")
        self.assertEqual(host_of(IPv6Address("TCP", "2001:db8::1", 1)), "2001:db8::1")
