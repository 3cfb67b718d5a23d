"""Tests for L{socketd.protocols.clock.nts_ke}."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.clock.nts_ke import REQUEST_TIMEOUT, declaration
from socketd.protocols.clock.nts_key_file import key_file
from socketd.protocols.registry import installed
from tests.protocols.clock.nts_client import END, TO_CLIENT, TO_SERVER, USUAL, read_records, record
from tests.protocols.fakes import context
from tests.settings.refusals import diagnostics, parsed, refusal

#: The label and the contexts of RFC 8915, 5.1.
EXPORTED = {
    (b"EXPORTER-network-time-security", 32, bytes.fromhex("0000 000f 00")): TO_SERVER,
    (b"EXPORTER-network-time-security", 32, bytes.fromhex("0000 000f 01")): TO_CLIENT,
}

ERROR = {code: [(2, True, bytes([0, code])), (0, True, b"")] for code in range(3)}


class SecureTransport(StringTransport):
    """A transport over TLS, as far as the protocol looks at one."""

    negotiatedProtocol: bytes | None = b"ntske/1"

    def export_keying_material(self, label: bytes, length: int, context: bytes) -> bytes:
        """Export the keys that both ends have."""
        return EXPORTED[label, length, context]


class Case(SynchronousTestCase):
    """One connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.context = evolve(context(1_795_000_000.0), clock=self.clock, state=self.mktemp())
        self.transport = SecureTransport()

    def connect(self, **options: Any) -> Any:
        """Make a connection whose handshake is done."""
        assert declaration.stream is not None
        protocol: Any = declaration.stream(declaration.options(**options), self.context)
        protocol.makeConnection(self.transport)
        return protocol

    def assert_ended(self, result: str) -> list[tuple[int, bool, bytes]]:
        """
        Expect that the connection is closed, counted once, and leaves no timer.

        @return: the records of the response.
        """
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(dict(self.context.record.counters.nts_sessions), {result: 1})
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return read_records(self.transport.value())


class SessionTests(Case):
    """Tests for one request and its response."""

    def test_cookies(self) -> None:
        """Eight different cookies have the two keys of the session."""
        self.connect().dataReceived(USUAL)
        records = self.assert_ended("established")
        self.assertEqual([kind for kind, _, _ in records], [1, 4, *[5] * 8, 0])
        cookies = [body for kind, _, body in records if kind == 5]
        self.assertEqual(len(set(cookies)), 8)
        ring = key_file("{state}/nts.keys", self.context).ring
        self.assertEqual({ring.open(one) for one in cookies}, {(TO_SERVER, TO_CLIENT)})

    def test_bytes(self) -> None:
        """A request may come in pieces."""
        protocol = self.connect()
        for byte in USUAL:
            self.assertFalse(self.transport.disconnecting)
            protocol.dataReceived(bytes([byte]))
        self.assert_ended("established")

    def test_one_request(self) -> None:
        """A second request has no answer, nor has what follows a refusal (section 4)."""
        protocol = self.connect()
        protocol.dataReceived(USUAL)
        sent = self.transport.value()
        protocol.dataReceived(USUAL)
        protocol.readConnectionLost()
        protocol.connectionLost()
        self.assertEqual(self.transport.value(), sent)
        self.assert_ended("established")

    def test_server(self) -> None:
        """Server and port are told as the options say."""
        self.connect(ntp_server="ntp.example.org", ntp_port=4123).dataReceived(USUAL)
        records = self.assert_ended("established")
        self.assertEqual(records[2:4], [(6, True, b"ntp.example.org"), (7, True, b"\x10\x1b")])

    def test_nothing_in_common(self) -> None:
        """Another algorithm or protocol gets an answer, and no cookies."""
        self.connect().dataReceived(record(1, b"\0\0") + record(4, b"\0\x1e") + END)
        records = self.assert_ended("nothing_in_common")
        self.assertEqual(records, [(1, True, b"\0\0"), (4, True, b""), (0, True, b"")])

    def test_errors(self) -> None:
        """A bad request is told so, and an unknown critical record."""
        for request, code, result in (
            (END, 1, "bad_request"),
            (record(99) + USUAL, 0, "unrecognized_critical"),
        ):
            self.setUp()
            self.connect().dataReceived(request)
            self.assertEqual(self.assert_ended(result), ERROR[code])

    def test_cut_off(self) -> None:
        """So is one that ends in the middle (section 4.1.3)."""
        protocol = self.connect()
        protocol.dataReceived(USUAL[:-1])
        protocol.readConnectionLost()
        self.assertEqual(self.assert_ended("bad_request"), ERROR[1])

    def test_late(self) -> None:
        """So is one that takes longer than two seconds, byte by byte too (section 4.1.3)."""
        protocol = self.connect()
        for byte in USUAL[:4]:
            self.clock.advance(REQUEST_TIMEOUT / 5)
            protocol.dataReceived(bytes([byte]))
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(REQUEST_TIMEOUT / 5)
        self.assertEqual(self.assert_ended("timed_out"), ERROR[1])

    def test_gone(self) -> None:
        """A client that goes leaves nothing."""
        self.connect().connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.transport.value(), b"")

    def test_no_alpn(self) -> None:
        """One that does not speak ntske/1 is closed without an answer."""
        for protocol in (None, b"http/1.1"):
            self.setUp()
            self.transport.negotiatedProtocol = protocol
            self.connect().dataReceived(USUAL)
            self.assertEqual(self.assert_ended("no_alpn"), [])


INI = "[nts-ke]\nlisten = tls:4460\ntls_certificate = /c\n"
NTP = "[ntp]\nlisten = udp:123\nnts = {}\n"


class SettingsTests(SynchronousTestCase):
    """Tests for what a file may say."""

    def test_defaults(self) -> None:
        """TLS 1.3, the protocol, and a cap of its own, also with other values in [defaults]."""
        for defaults in ("", "[defaults]\ntls_minimum = 1.2\ntls_alpn = http/1.1\n"):
            (service,) = parsed(defaults + INI, installed()).services
            self.assertEqual(service.tls.tls_minimum, "1.3")
            self.assertEqual(service.tls.tls_alpn, (b"ntske/1",))
            self.assertEqual(service.tls.handshake_timeout, 2.0)
            self.assertEqual(service.policy.max_connections, 100)
            self.assertEqual(service.written, ("{state}/nts.keys",))

    def test_given(self) -> None:
        """The cap and the deadline can be others; the version may be said."""
        more = "tls_minimum = 1.3\nmax_connections = 7\nhandshake_timeout = 3s\n"
        (service,) = parsed(INI + more, installed()).services
        self.assertEqual((service.policy.max_connections, service.tls.handshake_timeout), (7, 3.0))

    def test_refused(self) -> None:
        """Another version, another protocol and a listener without TLS are complained of."""
        plain = INI.replace("tls:4460", "tls:4460, tcp:7")
        self.assertEqual(diagnostics(plain, installed()), [
            "FILE:2: [nts-ke] listen = tls:4460, tcp:7: has tcp *:7, which is not TLS;"
            " write tls:4460",
        ])
        text = INI + "tls_minimum = 1.2\ntls_alpn = h2\n"
        self.assertEqual(diagnostics(text, installed()), [
            "FILE:4: [nts-ke] tls_minimum = 1.2: is not for this protocol; leave it out, it is"
            " always 1.3",
            "FILE:5: [nts-ke] tls_alpn = h2: is not for this protocol; leave it out, it is"
            " always ntske/1",
        ])

    def test_values(self) -> None:
        """A server is a host, a port has a number, the path is whole."""
        for option, value, why in (
            ("ntp_server", "a b", "is no host; write such as ntp.example.org or 192.0.2.1"),
            ("ntp_server", "fe80::1%eth0",
             "is no host; write such as ntp.example.org or 192.0.2.1"),
            ("ntp_port", "0", "is out of range; write 1 to 65535"),
            ("keys", "nts.keys", "is no whole path; write such as {state}/nts.keys"),
        ):
            (line,) = diagnostics(f"{INI}{option} = {value}\n", installed())
            self.assertEqual(line, f"FILE:4: [nts-ke] {option} = {value}: {why}")
        server = installed()["nts-ke"].options(ntp_server="2001:db8::1")
        self.assertEqual(refusal(lambda: server), "")
        for value in ("2001:DB8::1", "NTP.example.org", ""):
            (service,) = parsed(f"{INI}ntp_server = {value}\n", installed()).services
            self.assertEqual(service.options.ntp_server, value.lower())

    def test_reference(self) -> None:
        """C{nts} names a service of the protocol; the nearest name is told."""
        _, ntp = parsed(INI + NTP.format("nts-ke"), installed()).services
        self.assertEqual(ntp.references["nts"].keys, "{state}/nts.keys")
        for text, name, advice in (
            (INI + NTP, "ntske", "did you mean nts-ke?"),
            (INI + NTP, "ntp", "known are nts-ke"),
            (NTP, "nts-ke", "write a section [nts-ke]"),
        ):
            (line,) = diagnostics(text.format(name), installed())
            expected = f"[ntp] nts = {name}: is no service with protocol = nts-ke; {advice}"
            self.assertIn(expected, line)

    def test_changed_reference(self) -> None:
        """A service whose reference has other options is another one, for a reload."""
        one, other = (
            parsed(INI + f"keys = /{name}\n" + NTP.format("nts-ke"), installed()).services[1]
            for name in "ab"
        )
        self.assertNotEqual(one, other)
