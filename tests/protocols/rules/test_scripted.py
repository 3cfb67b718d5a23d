"""Tests for L{socketd.protocols.rules.scripted}: conversations by rule."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from socketd.common.counters import DELAY_QUEUE, TOO_LONG
from socketd.protocols.framing import BATCH_BYTES
from socketd.protocols.rules.options import parse_rules
from socketd.protocols.rules.scripted import MAX_DELAYED
from socketd.protocols.spec import IDrainable
from tests.protocols.fakes import (
    PEER,
    FakeDatagramTransport,
    Wire,
    context,
    declaration_of,
    make_stream,
)
from tests.protocols.feeding import Make, Outcome, feed, outcomes


class PullingWire(Wire):
    """A wire that asks its producer for more as the daemon's connections do."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        self.pending = False
        producer.resumeProducing()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.pending = self.producer is not None

    def read_all(self) -> bytes:
        """Read as a peer does, which makes room for more."""
        if self.pending and self.producer is not None:
            self.pending = False
            self.producer.resumeProducing()
        return self.taken()

    pending = False


def ruled(rules: str, **options: Any) -> Make:
    """Say how to make a C{reply} with rules."""
    return lambda: make_stream("reply", rules=parse_rules(rules), **options)


class StreamTests(SynchronousTestCase):
    """Tests for messages of connections."""

    def test_first(self) -> None:
        """The first rule that matches answers; what none matches has no answer, or C{reply}."""
        rules = '"a" -> "1"\nprefix "a" -> "2"\n"b" -> silent'
        found = feed(ruled(rules), [b"a", b"ab", b"b", b"x"])
        self.assertEqual(found, Outcome(b"12", False))
        found = feed(ruled(rules, reply=b"?"), [b"a", b"b", b"x", b""])
        self.assertEqual(found, Outcome(b"1?", False))

    def test_lines(self) -> None:
        """With lines, their ends belong to no pattern, however the lines arrive."""
        rules = '"AT" -> "OK\\r\\n"\n/^AT(.*)$/ -> "[\\1]"\nhex 00 .. -> "hex"\n"" -> "nothing"'
        found = outcomes(ruled(rules, framing="line"), b"AT\r\nAT\nATZ1\r\n\0\1\n\r\nAT", True)
        self.assertEqual(found, {Outcome(b"OK\r\nOK\r\n[Z1]hexnothingOK\r\n", True)})

    def test_delimiter(self) -> None:
        """So it is with other ends; a length is part of the message."""
        found = outcomes(ruled('"AT" -> "ok"', framing=r"delimiter:\x03"), b"AT\x03no\x03AT\x03")
        self.assertEqual(found, {Outcome(b"okok", False)})
        found = outcomes(ruled("hex 00 01 .. -> hex 00 00", framing="length:2"), b"\0\1x\0\2xy")
        self.assertEqual(found, {Outcome(b"\0\0", False)})

    def test_greeting(self) -> None:
        """A greeting is sent at the connection, with rules or without."""
        self.assertEqual(feed(ruled('"a" -> "b"', greeting=b"hi"), [b"a"]).sent, b"hib")
        found = feed(lambda: make_stream("reply", reply=b"R", greeting=b"hi "), [b"a", b"b"])
        self.assertEqual(found, Outcome(b"hi RR", False))

    def test_close(self) -> None:
        """After C{close} nothing is answered; the option closes after the first answer."""
        found = feed(ruled('"q" -> "bye", close\n"k" -> close\n* -> "x"'), [b"a", b"q", b"a"])
        self.assertEqual(found, Outcome(b"xbye", True))
        self.assertEqual(feed(ruled('"k" -> close'), [b"k"]), Outcome(b"", True))
        once = ruled('"s" -> silent\n* -> "x"', close=True)
        self.assertEqual(feed(once, [b"s", b"a", b"b"]), Outcome(b"x", True))

    def test_reset(self) -> None:
        """C{reset} sends its answer and resets; what came with it is not answered."""
        protocol, wire = ruled('"r" -> "x", reset\n* -> "y"', framing="line")(), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(b"r\ny\n")
        self.assertEqual((wire.value(), wire.disconnected), (b"x", True))
        protocol.dataReceived(b"y\n")
        self.assertEqual(wire.value(), b"x")

    def test_times(self) -> None:
        """C{times} counts in one connection; then the next rules have their turn."""
        rules = '"a" -> "1", times 2\n"a" -> "2", times 1\n* -> "3", times 3'
        for _ in range(2):
            self.assertEqual(feed(ruled(rules), [b"a"] * 9).sent, b"112333")

    def test_every(self) -> None:
        """C{every} counts the messages that reach the rule."""
        rules = '"a" -> "A"\nevery 3rd -> "3"\n* -> "x"'
        found = feed(ruled(rules), [b"a", b"x", b"a", b"x", b"a", b"x", b"x", b"x", b"x"])
        self.assertEqual(found.sent, b"AxAxA3xx3")
        self.assertEqual(feed(ruled('every 2nd -> "2", times 1'), [b"x"] * 6).sent, b"2")

    def test_groups(self) -> None:
        """An answer has the groups of the message; one without a part is empty."""
        rules = r'/(..)=(\d+)?;/ -> "\2\1\2\x00"' + "\n" + r"/^(.)$/ -> hex 0a \1 \1"
        found = feed(ruled(rules), [b"xab=12;y", b"ab=;", b"\xff"])
        self.assertEqual(found.sent, b"12ab12\0ab\0\n\xff\xff")

    def test_long_search(self) -> None:
        """Messages that take an expression long end a batch, so that others have their turn."""
        rules = ruled("/a{500}/ -> silent", framing="line")
        protocol: Any = rules()
        wire = Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived((b"b" * 4000 + b"\n") * 8)
        self.assertIs(wire.producer, protocol)
        while wire.producer is not None:
            protocol.resumeProducing()
        self.assertFalse(wire.paused)


class TimeTestCase(SynchronousTestCase):
    """A conversation on a clock."""

    def begin(self, rules: str, **options: Any) -> Any:
        """Connect a peer."""
        around = context()
        self.clock: Any = around.clock
        self.wire = PullingWire()
        self.protocol = make_stream("reply", around, rules=parse_rules(rules), **options)
        self.protocol.makeConnection(self.wire)
        return self.protocol

    def pass_time(self, *seconds: float) -> list[bytes]:
        """Let time pass, and return what was sent in each part of it."""
        found = []
        for part in seconds:
            self.clock.advance(part)
            found.append(self.wire.read_all())
        return found


class DelayTests(TimeTestCase):
    """Tests for C{after}."""

    def test_order(self) -> None:
        """A delayed answer comes when its time is over, and later messages wait for it."""
        protocol = self.begin('"a" -> "1", after 2s\n"b" -> "2"', framing="line")
        protocol.dataReceived(b"b\na\nb\na\n")
        self.assertEqual(self.wire.taken(), b"2")
        protocol.dataReceived(b"b\n")
        self.assertEqual(
            self.pass_time(1.5, 0.5, 0, 1.9, 0.1, 9), [b"", b"12", b"", b"", b"12", b""]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_actions(self) -> None:
        """So do the actions that go with it."""
        protocol = self.begin('"a" -> "1", after 2s, close\n"r" -> reset, after 1s')
        protocol.dataReceived(b"a")
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.pass_time(2), [b"1"])
        self.assertTrue(self.wire.disconnecting)
        protocol = self.begin('"r" -> reset, after 1s')
        protocol.dataReceived(b"r")
        self.pass_time(0.9)
        self.assertFalse(self.wire.disconnected)
        self.pass_time(0.1)
        self.assertTrue(self.wire.disconnected)

    def test_silent(self) -> None:
        """A delay without an answer holds the next message only."""
        protocol = self.begin('"a" -> silent, after 2s\n* -> "x"', framing="line")
        protocol.dataReceived(b"a\nb\n")
        self.assertEqual(self.pass_time(1.9, 0.1), [b"", b"x"])

    def test_end(self) -> None:
        """A peer that has ended its input gets the answer, then the connection closes."""
        protocol = self.begin('"a" -> "1", after 2s')
        protocol.dataReceived(b"a")
        protocol.readConnectionLost()
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.pass_time(2), [b"1"])
        self.assertTrue(self.wire.disconnecting)

    def test_lost(self) -> None:
        """With the connection its timers end."""
        protocol = self.begin('"a" -> "1", after 2s\nidle 9s -> "?"')
        protocol.dataReceived(b"a")
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_drain(self) -> None:
        """
        A daemon that stops sends the delayed answer, and those of the messages that have come
        after it; then it closes. Without one it closes at once.
        """
        protocol = self.begin('"a" -> "1", after 2s\n"b" -> "2"\nidle 9s -> "?"', framing="line")
        verifyObject(IDrainable, protocol)
        protocol.dataReceived(b"a\nb\na\nb")
        protocol.drain()
        protocol.dataReceived(b"\nb\n")
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.pass_time(2, 0, 1.9), [b"12", b"", b""])
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.pass_time(0.1), [b"1"])
        self.assertTrue(self.wire.disconnecting)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        protocol = self.begin('"a" -> "1", after 2s\n"b" -> "2"', framing="line")
        protocol.dataReceived(b"b\na")
        protocol.drain()
        self.assertEqual((self.wire.taken(), self.wire.disconnecting), (b"2", True))

    def test_drain_at_the_end(self) -> None:
        """So it is for a peer that has ended its input."""
        protocol = self.begin('"a" -> "1", after 2s')
        protocol.dataReceived(b"a")
        protocol.readConnectionLost()
        protocol.drain()
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.pass_time(2), [b"1"])
        self.assertTrue(self.wire.disconnecting)

    def test_closing(self) -> None:
        """What is delayed when an operator closes is not sent."""
        protocol = self.begin('"a" -> "1", after 2s')
        protocol.dataReceived(b"a")
        self.wire.loseConnection()
        self.assertEqual(self.pass_time(2), [b""])
        self.assertIsNone(self.wire.producer)

    def test_not_read(self) -> None:
        """Answers to a peer that reads nothing do not pile up: one waits for the one before."""
        answer = "x" * BATCH_BYTES
        protocol = self.begin(f'* -> "{answer}", after 1s', framing="line")
        protocol.dataReceived(b"a\n" * 100)
        self.clock.advance(1)
        for _ in range(50):
            self.clock.advance(1)
        self.assertEqual(len(self.wire.value()), BATCH_BYTES)
        self.assertTrue(self.wire.paused)
        self.assertTrue(verifyObject(IPullProducer, protocol))
        self.wire.read_all()
        self.assertEqual(len(self.pass_time(1)[0]), BATCH_BYTES)


class IdleTests(TimeTestCase):
    """Tests for C{idle}."""

    def test_silence(self) -> None:
        """A rule speaks after each such silence, which data ends; its own words do not."""
        protocol = self.begin('idle 10s -> "?"\n"a" -> "b"', framing="line")
        self.assertEqual(self.pass_time(9, 1, 9.5, 0.5), [b"", b"?", b"", b"?"])
        protocol.dataReceived(b"a")
        self.assertEqual(self.pass_time(9), [b""])
        protocol.dataReceived(b"\n")
        self.assertEqual(self.pass_time(9, 0.5, 0.5), [b"b", b"", b"?"])

    def test_short(self) -> None:
        """One below a second is as short as it says."""
        self.begin('idle 100ms -> "?"')
        self.assertEqual(self.pass_time(0.1, 0.05, 0.05), [b"?", b"", b"?"])

    def test_framing(self) -> None:
        """A pause that ends a message is one of the same clock."""
        protocol = self.begin('"a" -> "b"', framing="idle:50ms")
        protocol.dataReceived(b"a")
        self.assertEqual(self.pass_time(0.04, 0.01), [b"", b"b"])

    def test_several(self) -> None:
        """Several wait for silences of their own; at one time the first one speaks."""
        self.begin('idle 3s -> "3", times 3\nidle 6s -> "6"\nidle 20s -> "bye", close')
        found = self.pass_time(*[1] * 20)
        self.assertEqual(
            [(n, said) for n, said in enumerate(found, 1) if said],
            [(3, b"3"), (6, b"3"), (9, b"3"), (12, b"6"), (18, b"6"), (20, b"bye")],
        )
        self.assertTrue(self.wire.disconnecting)
        self.assertEqual(self.pass_time(100), [b""])

    def test_busy(self) -> None:
        """While an answer is delayed the peer is not silent: it waits."""
        protocol = self.begin('idle 1s -> "?"\n"a" -> "b", after 5s')
        protocol.dataReceived(b"a")
        self.assertEqual(self.pass_time(1, 1, 1, 1, 1, 0.9, 0.1), [b""] * 4 + [b"b", b"", b"?"])

    def test_delayed(self) -> None:
        """What a silence says can be delayed, too; when all is said, there is no timer."""
        protocol = self.begin('idle 1s -> "?", after 500ms, times 1')
        self.assertEqual(self.pass_time(1, 0.5, 9), [b"", b"?", b""])
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_read(self) -> None:
        """To a peer that reads nothing it is said once."""
        self.begin('idle 1s -> "?"')
        for _ in range(20):
            self.clock.advance(1)
        self.assertEqual(self.wire.value(), b"?")


class DatagramTests(SynchronousTestCase):
    """Tests for datagrams."""

    def begin(self, rules: str, **options: Any) -> Any:
        """Make the protocol of a port."""
        declaration, around = declaration_of("reply"), context()
        self.clock: Any = around.clock
        self.transport = FakeDatagramTransport()
        assert declaration.datagram is not None
        chosen = declaration.options(rules=parse_rules(rules), **options)
        protocol = declaration.datagram(chosen, around)
        protocol.noisy = False
        protocol.makeConnection(self.transport)
        return protocol

    def ask(self, protocol: Any, *datagrams: bytes) -> list[bytes]:
        """Send datagrams, and return the answers so far."""
        for datagram in datagrams:
            protocol.datagramReceived(datagram, PEER)
        sent, self.transport.sent = self.transport.sent, []
        self.assertEqual({address for _, address in sent} - {PEER}, set())
        return [packet for packet, _ in sent]

    def test_rules(self) -> None:
        """A datagram is a message, without the end of its line; what none matches is dropped."""
        rules = '"a" -> "1", close\nprefix "b" -> silent\n"e" -> ""\n"c" -> reset\n/(.)!/ -> "\\1"'
        protocol = self.begin(rules, framing="line")
        found = self.ask(protocol, b"a", b"a\r\n", b"bb", b"c", b"x!", b"", b"e", b"z")
        self.assertEqual(found, [b"1", b"1", b"x", b""])

    def test_fallback(self) -> None:
        """C{reply} answers what no rule matches; a greeting is for connections."""
        protocol = self.begin('"a" -> "1"', reply=b"R", greeting=b"hello")
        self.assertEqual(self.ask(protocol, b"a", b"b"), [b"1", b"R"])

    def test_counts(self) -> None:
        """C{times} and C{every} count all datagrams of the port."""
        protocol = self.begin('"a" -> "1", times 2\nevery 2nd -> "2"')
        self.assertEqual(self.ask(protocol, *[b"a"] * 6), [b"1", b"1", b"2", b"2"])

    def test_too_long(self) -> None:
        """One that is longer than the longest message is dropped, and counted."""
        protocol = self.begin('* -> "x"', max_message=4)
        self.assertEqual(self.ask(protocol, b"1234", b"12345"), [b"x"])
        self.assertEqual(self.transport.dropped, [TOO_LONG])

    def test_after(self) -> None:
        """A delayed answer does not hold the others, and keeps the size rule of its datagram."""
        protocol = self.begin('"a" -> "1", after 2s\n"bcd" -> "xyz", after 1s\n* -> "0"')
        self.transport.allowance = 2
        self.assertEqual(self.ask(protocol, b"a", b"bcd", b"c"), [b"0"])
        self.clock.advance(1)
        self.assertEqual((self.ask(protocol), self.transport.refused), ([], [b"xyz"]))
        self.transport.allowance = 0
        self.clock.advance(1)
        self.assertEqual(self.ask(protocol), [b"1"])

    def test_bound(self) -> None:
        """So many answers may be delayed at a time, others are dropped; their timers end, too."""
        protocol = self.begin('* -> "1", after 2s')
        self.assertEqual(self.ask(protocol, *[b"a"] * (MAX_DELAYED + 5)), [])
        self.assertEqual(self.transport.dropped, [DELAY_QUEUE] * 5)
        self.clock.advance(2)
        self.assertEqual(len(self.ask(protocol)), MAX_DELAYED)
        self.ask(protocol, b"a")
        protocol.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
