"""Tests of faults below and above TLS."""

from __future__ import annotations

from typing import Any

from socketd.net.stream.connection import StreamConnection
from socketd.net.stream.write_buffer import HIGH_WATER
from socketd.protocols.measure.chargen import Chargen
from socketd.settings.faults.profile import PROTOCOL, WIRE
from socketd.settings.faults.values import NEVER_READ, SILENT, Accept, After, Latency, Slices
from tests.net.faults.faulty_case import drawn
from tests.net.tls.layer_case import Client, LayerCase
from tests.support.fakes import HalfCloseable, Producer, Recorder, connect, read_all

LATE = Latency(0.08)


class FaultyLayerCase(LayerCase):
    """A test with a service behind TLS that misbehaves."""

    def meet(self, make: Any = None, **options: Any) -> Client:
        """Connect a client to a service with a profile of these options."""
        self.draw = drawn(**options)
        return self.dial(self.serve(make))

    def wait(self, client: Client, seconds: float) -> None:
        """Let time pass, and see what comes of it."""
        self.reactor.advance(seconds)
        client.go()

    @property
    def acted(self) -> dict[str, int]:
        """On how many connections each fault has acted."""
        return dict(self.service_state.counters.faults)


class WireTests(FaultyLayerCase):
    """Below TLS, the records are delayed, and the handshake with them."""

    def test_reset_in_handshake(self) -> None:
        """The client is reset when it has read so much of the server's flight."""
        client = self.meet(reset=After(size=100))
        self.wait(client, 0.01)
        self.assertEqual((client.ended, client.received, self.secured), (["end"], b"", []))
        self.assertEqual(self.connection.bytes_sent, 100)
        self.assertEqual((self.failed, self.acted), ([], {"reset": 1}))

    def test_reset_at_once(self) -> None:
        """The client is reset before it gets a byte."""
        client = self.meet(reset=After(seconds=0.0))
        self.assertEqual((client.ended, self.connection.bytes_sent), (["reset"], 0))
        self.assertEqual(self.acted, {"reset": 1})
        self.assertFalse(self.connection.connected)

    def test_latency(self) -> None:
        """Each flight takes its time, and so does the answer; close_notify comes last."""
        client = self.meet(latency=LATE)
        self.assertEqual(self.secured, [])
        self.wait(client, 0.08)
        self.assertEqual(len(self.secured), 1)
        client.say(b"hello")
        self.assertEqual(client.received, b"")
        self.transports[0].loseConnection()
        client.go()
        self.assertEqual(client.ended, [])
        self.wait(client, 0.08)
        self.assertEqual((client.received, client.ended), (b"hello", ["close_notify", "end"]))

    def test_slices(self) -> None:
        """Records arrive in pieces, and whole."""
        client = self.meet(slice=Slices(1, 9))
        client.say(b"x" * 5000)
        client.go(100)
        self.assertEqual(client.received, b"x" * 5000)

    def test_cut(self) -> None:
        """A close in the middle is no end of TLS."""
        client = self.meet(latency=Latency(0.0), close=After(size=8000))
        client.say(b"x" * 30000)
        self.assertEqual(client.ended, ["end"])
        self.assertEqual((self.connection.bytes_sent, self.acted["close"]), (8000, 1))

    def test_silent(self) -> None:
        """A client gets no answer to its hello, and is not timed out in its handshake."""
        client = self.meet(accept=Accept(SILENT))
        self.reactor.advance(600)
        client.go()
        self.assertEqual((client.ended, self.secured), ([], []))

    def test_peer_ends(self) -> None:
        """A client that ends TLS gets what is held before."""
        client = self.meet(latency=LATE)
        self.wait(client, 0.08)
        client.say(b"hello")
        client.tls.shutdown()
        client.go()
        self.wait(client, 0.08)
        self.assertEqual((client.received, client.ended), (b"hello", ["close_notify", "end"]))


class ProtocolTests(FaultyLayerCase):
    """Above TLS, the handshake is as ever, and what the protocol says is held."""

    def test_latency(self) -> None:
        """Only the answer is late; it is held as plain text, and counts."""
        client = self.meet(latency=LATE, at=PROTOCOL)
        self.assertEqual(len(self.secured), 1)
        client.say(b"hello")
        self.assertEqual((client.received, self.connection._buffered), (b"", 5))
        self.wait(client, 0.08)
        self.assertEqual((client.received, self.connection._buffered), (b"hello", 0))

    def test_reset(self) -> None:
        """The client has decrypted so many bytes when it is reset."""
        client = self.meet(reset=After(size=100), at=PROTOCOL)
        client.say(b"x" * 300)
        self.wait(client, 0.01)
        self.assertEqual((client.received, client.ended), (b"x" * 100, ["end"]))
        self.assertFalse(self.connection.connected)

    def test_close(self) -> None:
        """A close ends TLS as it should, after so many bytes."""
        client = self.meet(close=After(size=1024), at=PROTOCOL)
        client.say(b"x" * 3000)
        self.assertEqual(client.received, b"x" * 1024)
        self.assertEqual(client.ended, ["close_notify", "end"])

    def test_at_once(self) -> None:
        """At once is when the handshake is done."""
        client = self.meet(close=After(seconds=0.0), at=PROTOCOL)
        self.assertEqual((len(self.secured), client.ended), (1, ["close_notify", "end"]))

    def test_close_waits(self) -> None:
        """A close of the protocol comes after what it said."""

        class Greeting(Recorder):
            def connectionMade(self) -> None:
                self.transport.write(b"welcome")
                self.transport.loseConnection()

        client = self.meet(Greeting, latency=LATE, at=PROTOCOL)
        self.assertEqual((client.received, client.ended), (b"", []))
        self.wait(client, 0.08)
        self.assertEqual((client.received, client.ended), (b"welcome", ["close_notify", "end"]))

    def test_peer_ends(self) -> None:
        """When the client ends TLS, what is held is sent at once, since nothing can be later."""
        client = self.meet(latency=LATE, at=PROTOCOL)
        client.say(b"hello")
        client.tls.shutdown()
        client.go()
        self.assertEqual((client.received, client.ended), (b"hello", ["close_notify", "end"]))

    def test_silent(self) -> None:
        """A silent service has agreed on its keys, and says nothing, also at the end."""
        client = self.meet(accept=Accept(SILENT), at=PROTOCOL)
        client.say(b"hello")
        self.wait(client, 600)
        self.assertEqual((client.received, client.ended, self.heard), (b"", [], ["hello"]))
        client.tls.shutdown()
        client.go()
        self.assertEqual((client.received, client.ended), (b"", ["close_notify", "end"]))

    def test_never_read(self) -> None:
        """After the handshake nothing is read."""
        client = self.meet(accept=Accept(NEVER_READ), at=PROTOCOL)
        client.say(b"hello")
        self.assertEqual((len(self.secured), self.heard), (1, []))

    def test_backpressure(self) -> None:
        """Held plain text stops the reading, and a producer of it waits."""
        client = self.meet(lambda: Recorder(), latency=LATE, at=PROTOCOL)
        producer, transport = Producer(), self.transports[0]
        transport.registerProducer(producer, True)
        transport.write(b"x" * (HIGH_WATER + 1))
        self.assertEqual(producer.calls, ["pause"])
        self.assertNotIn(self.connection, self.reactor.readers)
        self.wait(client, 0.08)
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.assertEqual(len(client.received), HIGH_WATER + 1)

    def test_pull_producer(self) -> None:
        """A producer that is asked for each block is asked when the last one was sent."""
        client = self.meet(Chargen, latency=LATE, close=After(size=50_000), at=PROTOCOL)
        for _ in range(5):
            self.wait(client, 0.08)
        self.assertEqual(len(client.received), 50_000)
        self.assertEqual(client.ended, ["close_notify", "end"])

    def test_removed(self) -> None:
        """What is held is sent, and all later output as by any other connection."""
        client = self.meet(latency=LATE, at=PROTOCOL)
        client.say(b"one ")
        self.connection.change_fault(None)
        client.say(b"two")
        self.assertEqual(client.received, b"one two")
        self.assertIs(type(self.connection), StreamConnection)

    def test_changed(self) -> None:
        """A profile that begins on a live connection acts where it says."""
        for at in (WIRE, PROTOCOL):
            client = self.meet(latency=LATE, at=PROTOCOL)
            self.connection.change_fault(drawn(latency=Latency(1.0), at=at))
            client.say(b"hello")
            self.wait(client, 0.9)
            self.assertEqual(client.received, b"")
            self.wait(client, 0.1)
            self.assertEqual(client.received, b"hello", at)

    def test_removed_in_handshake(self) -> None:
        """A profile that has not yet begun is taken away."""
        self.draw = drawn(latency=LATE, at=PROTOCOL)
        peer = self.accept(self.serve())
        self.connection.change_fault(None)
        self.assertIsNone(self.connection.fault)
        self.assertEqual(read_all(peer), (b"", False))

    def test_half_close(self) -> None:
        """The writing side is shut down, as far as TLS has one."""
        client = self.meet(HalfCloseable, half_close=After(size=5), at=PROTOCOL)
        self.transports[0].write(b"hello world")
        client.go()
        self.assertEqual((client.received, client.ended[:1]), (b"hello", ["close_notify"]))


class StartTlsTests(FaultyLayerCase):
    """TLS that a protocol starts is on a wire that misbehaves."""

    def test_started(self) -> None:
        """What was said in plain text comes first, all of it late; the profile may go."""
        for at in (WIRE, PROTOCOL):
            self.draw = drawn(latency=LATE, at=at)
            protocol = Recorder(bytes.upper)
            connection, peer = connect(self.reactor, protocol, self.service_state, draw=self.draw)
            self.opened.append(peer)
            protocol.transport.write(b"ready")
            protocol.transport.startTLS(self.context())
            self.assertEqual(read_all(peer), (b"", False))
            self.reactor.advance(0.08)
            self.assertEqual(read_all(peer), (b"ready", False))
            client = self.client(peer)
            client.go()
            self.wait(client, 0.08)
            client.say(b"hello")
            self.assertEqual(client.received, b"")
            connection.change_fault(None)
            client.say(b" again")
            self.assertEqual(client.received, b"HELLO AGAIN")
