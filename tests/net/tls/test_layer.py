"""Tests for L{socketd.net.tls.layer}: TLS over real sockets, turned by hand."""

from __future__ import annotations

import os
import socket
from random import Random
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    INegotiated,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from twisted.web.server import Site as WebSite
from zope.interface.verify import verifyClass, verifyObject

from socketd.net.base_layer import LayerFactory
from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.deadlines import CLOSE_GRACE
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.net.tls.layer import CLIENT_NAME, HANDSHAKE, SERVER_NAME, TlsLayer
from socketd.net.tls.transport import SecureTransport
from socketd.protocols.measure.chargen import BLOCK, Chargen
from socketd.settings.tls import PeerName
from tests.net.tls.layer_case import Client, LayerCase
from tests.support.certificates import (
    Made,
    authority,
    client_context,
    issued,
    of_unknown_version,
    write_private,
)
from tests.support.fakes import HalfCloseable, Producer, Recorder
from tests.support.tls import client_hello
from tests.support.tls_client import TURNS
from tests.support.tls_records import ALERT, DATA, RecordWriter, logging_context

#: What a peer that never reads tries to send, and what a connection may hold of it.
FLOOD = 32 * 1024 * 1024
MAX_HELD = 300 * 1024

#: What the buffers of the kernel and of the client itself hold of a flood.
MAX_TAKEN = 4 * 1024 * 1024

#: How many damaged hellos are tried, and which.
DAMAGED = 200
SEED = 1

#: So many names make a certificate that no 32 KiB hold.
MANY = 1500


class ServingTests(LayerCase):
    """Tests for connections that are let through."""

    def test_interfaces(self) -> None:
        """Each part is what its neighbour takes it for."""
        verifyClass(IHandshakeListener, TlsLayer)
        verifyClass(IProtocolFactory, LayerFactory)
        self.dial(self.serve())
        for interface in (INegotiated, ITCPTransport, IConsumer, IPushProducer):
            verifyClass(interface, SecureTransport)
            verifyObject(interface, self.transports[0])

    def test_what_was_agreed_on(self) -> None:
        """A protocol finds in its transport what Twisted's own of TLS has."""
        self.dial(self.serve(tls_alpn=(b"p",)))
        transport = self.transports[0]
        self.assertIs(transport.negotiatedProtocol, None)
        self.assertIs(transport.getPeerCertificate(), None)
        self.assertEqual((transport.peer_names, transport.proxy), ((), None))
        self.assertEqual(transport.getHandle().get_protocol_version_name(), "TLSv1.3")
        keys = {transport.export_keying_material(b"EXPORTER-any", 32, one) for one in (b"a", b"b")}
        self.assertEqual([len(key) for key in keys], [32, 32])
        for enabled in (True, False):
            transport.setTcpKeepAlive(enabled)
            self.assertIs(transport.getTcpKeepAlive(), enabled)
            # No matter where there is no TCP.
            transport.setTcpNoDelay(enabled)
            self.assertIs(transport.getTcpNoDelay(), False)

    def test_is_secure(self) -> None:
        """
        The server of twisted.web knows that it speaks TLS; the end of a client that kept
        its connection is seen at once.
        """
        secure: list[bool] = []

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                secure.append(request.isSecure())
                return b"page"

        service_state = WebSite(Page(), reactor=self.reactor)
        service_state.noisy = False
        client = self.dial(self.serve(lambda: service_state.buildProtocol(None)))
        client.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"\r\n\r\npage", client.received)
        self.assertEqual(secure, [True])
        client.tls.shutdown()
        client.go()
        client.sock.close()
        self.reactor.turn(3)
        self.assert_ended()
        self.assertEqual(self.events[-1][1]["reason"], "closed")
        service_state.stopFactory()

    def test_half_close(self) -> None:
        """A protocol may end its side, in TLS and below, and still hear the other one."""
        client = self.dial(self.serve(HalfCloseable))
        self.transports[0].write(b"all")
        self.transports[0].loseWriteConnection()
        client.go()
        self.assertEqual((client.received, client.ended), (b"all", ["close_notify", "end"]))
        self.assertEqual(self.factory.made[0].halves, ["write"])
        client.tls.send(b"still here")
        client.push()
        self.reactor.turn(2)
        self.assertEqual(self.factory.made[0].received, b"still here")
        client.tls.shutdown()
        client.push()
        self.reactor.turn(2)
        self.assertEqual(self.factory.made[0].halves, ["write", "read"])
        client.sock.close()
        self.reactor.turn(3)
        self.assert_ended()

    def test_echo(self) -> None:
        """What is sent comes back, and it is told what was agreed on."""
        client = self.dial(self.serve(tls_alpn=(b"p",)))
        client.say(b"hello")
        self.assertEqual(client.received, b"hello")
        self.assertEqual(self.heard, ["hello"])
        self.assertEqual(self.failed, [])
        [found] = self.secured
        self.assertEqual((found["version"], found["alpn"], found["client"]), ("TLSv1.3", "", ""))
        self.assertIn("TLS_", found["cipher"])

    def test_long_data(self) -> None:
        """Much more than a record comes back whole and in order."""
        client = self.dial(self.serve())
        data = os.urandom(1024 * 1024)
        client.say(data)
        while len(client.received) < len(data):
            client.go(1)
        self.assertEqual(client.received, data)

    def test_one_piece(self) -> None:
        """The answers to what is received at once leave at once, however many records."""
        client = self.dial(self.serve())
        pieces: list[bytes] = []
        self.patch(StreamConnection, "write", lambda _, data: pieces.append(data))
        for _ in range(5):
            client.tls.send(b"hello")
        client.push()
        self.reactor.turn()
        [piece] = pieces
        client.tls.bio_write(piece)
        client.step()
        self.assertEqual((client.received, len(self.heard)), (b"hello" * 5, 5))

    def test_nothing_before(self) -> None:
        """Until the last byte of the handshake there is no protocol, and no byte of its."""
        tls = SSL.Connection(client_context())
        client = Client(self.reactor, self.accept(self.serve(Greeter)), tls)
        client.step()
        hello = tls.bio_read(65536)
        for start in range(0, len(hello), 7):
            self.assertEqual((self.factory.made, self.connection.bytes_sent), ([], 0))
            client.sock.send(hello[start : start + 7])
            self.reactor.turn()
        self.assertEqual((self.factory.made, self.secured), ([], []))
        client.go()
        self.assertEqual((len(self.factory.made), len(self.secured)), (1, 1))
        self.assertEqual(client.received, b"welcome")

    def test_greeting(self) -> None:
        """A protocol that speaks first and closes is heard, and the end is a clean one."""
        client = self.dial(self.serve(Greeter))
        self.assertEqual(client.received, b"welcome")
        self.assertEqual(client.ended, ["close_notify", "end"])
        client.sock.close()
        client.reactor.turn(TURNS)
        self.assert_ended()

    def test_long_chain(self) -> None:
        """A certificate that is longer than what Twisted sends at a time is sent whole."""
        made = issued(*[f"host-{number}.subdomain.example.org" for number in range(MANY)])
        self.assertGreater(len(made.pem()), 64 * 1024)
        client = self.dial(self.serve(made=made))
        client.say(b"hello")
        self.assertEqual(client.received, b"hello")

    def test_start_and_stop(self) -> None:
        """The protocol's own factory knows when its port begins and ends."""
        factory = self.serve()
        factory.doStart()
        self.assertEqual(self.factory.numPorts, 1)
        factory.doStop()
        self.assertEqual(self.factory.numPorts, 0)


class Greeter(Recorder):
    """Speaks first, and closes."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(b"welcome")
        self.transport.loseConnection()


class LastWord(HalfCloseable):
    """Answers at the end of the input, and closes."""

    transport: Any

    def readConnectionLost(self) -> None:
        self.transport.write(b"bye")
        self.transport.loseConnection()


class Failing(Protocol):
    """Raises."""

    def dataReceived(self, data: bytes) -> None:
        raise ValueError(data)


class EndTests(LayerCase):
    """Tests for the ends of connections."""

    def test_end_behind_data(self) -> None:
        """The answer to what comes together with the end is sent."""
        client = self.dial(self.serve())
        client.tls.send(b"hello")
        client.tls.shutdown()
        client.go()
        self.assertEqual(client.received, b"hello")
        self.assertEqual(client.ended, ["close_notify", "end"])
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual(len(self.factory.made[0].lost), 1)
        self.assert_ended()

    def test_last_word(self) -> None:
        """A protocol that has more to say when the peer ends is heard."""
        client = self.dial(self.serve(LastWord))
        client.tls.shutdown()
        client.go()
        self.assertEqual((client.received, client.ended), (b"bye", ["close_notify", "end"]))

    def test_silent_end(self) -> None:
        """A peer that shuts down its socket without the end of TLS is still sent the answer."""
        client = self.dial(self.serve())
        client.tls.send(b"hello")
        client.step()
        client.push()
        client.sock.shutdown(socket.SHUT_WR)
        client.go()
        self.assertEqual(client.received, b"hello")
        self.assertEqual(len(self.factory.made[0].lost), 1)
        self.assert_ended()

    def test_silent_peer(self) -> None:
        """A peer that does not answer the end is left after a while."""
        self.dial(self.serve())
        self.factory.made[0].transport.loseConnection()
        self.reactor.turn(TURNS)
        self.assertTrue(self.connection.connected)
        for _ in range(TURNS):
            self.reactor.advance(CLOSE_GRACE / 4)
        self.assert_ended()

    def test_closed(self) -> None:
        """
        A protocol that has closed is not told of what still comes, and what it
        writes then goes nowhere.
        """
        client = self.dial(self.serve())
        self.factory.made[0].transport.loseConnection()
        self.factory.made[0].transport.write(b"too late")
        client.say(b"hello")
        self.assertEqual((self.factory.made[0].received, client.received), (b"", b""))
        self.connection.abortConnection()
        self.reactor.turn()
        self.factory.made[0].transport.write(b"too late")
        self.factory.made[0].transport.loseConnection()
        self.factory.made[0].transport.abortConnection()
        self.assert_ended()

    def test_abort(self) -> None:
        """A protocol can reset its connection."""
        client = self.dial(self.serve())
        self.factory.made[0].transport.abortConnection()
        client.go()
        self.assertIn(client.ended[-1], ("end", "reset"))
        self.assert_ended()

    def test_failing_protocol(self) -> None:
        """A protocol that raises ends its connection, and is reported once."""
        client = self.dial(self.serve(Failing))
        client.say(b"hello")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.events.named("protocol_failed")), 1)
        self.assertEqual(self.failed, [])
        self.assertFalse(self.connection.connected)

    def test_failing_factory(self) -> None:
        """So does a factory that raises; one that has no protocol ends it in silence."""

        def fail() -> None:
            raise ValueError

        self.dial(self.serve(fail))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.events.named("protocol_failed")), 1)
        self.assertFalse(self.connection.connected)
        self.events.clear()
        self.dial(self.serve(lambda: None))
        self.assertEqual(self.failed, [])
        self.assert_ended()


class ClientNameTests(LayerCase):
    """Tests for clients that are served by name."""

    def dial_as(self, client: Made, *allowed: PeerName) -> Client:
        """Connect with a certificate to a service for some names."""
        ca = write_private(self.mktemp(), authority("clients").pem())
        factory = self.serve(Greeter, allowed=allowed, tls_client_ca=ca)
        return self.dial(factory, client_context(client))

    def test_served(self) -> None:
        """A client with one of the names is served, whatever kind of name it is."""
        names = {
            "Alice.Example.ORG": PeerName("dns", "alice.example.org"),
            "spiffe://org/a": PeerName("uri", "spiffe://org/a"),
            "192.0.2.7": PeerName("ip", "192.0.2.7"),
            "a@example.org": PeerName("email", "a@example.org"),
        }
        for written, name in names.items():
            client = issued("other.example.org", written, issuer="clients")
            found = self.dial_as(client, name, PeerName("dns", "carol"))
            self.assertEqual(found.received, b"welcome")
            self.assertIn(name.value, self.secured[-1]["client"])
            found_names = self.transports[-1].peer_names
            self.assertEqual(found_names[0], "CN=subject")
            self.assertEqual(set(found_names[1:]), {"other.example.org", name.value})
        self.assertEqual(self.failed, [])

    def test_refused(self) -> None:
        """One without is reset, and sees no byte; no protocol is made."""
        alice = PeerName("dns", "alice.example.org")
        for names in (
            (),
            ("bob.example.org",),
            ("*.example.org",),
            ("spiffe://alice.example.org",),
            ("x.alice.example.org",),
        ):
            client = self.dial_as(issued(*names, issuer="clients"), alice)
            self.assertEqual((client.received, self.factory.made, self.secured), (b"", [], []))
            self.assertEqual(self.failed, [(CLIENT_NAME, ", ".join(names))])
            self.events.clear()
            self.assert_ended()

    def test_strange(self) -> None:
        """
        A client whose certificate no parser of ours reads has no name; OpenSSL takes it,
        and so it is served where names do not count.
        """
        made = issued("alice.example.org", issuer="clients")
        strange = of_unknown_version(made, "clients")
        context = client_context(made)
        context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, strange))
        ca = write_private(self.mktemp(), authority("clients").pem())
        alice = PeerName("dns", "alice.example.org")
        self.dial(self.serve(Greeter, allowed=[alice], tls_client_ca=ca), context)
        self.assertEqual(self.failed, [(CLIENT_NAME, "")])
        self.assert_ended()
        client = self.dial(self.serve(Greeter, tls_client_ca=ca), context)
        self.assertEqual(client.received, b"welcome")
        self.assertEqual(self.transports[-1].peer_names, ())

    def test_any(self) -> None:
        """Without a list every client that the authority vouches for is served."""
        client = self.dial_as(issued("bob.example.org", issuer="clients"))
        self.assertEqual(client.received, b"welcome")

    def test_stranger(self) -> None:
        """The right name from the wrong authority is worth nothing."""
        client = self.dial_as(issued("alice"), PeerName("dns", "alice"))
        self.assertEqual((client.received, self.factory.made), (b"", []))
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual(self.failed, [(HANDSHAKE, "certificate verify failed")])

    def test_told(self) -> None:
        """Names are told in one line, and a few of them only."""
        names = [f"spiffe://org/{number}" for number in range(100)]
        self.dial_as(issued("spiffe://a\nb", *names, issuer="clients"))
        [found] = self.secured
        self.assertTrue(found["client"].isprintable())
        self.assertEqual(found["client"].count("spiffe"), 4)


class FailureTests(LayerCase):
    """Tests for peers that never come through."""

    def feed(self, data: bytes, **options: Any) -> socket.socket:
        """Send bytes in place of a handshake."""
        peer = self.accept(self.serve(**options))
        try:
            for start in range(0, len(data), 65536):
                peer.send(data[start : start + 65536])
                self.reactor.turn(2)
        except (BrokenPipeError, BlockingIOError):
            pass
        self.reactor.turn(TURNS)
        return peer

    def test_garbage(self) -> None:
        """
        What is no TLS at all ends the connection; it is counted once, with no more
        noise than that.
        """
        zeros = bytes(100000)
        for data in (b"GET / HTTP/1.0\r\n\r\n", b"\n" * 100, zeros, b"\x16\x03\x01" + zeros):
            self.events.clear()
            peer = self.feed(data)
            peer.close()
            self.reactor.turn(TURNS)
            self.assertEqual([reason for reason, _ in self.failed], [HANDSHAKE])
            self.assertTrue(self.failed[0][1].isprintable())
            self.assertEqual((self.factory.made, self.secured), ([], []))
            self.assert_ended()

    def test_damaged_hello(self) -> None:
        """
        Whatever is changed in a hello, each peer that does not come through is
        counted once, and nothing is raised.
        """
        hello, dice, factory = client_hello(), Random(SEED), self.serve()
        for _ in range(DAMAGED):
            data = bytearray(hello)
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            peer = self.accept(factory)
            peer.send(data)
            self.reactor.turn(3)
            peer.close()
            self.reactor.turn(3)
            self.assert_ended()
        self.assertEqual((len(self.failed), self.secured), (DAMAGED, []))

    def test_long_hello(self) -> None:
        """A hello without end is refused before it fills the memory."""
        record = b"\x16\x03\x01\x40\x00"
        peer = self.feed(record + b"\x01\xff\xff\xff" + bytes(16380))
        while not self.connection.disconnecting:
            self.assertLess(self.connection.bytes_received, MAX_HELD)
            peer.send(record + bytes(16384))
            self.reactor.turn()
        peer.close()
        self.reactor.turn(TURNS)
        self.assertEqual(self.failed, [(HANDSHAKE, "excessive message size")])

    def test_gone(self) -> None:
        """A peer that goes before it has shaken hands is counted once."""
        hello = client_hello()
        for size in (0, 1, 5, 100, len(hello)):
            self.events.clear()
            self.feed(hello[:size]).close()
            self.reactor.turn(TURNS)
            self.assertEqual(self.failed, [(HANDSHAKE, "the connection ended")])
            self.assert_ended()

    def test_stall(self) -> None:
        """A handshake that stands still costs nothing, and can be ended from outside."""
        self.feed(b"\x16\x03\x01\x02\x00")
        self.assertEqual(self.reactor.writers, [])
        self.connection.abortConnection()
        self.reactor.turn()
        self.assertEqual(self.failed, [(HANDSHAKE, "the connection ended")])
        self.assert_ended()

    def test_no_common_version(self) -> None:
        """It is said in OpenSSL's words what went wrong."""
        old = client_context(newest=SSL.TLS1_2_VERSION)
        self.dial(self.serve(tls_minimum="1.3"), old).sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual(self.failed, [(HANDSHAKE, "unsupported protocol")])

    def test_server_name(self) -> None:
        """An unknown name of the server is counted as that."""
        client = self.dial(self.serve(tls_unknown_name="refuse"), name="unknown.test")
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual(self.failed, [(SERVER_NAME, "unknown server name")])
        self.assertIn("unrecognized name", str(client.failed[0]))
        self.assert_ended()

    def test_failing_choice(self) -> None:
        """If the choice of a certificate fails in itself, that is reported."""

        def fail(connection: SSL.Connection) -> bytes:
            raise ZeroDivisionError

        factory = self.serve()
        self.patch(SSL.Connection, "get_servername", fail)
        self.dial(factory)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        failures = self.events.named("protocol_failed")
        self.assertEqual([facts["error"] for facts in failures], ["ZeroDivisionError: "])
        self.assertEqual(len(self.failed), 1)

    def test_broken_record(self) -> None:
        """A record that was tampered with ends a connection that was let through."""
        client = self.dial(self.serve())
        client.sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        client.go()
        self.assertIn("bad record mac", str(client.failed[0]))
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assertEqual((self.failed, self.heard), ([], []))
        self.assertEqual(len(self.factory.made[0].lost), 1)
        self.assert_ended()


class RecordTests(LayerCase):
    """Tests for records of TLS 1.3 that no library writes, in all pieces."""

    def records(self) -> tuple[Client, RecordWriter]:
        """Connect, and write the client's records from now on."""
        client = self.dial(self.serve(), logging_context(client_context()))
        return client, RecordWriter.of(client.tls)

    def test_key_updates(self) -> None:
        """
        New keys of the client, and others that it asks for, are taken before, between and behind
        data, with which they may come together, or in pieces.
        """
        client, writer = self.records()
        for pieces in (1, 2, 3, 7):
            client.received = b""
            flight = [writer.update(True), writer.record(DATA, b"first"), writer.update(False)]
            flight += [writer.record(DATA, b""), writer.record(DATA, b"second")]
            data = b"".join([*flight, writer.update(True)])
            step = -(-len(data) // pieces)
            for at in range(0, len(data), step):
                client.sock.send(data[at : at + step])
                client.go(1)
            client.go()
            self.assertEqual(client.received, b"firstsecond")
        self.assertEqual((client.failed, self.failed), ([], []))

    def test_end_behind_data(self) -> None:
        """The end of TLS is found in the same receive as what came before it."""
        client, writer = self.records()
        client.sock.send(writer.record(DATA, b"all") + writer.record(ALERT, b"\1\0"))
        client.go()
        self.assertEqual((client.received, client.ended), (b"all", ["close_notify", "end"]))


class BackpressureTests(LayerCase):
    """Tests for peers that do not read."""

    def test_never_reads(self) -> None:
        """
        A peer that sends and never reads is stopped, and its connection holds little;
        once it reads, it gets all of it.
        """
        client = self.dial(self.serve())
        sent = self.flood(client)
        self.assertLess(sent, MAX_TAKEN)
        held = self.connection.bytes_received - self.connection.bytes_sent
        self.assertLess(held, MAX_HELD)
        self.assertNotIn(self.connection, self.reactor.readers)
        while len(client.received) < sent:
            before = len(client.received)
            client.go(4)
            self.assertGreater(len(client.received), before)
        self.assertEqual(client.received, (b"0123456789abcdef" * 1024) * (sent // 16384))

    def flood(self, client: Client) -> int:
        """
        Send until the server takes no more, and never read.

        @return: how much was sent, or waits at the client.
        """
        data, sent = b"0123456789abcdef" * 1024, 0
        while sent < FLOOD:
            sent += client.tls.send(data)
            client.push()
            self.reactor.turn()
            if client.waiting and not self.reactor.readers:
                break
        return sent

    def test_producer(self) -> None:
        """
        A protocol that has no end holds one block for a peer that does not read, and
        continues when it does.
        """
        client = self.dial(self.serve(Chargen))
        for _ in range(4):
            before = len(client.received)
            client.go(TURNS, reading=False)
            self.assertLess(self.connection._buffered, 2 * len(BLOCK))
            client.go()
            self.assertGreater(len(client.received), before)
        self.assertEqual(client.received[: len(BLOCK)], BLOCK)

    def test_producer_ends(self) -> None:
        """A close waits for the producer, and is a clean one."""
        client = self.dial(self.serve(Chargen))
        self.transports[0].loseConnection()
        self.assertTrue(self.transports[0].disconnecting)
        client.go()
        self.assertEqual(client.ended, ["close_notify", "end"])
        self.assertEqual(len(client.received) % len(BLOCK), 0)

    def test_producer_and_daemon(self) -> None:
        """So it does when the daemon closes the connection below."""
        client = self.dial(self.serve(Chargen))
        self.connection.loseConnection()
        client.go()
        self.assertEqual(client.ended[-1], "end")
        client.sock.close()
        self.reactor.turn(TURNS)
        self.assert_ended()

    def test_push_producer(self) -> None:
        """A producer that pushes is paused while too much is not sent."""
        client = self.dial(self.serve())
        producer = Producer()
        transport = self.transports[0]
        transport.registerProducer(producer, True)
        while not producer.calls:
            transport.write(bytes(16384))
        self.assertGreater(self.connection._buffered, HIGH_WATER)
        client.go()
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.assertRaises(RuntimeError, transport.registerProducer, producer, True)
        transport.unregisterProducer()
        transport.unregisterProducer()

    def test_pause(self) -> None:
        """A protocol that wants no more is not read for, until it does."""
        client = self.dial(self.serve())
        self.transports[0].pauseProducing()
        client.say(b"hello")
        self.assertEqual(client.received, b"")
        self.transports[0].resumeProducing()
        client.go()
        self.assertEqual(client.received, b"hello")


class TransportTests(LayerCase):
    """Tests for what protocols have of their transport."""

    def test_connection(self) -> None:
        """It has the addresses and the id of the connection."""
        self.dial(self.serve())
        [transport] = self.transports
        self.assertEqual(transport.connection_id, self.connection.connection_id)
        self.assertEqual(transport.getPeer(), self.connection.getPeer())
        self.assertEqual(transport.getHost(), self.connection.getHost())

    def test_write(self) -> None:
        """It takes bytes, and nothing else."""
        client = self.dial(self.serve())
        [transport] = self.transports
        transport.write(b"")
        transport.writeSequence([b"hel", b"lo"])
        for wrong in ("text", bytearray(b"x"), None):
            self.assertRaises(TypeError, transport.write, wrong)
        client.go()
        self.assertEqual(client.received, b"hello")

    def test_stop_producing(self) -> None:
        """A consumer of what is read that is gone closes the connection."""
        client = self.dial(self.serve())
        self.transports[0].stopProducing()
        client.go()
        self.assertEqual(client.ended, ["close_notify", "end"])
