"""Tests for L{socketd.net.proxy.layer}: connections that a balancer makes for others."""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from zope.interface.verify import verifyObject

from socketd.access.capacity import Capacity
from socketd.access.networks import Networks
from socketd.access.policy import make_policy
from socketd.net.base_layer import LayerFactory
from socketd.net.proxy.layer import ProxyLayer
from socketd.net.stream.port import StreamTerms
from socketd.settings.model import AccessOptions
from socketd.settings.networks import parse_networks
from tests.net.port_case import PortCase
from tests.support.fakes import OneFactory, Recorder, read_all
from tests.support.proxy import (
    LOCAL,
    PROXY,
    SIGNATURE,
    TCP4,
    TLVS,
    UNIX,
    UNSPECIFIED,
    v1,
    v2,
    v2_tcp,
)
from tests.support.sockets import address_of

#: The default of C{handshake_timeout} (seconds).
HANDSHAKE = 5.0


class ProxiedCase(PortCase):
    """A service that believes one balancer."""

    def serve(self, make: Any = None, over_tls: bool = False, **options: Any) -> None:
        """Begin to serve; 127.0.0.1 is believed."""
        policy = make_policy(AccessOptions(**options), Capacity(None), self.reactor, HANDSHAKE)
        terms = StreamTerms(True, Networks(parse_networks("127.0.0.1"), ()))
        layers = partial(ProxyLayer, over_tls=over_tls)
        self.listen(policy, LayerFactory(self.make_factory(make), layers), terms)

    def stop(self) -> None:
        """See that no slot is left in use, too."""
        super().stop()
        self.assertEqual(len(self.service_state.policy.sources or ()), 0)

    def client(self, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        """Connect, send, and let the daemon see it."""
        client = self.connect(source)
        self.send(client, data)
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        """Send, and let the daemon see it."""
        self.reactor.turn()
        if data:
            client.sendall(data)
        self.reactor.turn(2)


class HeaderTests(ProxiedCase):
    """Tests for connections with a header."""

    def test_interfaces(self) -> None:
        """The factory is one, and makes protocols."""
        factory = LayerFactory(OneFactory(Recorder), partial(ProxyLayer, over_tls=False))
        verifyObject(IProtocolFactory, factory)
        verifyObject(IProtocol, factory.buildProtocol(None))

    def test_kinds(self) -> None:
        """
        The source of each kind of header is the peer for the log, and what follows
        the header is served at once.
        """
        unix = struct.pack("!108s108s", b"/run/client.sock", b"/run/server.sock")
        cases = {
            v1(): "192.0.2.7:4711",
            v1("2001:db8::7"): "[2001:db8::7]:4711",
            v2_tcp(): "192.0.2.7:4711",
            v2_tcp("2001:db8::7"): "[2001:db8::7]:4711",
            v2_tcp(tlvs=TLVS): "192.0.2.7:4711",
        }
        self.serve()
        for header, peer in cases.items():
            client = self.client(header + b"hello")
            self.assertEqual(read_all(client), (b"HELLO", False), header)
            self.assertEqual(self.told("connection_made")[-1], peer)
            client.close()
            self.reactor.turn(3)
            self.assertEqual(self.told("connection_lost")[-1], peer)
        client = self.client(v2(PROXY, UNIX, unix) + b"hello")
        self.assertEqual(read_all(client)[0], b"HELLO")
        self.assertEqual(self.service_state.counters.refused, {})

    def test_address_of_the_protocol(self) -> None:
        """The protocol, too, is made for the real peer and sees it."""
        self.serve()
        self.client(v1("192.0.2.9", 99))
        peer = self.factory.made[0].transport.getPeer()
        self.assertEqual((peer.host, peer.port), ("192.0.2.9", 99))

    def test_balancer(self) -> None:
        """The balancer's own address is known as well, where it speaks for a client."""
        self.serve()
        client = self.client(v1("2001:db8::7"))
        own = IPv4Address("TCP", *client.getsockname())
        self.assertEqual(self.factory.made[-1].transport.proxy, own)
        self.client(b"PROXY UNKNOWN\r\n")
        self.assertIsNone(self.factory.made[-1].transport.proxy)

    def test_destination(self) -> None:
        """
        The address that the client connected to is the protocol's own, as far as the header
        names one.
        """
        unix = struct.pack("!108s108s", b"/run/client.sock", b"/run/server.sock")
        cases = {
            v1(): IPv4Address("TCP", "127.0.0.1", 7),
            v2_tcp("2001:db8::7"): IPv6Address("TCP", "::1", 7),
            v2(PROXY, UNIX, unix): UNIXAddress("/run/server.sock"),
        }
        self.serve()
        for header, expected in cases.items():
            self.client(header)
            self.assertEqual(self.factory.made[-1].transport.getHost(), expected)
        client = self.client(v2(LOCAL, UNSPECIFIED, b""))
        own = IPv4Address("TCP", *client.getpeername())
        self.assertEqual(self.factory.made[-1].transport.getHost(), own)

    def test_own_connections(self) -> None:
        """A balancer that connects for itself, or for an unknown client, is the peer."""
        self.serve()
        for header in (
            v2(LOCAL, UNSPECIFIED, b""),
            v2(PROXY, UNSPECIFIED, b"xyz"),
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        ):
            client = self.client(header + b"x")
            self.assertEqual(read_all(client)[0], b"X")
            self.assertEqual(self.told("connection_made")[-1], address_of(client))

    def test_byte_by_byte(self) -> None:
        """
        However a header is cut, nothing is served before it is whole, and no byte behind
        it is lost.
        """
        self.serve()
        for header in (v1(), v2_tcp(tlvs=TLVS)):
            client = self.client()
            made = len(self.factory.made)
            for index in range(len(header)):
                self.assertEqual(len(self.factory.made), made)
                self.send(client, header[index : index + 1])
            self.assertEqual(len(self.factory.made), made + 1)
            self.send(client, b"abc")
            self.assertEqual(read_all(client), (b"ABC", False))

    def test_messages(self) -> None:
        """A message event has what follows a header, and never the header."""
        self.serve()
        self.assertTrue(self.service_state.observed)
        client = self.client(v1() + b"one")
        self.send(client, b"two")
        heard = self.events.named("message_received")
        self.assertEqual([facts["host"] for facts in heard], ["192.0.2.7"] * 2)
        self.assertEqual([facts["text"] for facts in heard], ["one", "two"])
        (connection,) = self.service_state.connections
        self.assertEqual(connection.messages_received, 2)

    def test_half_close(self) -> None:
        """A client that ends right behind its message gets the whole answer."""
        self.serve()
        client = self.client(v2_tcp() + b"bye")
        client.shutdown(socket.SHUT_WR)
        self.reactor.turn(3)
        self.assertEqual(read_all(client), (b"BYE", True))

    def test_no_protocol(self) -> None:
        """A connection for which no protocol is made is reset."""
        self.serve(make=lambda: None)
        self.assertTrue(self.was_reset(self.client(v1())))
        self.assertEqual(self.service_state.connections, [])

    def test_still_settling(self) -> None:
        """Where a handshake follows the header, the deadline is still that of both."""
        self.serve(over_tls=True)
        client = self.client(v1() + b"x")
        self.assertEqual(read_all(client)[0], b"X")
        self.reactor.advance(HANDSHAKE + 1)
        self.assertTrue(self.was_reset(client))

    def test_start_and_stop(self) -> None:
        """The factory behind is told of the port's start and end."""
        self.serve()
        self.assertEqual(self.factory.numPorts, 1)
        self.port.close()
        self.assertEqual(self.factory.numPorts, 0)


class RefusedTests(ProxiedCase):
    """Tests for connections that are not served."""

    def test_not_believed(self) -> None:
        """Who is no balancer is reset and counted, header or not, without a line."""
        self.serve()
        for data in (b"", v1()):
            try:
                client = self.client(data, "127.0.0.2")
            except ConnectionError:
                continue
            self.assertTrue(self.was_reset(client))
        self.assertEqual(self.service_state.counters.refused, {"proxy_source": 2})
        self.assertEqual((self.events, self.factory.made), ([], []))

    def test_malformed(self) -> None:
        """
        What is no header resets the connection; it is counted, and told for debugging
        without anything that the peer wrote.
        """
        self.serve()
        wrong = (
            b"hello",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4711 7\r\n",
            b"PROXY TCP4 192.0.2.7 127.0.0.1 65536 7\r\n",
            b"PROXY " + b"x" * 120,
            SIGNATURE + bytes((0x31, TCP4, 0, 0)),
            SIGNATURE + bytes((0x22, TCP4, 0, 0)),
            v2(PROXY, TCP4, b"\0" * 11),
            v2(PROXY, 0x12, b"\0" * 12),
            v2_tcp(tlvs=b"\xe0\0\x09x"),
            v2_tcp(tlvs=struct.pack("!BHI", 3, 4, 1)),
            SIGNATURE + struct.pack("!BBH", PROXY, TCP4, 65535),
        )
        for data in wrong:
            self.assertTrue(self.was_reset(self.client(data)), data)
        self.assertEqual(self.service_state.counters.refused, {"proxy_header": len(wrong)})
        self.assertEqual(len(self.told("proxy_refused")), len(wrong))
        self.assertEqual(self.told("connection_made") + self.told("connection_lost"), [])
        self.assertEqual((self.factory.made, self.service_state.connections), ([], []))

    def test_never_complete(self) -> None:
        """
        A header that is not complete in time resets the connection: nothing at all, half
        a line, and half a binary header.
        """
        self.serve()
        clients = [self.client(data) for data in (b"", v1()[:-1], v2_tcp()[:20])]
        self.reactor.advance(HANDSHAKE - 0.5)
        self.assertFalse(any(map(self.was_reset, clients)))
        self.reactor.advance(1.5)
        self.assertTrue(all(map(self.was_reset, clients)))
        self.assertEqual(self.service_state.counters.timed_out, {"handshake_timeout": 3})

    def test_trickle(self) -> None:
        """Bytes that come one by one do not put the deadline off."""
        self.serve()
        client = self.client()
        for byte in v1()[: int(HANDSHAKE) + 2]:
            try:
                self.send(client, bytes([byte]))
            except ConnectionError:
                break
            self.reactor.advance(1)
        self.assertEqual(self.service_state.counters.timed_out, {"handshake_timeout": 1})
        self.assertEqual(self.service_state.connections, [])

    def test_gone(self) -> None:
        """
        A balancer that goes before its header is complete leaves nothing, and no line:
        so health checks look that only connect.
        """
        self.serve()
        for data in (b"", v1()[:9]):
            self.client(data).close()
            self.reactor.turn(3)
        self.assertEqual((self.service_state.connections, self.events), ([], []))
        self.assertEqual(self.service_state.counters.refused, {})


class AccessTests(ProxiedCase):
    """The access policy counts the real peer, never the balancer."""

    def test_denied(self) -> None:
        """C{deny} is asked for the real source."""
        self.serve(deny=parse_networks("192.0.2.7"))
        self.assertTrue(self.was_reset(self.client(v1() + b"x")))
        self.assertEqual(read_all(self.client(v1("192.0.2.8") + b"x"))[0], b"X")
        self.assertEqual(self.service_state.counters.refused, {"network": 1})

    def test_allowed(self) -> None:
        """With C{allow} the balancer need not be allowed, and the real source has to be."""
        self.serve(allow=parse_networks("192.0.2.0/24, 2001:db8::/32"))
        for source, header in (("192.0.2.7", v1), ("2001:db8::1", v2_tcp)):
            self.assertEqual(read_all(self.client(header(source) + b"x"))[0], b"X")
        self.assertTrue(self.was_reset(self.client(v1("198.51.100.1") + b"x")))
        self.assertEqual(self.service_state.counters.refused, {"network": 1})

    def test_one_address_in_two_families(self) -> None:
        """An IPv4 source that is written as IPv6 is the same one."""
        self.serve(deny=parse_networks("192.0.2.7"))
        self.assertTrue(self.was_reset(self.client(v2_tcp("::ffff:192.0.2.7") + b"x")))

    def test_max_per_source(self) -> None:
        """Each real source has its own places, and gives them back."""
        self.serve(max_per_source=2)
        first, second = self.client(v1() + b"x"), self.client(v2_tcp() + b"x")
        self.assertEqual([read_all(one)[0] for one in (first, second)], [b"X", b"X"])
        self.assertTrue(self.was_reset(self.client(v1() + b"x")))
        self.assertEqual(read_all(self.client(v1("192.0.2.8") + b"x"))[0], b"X")
        self.assertEqual(self.service_state.counters.refused, {"source_limit": 1})
        first.close()
        self.reactor.turn(3)
        self.assertEqual(read_all(self.client(v1() + b"x"))[0], b"X")

    def test_rate(self) -> None:
        """So is the rate of new connections."""
        self.serve(accept_rate=1.0, accept_burst=2)
        answers = []
        for _ in range(4):
            client = self.client(v1() + b"x")
            answers.append(b"" if self.was_reset(client) else b"served")
        self.assertEqual(self.service_state.counters.refused, {"source_rate": 2})
        self.assertEqual(read_all(self.client(v1("192.0.2.8") + b"x"))[0], b"X")
