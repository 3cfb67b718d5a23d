"""Tests for L{socketd.settings.tls}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from socketd.settings.options import declared
from socketd.settings.tls import NamedCertificate, PeerName, TlsOptions
from tests.settings.refusals import refusal

KNOWN = declared(TlsOptions)

#: Option, text, value.
GOOD: list[tuple[str, str, Any]] = [
    ("tls_certificate", "/etc/a b.pem", "/etc/a b.pem"),
    ("tls_key", "key.pem", "key.pem"),
    ("tls_minimum", "1.3", "1.3"),
    ("tls_alpn", "h2, http/1.1", (b"h2", b"http/1.1")),
    ("tls_alpn", "", ()),
    ("tls_alpn", "a" * 255, (b"a" * 255,)),
    ("tls_alpn", ",".join(map(str, range(64))), tuple(b"%d" % n for n in range(64))),
    ("tls_client_ca", "/etc/ca.pem", "/etc/ca.pem"),
    ("tls_client_names", "", frozenset()),
    ("tls_client_names", "A.Example.ORG", {PeerName("dns", "a.example.org")}),
    ("tls_client_names", "2001:DB8:0::1", {PeerName("ip", "2001:db8::1")}),
    ("tls_client_names", "192.0.2.7\n", {PeerName("ip", "192.0.2.7")}),
    ("tls_client_names", "x@y.z, b", {PeerName("email", "x@y.z"), PeerName("dns", "b")}),
    ("tls_client_names", "spiffe://org/A", {PeerName("uri", "spiffe://org/A")}),
    ("tls_client_names", "urn:x:y@z", {PeerName("uri", "urn:x:y@z")}),
    ("tls_names", "A.b = c.pem", (NamedCertificate("a.b", "c.pem", "c.pem"),)),
    ("tls_names", "\n*.b=c.pem k.pem\n\n", (NamedCertificate("*.b", "c.pem", "k.pem"),)),
    ("tls_names", "a.b = c=d.pem", (NamedCertificate("a.b", "c=d.pem", "c=d.pem"),)),
    ("tls_unknown_name", "refuse", "refuse"),
    ("handshake_timeout", "250ms", 0.25),
]

#: Option, text, a part of the complaint.
BAD = [
    ("tls_certificate", "", "is not a path"),
    ("tls_certificate", "a\nb", "is not a path"),
    ("tls_certificate", "a\0b", "is not a path"),
    ("tls_minimum", "1.1", "write 1.2 or 1.3"),
    ("tls_alpn", "h2, h2", "has a name twice"),
    ("tls_alpn", "h2 http/1.1", "which is not a protocol"),
    ("tls_alpn", "h\xe9", "which is not a protocol"),
    ("tls_alpn", "a" * 256, "which is not a protocol"),
    ("tls_alpn", ",".join(map(str, range(65))), "more than 64"),
    ("tls_client_names", "*.example.org", "a wildcard; write each name in full"),
    ("tls_client_names", "a b",
     "has 'a b', which is not a name; write such as host.example.org, spiffe://org/name,"
     " 192.0.2.7 or user@example.org"),
    ("tls_client_names", "a..b", "which is not a name"),
    ("tls_client_names", "b\xfccher.example", "which is not a name"),
    ("tls_client_names", "a@b@c", "which is not a name"),
    ("tls_names", "a.b", "write NAME = CERT.pem"),
    ("tls_names", "a.b =", "write NAME = CERT.pem"),
    ("tls_names", "a.b = 1 2 3", "write NAME = CERT.pem"),
    ("tls_names", "a.b = c\0.pem", "write NAME = CERT.pem"),
    ("tls_names", "b\xfccher.example = c.pem",
     "has 'b\xfccher.example', which is not a name; write such as www.example.org or"
     " *.example.org, and other scripts as xn--"),
    ("tls_names", "*.*.b = c.pem", "which is not a name"),
    ("tls_names", "* = c.pem", "which is not a name"),
    ("tls_names", "a.*.b = c.pem", "which is not a name"),
    ("tls_names", "a.b = c.pem\nA.B = d.pem", "a.b twice"),
    ("tls_unknown_name", "alert", "write default or refuse"),
    ("handshake_timeout", "5", "is not a duration"),
]  # fmt: skip


class OptionTests(SynchronousTestCase):
    """Tests for what the options take."""

    def test_good(self) -> None:
        """What is written right is read."""
        for name, text, value in GOOD:
            self.assertEqual(KNOWN[name].type.parse(text), value, (name, text))

    def test_bad(self) -> None:
        """What is not is refused, in one line, with what would be right."""
        for name, text, part in BAD:
            message = refusal(KNOWN[name].type.parse, text)
            self.assertIn(part, message, (name, text))
            self.assertEqual(message.splitlines(), [message])

    def test_defaults(self) -> None:
        """Where nothing is given there is no certificate, and handshakes have 5 seconds."""
        found = TlsOptions()
        self.assertEqual((found.tls_certificate, found.tls_minimum), ("", "1.2"))
        self.assertEqual((found.tls_names, found.tls_client_names), ((), frozenset()))
        self.assertEqual(found.handshake_timeout, 5.0)

    def test_names_are_written(self) -> None:
        """A name of a client is written for people as it was read."""
        parse = KNOWN["tls_client_names"].type.parse
        for text in ("a.example.org", "a_b.example", "192.0.2.7", "x@y.z", "spiffe://org/A"):
            self.assertEqual([str(name) for name in parse(text)], [text])
