"""Tests for L{socketd.protocols.messages.whoami} and L{socketd.protocols.facts}."""

from __future__ import annotations

import json
import socket
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import INegotiated
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from socketd.common.system_clock import BUILD_DATE
from socketd.protocols.facts import MAX_NAME, MAX_NAMES
from socketd.protocols.messages.whoami import LONGEST, encode
from tests.protocols.fakes import PEER, FakeDatagramTransport, Wire, context, declaration_of

#: What is told of the time, and the same as a number.
TIME, NOW = "2026-01-01T00:00:00.500Z", BUILD_DATE + 0.5

CONTEXT = evolve(context(NOW), service="who")

#: The longest service name, host name and time, and link-local addresses with their interfaces.
ENDPOINT = {"address": "fe80::1234:1234:1234:1234%" + "i" * 15, "port": 65535}
WIDEST = {
    "service": "s" * 32, "transport": "udp", "peer": ENDPOINT, "local": ENDPOINT, "proxy": None,
    "tls": None, "host": "h" * 64, "time": TIME, "connection": None,
}  # fmt: skip


class FakeTls:
    """What a TLS transport tells of its handshake, as pyOpenSSL does."""

    server_name: bytes | None = b"www.example.org"

    def get_servername(self) -> bytes | None:
        return self.server_name

    def get_protocol_version_name(self) -> str:
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        return "TLS_AES_256_GCM_SHA384"


class SecureWire(Wire):
    """
    A string transport over TLS.

    @ivar peer_names: those of the client's certificate.
    """

    negotiatedProtocol: bytes | None = b"http/1.1"
    peer_names: tuple[str, ...] = ("CN=client", "client.example.org")

    def __init__(self) -> None:
        super().__init__()
        self.tls = FakeTls()
        # Without the methods of TCP, which nothing calls here.
        alsoProvides(self, INegotiated)

    def getHandle(self) -> FakeTls:
        return self.tls


def told(transport: Any, **options: Any) -> str:
    """Connect, and return what the connection is told before it is closed."""
    declaration = declaration_of("whoami")
    assert declaration.stream is not None
    protocol = declaration.stream(declaration.options(**options), CONTEXT)
    protocol.makeConnection(transport)
    assert transport.disconnecting
    return str(transport.value().decode("ascii"))


def answered(source: Any, transport: Any, **options: Any) -> str:
    """Send a datagram from a source; return the answer, which goes back there."""
    declaration = declaration_of("whoami")
    assert declaration.datagram is not None
    protocol = declaration.datagram(declaration.options(**options), CONTEXT)
    protocol.transport = transport
    protocol.datagramReceived(b"x", source)
    ((answer, address),) = transport.sent
    assert address == source
    return str(answer.decode("ascii"))


def wire(peer: Any, local: Any = None) -> Wire:
    """Make a connection between two addresses."""
    transport = Wire(peerAddress=peer)
    transport.hostAddr = local or peer
    return transport


class StreamTests(SynchronousTestCase):
    """Tests for connections."""

    def test_json(self) -> None:
        """A connection is told one line, and closed; what does not apply is left out."""
        peer, local = IPv4Address("TCP", "192.0.2.1", 4711), IPv4Address("TCP", "192.0.2.9", 7)
        text = told(wire(peer, local))
        self.assertEqual(text.count("\n"), 1)
        expected = {
            "service": "who",
            "transport": "tcp",
            "peer": {"address": "192.0.2.1", "port": 4711},
            "local": {"address": "192.0.2.9", "port": 7},
            "host": socket.gethostname(),
            "time": TIME,
            "connection": 1,
        }
        self.assertEqual(json.loads(text), expected)
        self.assertEqual(list(json.loads(text)), list(expected))

    def test_text(self) -> None:
        """As text there is a line for each."""
        transport = wire(IPv6Address("TCP", "2001:db8::1", 4711), IPv6Address("TCP", "::1", 7))
        lines = [
            "service: who", "transport: tcp", "peer: 2001:db8::1 4711", "local: ::1 7",
            f"time: {TIME}", "connection: 1", "",
        ]  # fmt: skip
        self.assertEqual(told(transport, format="text", hostname=False), "\n".join(lines))

    def test_short(self) -> None:
        """The short form is the client's address and port."""
        for address in ("192.0.2.1", "2001:db8::1"):
            kind = IPv6Address if ":" in address else IPv4Address
            transport = wire(kind("TCP", address, 4711))
            self.assertEqual(told(transport, format="short"), f"{address} 4711\n")

    def test_host(self) -> None:
        """This machine's name is told unless the configuration leaves it out."""
        peer = IPv4Address("TCP", "192.0.2.1", 4711)
        self.assertEqual(json.loads(told(wire(peer)))["host"], socket.gethostname())
        self.assertNotIn("host", json.loads(told(wire(peer), hostname=False)))

    def test_proxy(self) -> None:
        """The balancer's own address is told if a PROXY header named the client."""
        transport = wire(IPv4Address("TCP", "192.0.2.1", 4711))
        transport.proxy = IPv4Address("TCP", "127.0.0.1", 5)  # type: ignore[attr-defined]
        found = json.loads(told(transport))
        self.assertEqual(found["proxy"], {"address": "127.0.0.1", "port": 5})
        self.assertIn("proxy: 127.0.0.1 5\n", told(transport, format="text"))

    def test_unix(self) -> None:
        """UNIX sockets have paths, names behind an @, or neither."""
        cases = {None: "unix", b"\0name": "unix @name", b"/run/a b": "unix /run/a b"}
        for name, short in cases.items():
            transport = wire(UNIXAddress(name), UNIXAddress(b"/run/who.sock"))
            found = json.loads(told(transport))
            self.assertEqual(found["transport"], "unix")
            self.assertEqual(found["local"], {"path": "/run/who.sock"})
            self.assertEqual(found["peer"]["path"], short[5:] or None)
            transport.clear()
            self.assertEqual(told(transport, format="short"), f"{short}\n")

    def test_tls(self) -> None:
        """Over TLS a client is told what the handshake agreed on, and its certificate's names."""
        found = json.loads(told(SecureWire()))
        expected = {
            "version": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "sni": "www.example.org",
            "alpn": "http/1.1",
            "client": ["CN=client", "client.example.org"],
        }
        self.assertEqual(found["tls"], expected)
        text = told(SecureWire(), format="text")
        self.assertIn("tls sni: www.example.org\n", text)
        self.assertIn("tls client: CN=client, client.example.org\n", text)

    def test_tls_without(self) -> None:
        """Without server name, protocol and certificate the fields say so."""
        transport = SecureWire()
        transport.tls.server_name = transport.negotiatedProtocol = None
        transport.peer_names = ()
        found = json.loads(told(transport))["tls"]
        self.assertEqual((found["sni"], found["alpn"], found["client"]), (None, None, []))
        transport.clear()
        self.assertNotIn("sni", told(transport, format="text"))

    def test_hostile_names(self) -> None:
        """Whatever a client calls itself, the answer is printable, in as many lines as ever."""
        for evil in ("\x1b]0;x\x07", "a\nservice: b", "\u202etxt", "\x7f", "\udcff", "\x00"):
            transport = SecureWire()
            transport.tls.server_name = evil.encode("utf-8", "surrogatepass")
            transport.peer_names = (evil,) * (MAX_NAMES + 1)
            for format, lines in (("json", 1), ("text", 12)):
                transport.clear()
                text = told(transport, format=format)
                self.assertEqual(text.count("\n"), lines)
                self.assertTrue(text.replace("\n", "").isprintable(), text)
                if format == "json":
                    self.assertEqual(len(json.loads(text)["tls"]["client"]), MAX_NAMES)

    def test_long_names(self) -> None:
        """A name is cut where it is longer than any honest one."""
        transport = SecureWire()
        transport.peer_names = ("x" * 70_000,)
        (name,) = json.loads(told(transport))["tls"]["client"]
        self.assertEqual(name, "x" * MAX_NAME)

    def test_other_transports(self) -> None:
        """A transport without our additions does, too."""
        found = json.loads(told(StringTransport()))
        self.assertNotIn("connection", found)
        self.assertNotIn("proxy", found)


class DatagramTests(SynchronousTestCase):
    """Tests for datagrams."""

    def test_json(self) -> None:
        """Each datagram is told where it came from and where it was sent to."""
        found = json.loads(answered(PEER, FakeDatagramTransport(), hostname=False))
        expected = {
            "service": "who",
            "transport": "udp",
            "peer": {"address": PEER[0], "port": PEER[1]},
            "local": {"address": "127.0.0.1", "port": 7},
            "time": TIME,
        }
        self.assertEqual(found, expected)

    def test_destination(self) -> None:
        """A transport that knows the destination of each datagram is asked for it."""
        transport = FakeDatagramTransport()
        there = IPv6Address("UDP", "fe80::1%eth0", 7)
        transport.destination = there
        found = json.loads(answered(("fe80::2%eth0", 9), transport))
        self.assertEqual(found["local"], {"address": "fe80::1%eth0", "port": 7})
        self.assertEqual(found["peer"], {"address": "fe80::2%eth0", "port": 9})

    def test_unix(self) -> None:
        """The source of a UNIX datagram is a path."""
        answer = answered("/run/client.sock", FakeDatagramTransport(), format="short")
        self.assertEqual(answer, "unix /run/client.sock\n")

    def test_longest(self) -> None:
        """No answer over UDP is longer than is said, and the short one fits 48 bytes."""
        for format, limit in LONGEST.items():
            self.assertLessEqual(len(encode(WIDEST, format)), limit, format)
        self.assertEqual(len(encode(WIDEST, "short")), 48)

    def test_specification(self) -> None:
        """The port is told how long an answer may be, and C{check} how long a question is."""
        found = declaration_of("whoami")
        for format, limit in LONGEST.items():
            options = found.options(format=format, udp_amplify=7)
            self.assertEqual(found.reply_floor(options), 7)
            self.assertEqual(found.shortest_reply(options), limit)
