"""
Tests for L{socketd.net.layers}: a port that has TLS, a PROXY header or both before its
protocol, with real sockets.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from socketd.access.capacity import Capacity
from socketd.access.policy import make_policy
from socketd.net.layers import wrap_factory
from socketd.net.stream.port import StreamTerms
from socketd.net.tls.context import ServerContext
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import ServiceSettings
from tests.net.port_case import PortCase
from tests.support.certificates import (
    FUTURE,
    NOW,
    Made,
    authority,
    client_context,
    issued,
    write_private,
)
from tests.support.fakes import Recorder
from tests.support.tls import client_hello
from tests.support.tls_client import TlsClient

HEADER = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 7\r\n"

#: A handshake takes two flights of each side; the rest is for the order of events.
TURNS = 6

#: How often the files are read again, and how often before what is in use is noted.
RENEWALS = 1000
WARM_UP = 100

#: How many live connections there are meanwhile.
LIVE = 20

#: What may be left of these renewals (objects, KiB); one that stays has some objects, and
#: its context in OpenSSL tens of KiB.
SLACK = 200
SLACK_KIB = 8 * 1024

#: How many clients come and go.
RECONNECTS = 300

HANDSHAKE = 3.0

INI = """
[echo]
listen = {listen}
proxy_from = 127.0.0.1
{options}
"""


class Peer(TlsClient):
    """A client that takes no more turns than a handshake needs."""

    turns = TURNS


class LayersCase(PortCase):
    """A service at a port of loopback."""

    def setUp(self) -> None:
        super().setUp()
        self.made = issued("www.example.org")
        self.path = self.mktemp()
        self.write(self.made)

    def write(self, made: Made) -> None:
        """Write a certificate with its key."""
        made.write(self.path)

    def service(self, listen: str, more: str = "") -> ServiceSettings:
        """Read a service from a configuration."""
        options = f"handshake_timeout = {HANDSHAKE}s\n{more}"
        if "tls" in listen:
            options += f"\ntls_certificate = {self.path}"
        else:
            options = more
        text = INI.format(listen=listen, options=options)
        if "haproxy" not in listen:
            text = text.replace("proxy_from = 127.0.0.1\n", "")
        (service,) = parse(text, "test.ini", installed(), "/run").services
        return service

    def serve(self, listen: str, more: str = "", make: Any = None) -> None:
        """Serve a listener's layers."""
        service = self.service(listen, more)
        handshake = service.tls.handshake_timeout
        policy = make_policy(service.policy, Capacity(None), self.reactor, handshake)
        self.context: Any = None
        if service.listeners[0].tls:
            self.context = ServerContext(service.tls, lambda: NOW, lambda: 0.0)
            self.assertEqual(self.context.load(), [])
        listener = service.listeners[0]
        layers = (self.make_factory(make), listener, service, self.context, self.reactor)
        factory, self.terms = wrap_factory(*layers)
        self.listen(policy, factory, self.terms)

    def dial(self, header: bytes = b"", context: SSL.Context | None = None) -> Peer:
        """Connect a client, and shake hands."""
        client = self.connect()
        if header:
            client.sendall(header)
        peer = Peer(self.reactor, client, SSL.Connection(context or client_context()))
        peer.go()
        return peer

    def shown(self, peer: Peer) -> Any:
        """Get the certificate that a client was shown."""
        return peer.tls.get_peer_certificate(as_cryptography=True)


class LayersTests(LayersCase):
    """Tests for what stands before the protocol."""

    def test_none(self) -> None:
        """A plain listener gets the factory as it is, and nothing to agree on."""
        self.serve("tcp:0")
        self.assertIsNone(self.context)
        self.assertEqual((self.terms.handshaking, self.terms.proxies), (False, None))
        client = self.connect()
        client.send(b"hello")
        self.reactor.turn(2)
        self.assertEqual(client.recv(9), b"HELLO")
        self.assertEqual(len(self.factory.made), 1)

    def test_tls(self) -> None:
        """The protocol is made once the handshake is done, and works on plain bytes."""
        self.serve("tls:0")
        client = self.connect()
        self.reactor.turn(2)
        self.assertEqual(self.factory.made, [])
        peer = Peer(self.reactor, client, SSL.Connection(client_context()))
        peer.go()
        peer.say(b"hello")
        self.assertEqual(peer.received, b"HELLO")
        self.assertEqual(self.factory.made[0].received, b"hello")

    def test_proxied_tls(self) -> None:
        """The PROXY header comes first, in plain; then TLS; the peer is the real one."""
        self.serve("haproxy:tls:0")
        peer = self.dial(HEADER)
        peer.say(b"hello")
        self.assertEqual(peer.received, b"HELLO")
        for name in ("connection_made", "tls_secured"):
            self.assertEqual(self.told(name), ["192.0.2.7:4711"], name)

    def test_inherited(self) -> None:
        """So it is at a socket of systemd's with C{tls=yes}."""
        self.serve("systemd:echo:tls=yes")
        peer = self.dial()
        peer.say(b"hello")
        self.assertEqual(peer.received, b"HELLO")

    def test_messages(self) -> None:
        """
        Who watches messages sees what was decrypted, under the real peer's address, and
        nothing of the handshake or the header.
        """
        self.serve("haproxy:tls:0")
        self.assertTrue(self.service_state.observed)
        self.dial(HEADER).say(b"hello")
        (facts,) = self.events.named("message_received")
        self.assertEqual((facts["host"], facts["text"]), ("192.0.2.7", "hello"))

    def test_counts(self) -> None:
        """One message is counted as one: the handshake, the header and the end are none."""
        for listen, header in (
            ("tls:0", b""), ("haproxy:tls:0", HEADER), ("haproxy:tcp:0", HEADER),
        ):  # fmt: skip
            self.serve(listen)
            if "tls" in listen:
                peer = self.dial(header)
                peer.say(b"hello")
                peer.tls.shutdown()
                peer.go()
            else:
                client = self.connect()
                client.sendall(header)
                self.reactor.turn()
                client.sendall(b"hello")
                self.reactor.turn()
            count = sum(one.messages_received for one in self.service_state.connections)
            self.assertEqual(self.service_state.counters.messages_received + count, 1, listen)

    def test_spoken(self) -> None:
        """What an operator sends, and a close by an operator, go through TLS."""
        self.serve("tls:0", make=Recorder)
        peer = self.dial()
        (connection,) = self.service_state.connections
        connection.send(b"from the operator")
        connection.close()
        peer.go()
        self.assertEqual(peer.received, b"from the operator")
        self.assertEqual(peer.ended, ["close_notify", "end"])

    def test_drained(self) -> None:
        """
        A stop ends each TLS connection with C{close_notify}; one whose handshake is not
        done is closed, and the daemon waits for neither.
        """
        self.serve("tls:0")
        peers, silent = [self.dial() for _ in range(3)], self.connect()
        self.reactor.turn()
        self.assertEqual(len(self.service_state.connections), 4)
        for connection in self.service_state.connections:
            connection.close()
        empty: list[Any] = []
        self.service_state.when_empty().addCallback(empty.append)
        for peer in peers:
            peer.go()
            peer.sock.close()
        self.assertEqual([peer.ended for peer in peers], [["close_notify", "end"]] * 3)
        silent.close()
        self.reactor.turn(3)
        self.assertEqual(empty, [None])


class DeadlineTests(LayersCase):
    """Tests for peers that come to no terms."""

    def test_handshake(self) -> None:
        """
        Nothing, half a hello, and a whole one without the rest are reset after
        C{handshake_timeout}, and counted as that; who has come to terms stays.
        """
        self.serve("tls:0", "idle_timeout = 1h")
        hello = client_hello()
        served, clients = self.dial(), [self.connect() for _ in range(3)]
        for client, data in zip(clients, (b"", hello[: len(hello) // 2], hello), strict=True):
            client.send(data)
        self.reactor.turn(3)
        self.assertEqual(len(self.service_state.connections), 4)
        self.reactor.advance(HANDSHAKE + 1)
        self.reactor.turn(3)
        self.assertEqual(len(self.service_state.connections), 1)
        self.assertEqual(self.service_state.counters.timed_out, {"handshake_timeout": 3})
        self.assertEqual(self.service_state.counters.refused, {})
        served.say(b"still")
        self.assertEqual(served.received, b"STILL")

    def test_header_and_handshake(self) -> None:
        """Header and handshake have one deadline between them."""
        self.serve("haproxy:tls:0")
        client = self.connect()
        self.reactor.turn(2)
        self.reactor.advance(HANDSHAKE - 1)
        client.send(HEADER)
        self.reactor.turn(2)
        self.assertEqual(len(self.service_state.connections), 1)
        self.reactor.advance(2)
        self.reactor.turn(2)
        self.assertEqual(self.service_state.connections, [])
        self.assertEqual(self.service_state.counters.timed_out, {"handshake_timeout": 1})

    def pass_time(self, seconds: int) -> None:
        """Let the clock go on, step by step."""
        for _ in range(seconds):
            self.reactor.advance(1)

    def test_idle(self) -> None:
        """A client that is idle is told so in TLS and closed."""
        self.serve("tls:0", "idle_timeout = 10s")
        peer = self.dial()
        peer.say(b"x")
        self.pass_time(9)
        peer.go()
        self.assertEqual(peer.ended, [])
        self.pass_time(4)
        peer.go()
        self.assertEqual(peer.ended, ["close_notify", "end"])
        self.assertEqual(self.service_state.counters.timed_out, {"idle_timeout": 1})


class GrowthTests(LayersCase):
    """Tests that nothing is left behind."""

    def test_renewals(self) -> None:
        """
        A thousand renewals lose none of the connections that live meanwhile, and leave no
        object, no descriptor and no memory; the next client is shown the newest.
        """
        self.serve("tls:0")
        renewed = issued("www.example.org", end=FUTURE)
        peers = [self.dial() for _ in range(LIVE)]
        self.renew(WARM_UP, peers, renewed)
        before = self.census()
        self.renew(RENEWALS, peers, renewed)
        after = self.census()
        self.assertLess(after[0] - before[0], SLACK)
        self.assertEqual(after[1], before[1])
        self.assertLess(after[2] - before[2], SLACK_KIB)
        for peer in peers:
            self.assertEqual(self.shown(peer), self.made.certificate)
            peer.say(b"!")
            self.assertEqual((peer.received[-1:], peer.ended), (b"!", []))
        self.assertEqual(self.shown(self.dial()), renewed.certificate)
        self.assertEqual((self.context.loads, self.context.failures), (RENEWALS + WARM_UP + 1, 0))

    def renew(self, times: int, peers: list[Peer], renewed: Made) -> None:
        """Replace the files again and again; one of the clients talks in between."""
        for number in range(times):
            self.write(renewed if number % 2 else self.made)
            self.assertTrue(self.context.changed())
            self.assertEqual(self.context.load(), [])
            if number % 10 == 0:
                peer = peers[number // 10 % len(peers)]
                peer.received = b""
                peer.say(b"x")
                self.assertEqual(peer.received, b"X")

    def test_reconnects(self) -> None:
        """Clients that come and go, well and badly, leave no object and no descriptor."""
        self.serve("haproxy:tls:0", f"accept_burst = {RECONNECTS * 2}")
        context = client_context()
        self.come_and_go(RECONNECTS // 10, context)
        before = self.census()
        self.come_and_go(RECONNECTS, context)
        after = self.census()
        self.assertLess(after[0] - before[0], SLACK)
        self.assertEqual(after[1], before[1])
        self.assertEqual(self.service_state.connections, [])

    def come_and_go(self, times: int, context: SSL.Context) -> None:
        """Connect one client after the other; each third one breaks off in its handshake."""
        for number in range(times):
            client = self.connect_and_forget()
            client.sendall(HEADER)
            if number % 3:
                peer = Peer(self.reactor, client, SSL.Connection(context))
                peer.go()
                peer.say(b"x")
                self.assertEqual(peer.received, b"X")
            else:
                client.send(b"\x16\x03\x01\x02\x00\x01")
                self.reactor.turn(2)
            client.close()
            self.reactor.turn(3)
            self.factory.made.clear()
            self.events.clear()

    def connect_and_forget(self) -> socket.socket:
        """Connect a client that the test closes itself."""
        client = socket.create_connection(self.socket.getsockname())
        client.setblocking(False)
        return client

    def census(self) -> tuple[int, int, int]:
        """Count the objects, the descriptors and the resident memory (KiB)."""
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return len(gc.get_objects()), descriptors, pages * resource.getpagesize() // 1024


class ClientTests(LayersCase):
    """Tests for clients that have to prove who they are."""

    def test_names(self) -> None:
        """
        Behind a balancer, too, only clients with one of the names are served; the others
        are counted and reset, and their protocol is never made.
        """
        ca = os.path.abspath(write_private(self.mktemp(), authority().pem()))
        more = f"tls_client_ca = {ca}\ntls_client_names = good.example.org"
        self.serve("haproxy:tls:0", more)
        good = self.dial(HEADER, client_context(issued("good.example.org")))
        good.say(b"x")
        self.assertEqual(good.received, b"X")
        other = self.dial(HEADER, client_context(issued("other.example.org")))
        self.assertEqual((other.received, other.ended[-1]), (b"", "reset"))
        self.assertEqual(self.service_state.counters.refused, {"tls_client_name": 1})
        self.assertEqual(len(self.factory.made), 1)

    def test_terms(self) -> None:
        """
        What is told of a listener: whose headers are believed, and that something is to
        be agreed on.
        """
        self.serve("haproxy:tcp:0")
        assert isinstance(self.terms, StreamTerms) and self.terms.proxies is not None
        self.assertTrue(self.terms.handshaking)
        self.assertTrue(self.terms.proxies.admits(socket.inet_aton("127.0.0.1")))
        self.assertFalse(self.terms.proxies.admits(socket.inet_aton("127.0.0.2")))
