"""Tests for L{socketd.protocols.measure.echo}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.measure.echo import NumberedEchoDatagrams, parse_sequence
from socketd.protocols.measure.sequence import EXPIRY, MAX_NUMBERED, NumberField
from socketd.protocols.spec import ProtocolContext
from tests.protocols.fakes import FakeDatagramTransport, answers, complaints, make_stream
from tests.protocols.feeding import Outcome, outcomes

EVERY_BYTE = bytes(range(256))


class EchoTests(SynchronousTestCase):
    """Tests for C{echo}."""

    def test_stream(self) -> None:
        """Every byte comes back, in order, and the connection stays."""
        for data in (b"", b"a", b"two\nlines", EVERY_BYTE):
            found = outcomes(lambda: make_stream("echo"), data)
            self.assertEqual(found, {Outcome(data, False)})

    def test_end(self) -> None:
        """It ends when the peer does."""
        found = outcomes(lambda: make_stream("echo"), EVERY_BYTE, then_end=True)
        self.assertEqual(found, {Outcome(EVERY_BYTE, True)})

    def test_datagrams(self) -> None:
        """Each datagram goes back to where it came from, an empty one too."""
        datagrams = [b"a", b"", EVERY_BYTE, b"x" * 65507]
        self.assertEqual(answers("echo", *datagrams), datagrams)


class SequenceOptionTests(SynchronousTestCase):
    """Tests for C{sequence}."""

    def test_places(self) -> None:
        """A place is an offset and a size, and ends within the longest datagram."""
        self.assertEqual(parse_sequence("0:4"), NumberField(0, 4))
        self.assertEqual(str(parse_sequence("65499:8")), "65499:8")
        for text in ("", "4", "0:3", "0:0", "-1:4", "a:4", "0:4:1", "٠:4", "65504:4", "99999:1"):
            self.assertRaises(ValueError, parse_sequence, text)

    def test_streams_only(self) -> None:
        """A service without datagrams has nothing to count."""
        ini = "[echo]\nlisten = tcp:7\nsequence = 0:4\n"
        self.assertIn("is for datagrams, and no listener here takes any", complaints(ini))


class SequenceTests(SynchronousTestCase):
    """Tests for C{echo} with C{sequence}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.context = ProtocolContext(lambda: 0.0, OperatorQueue(self.clock))
        self.transport = FakeDatagramTransport()
        self.counts = self.context.record.counters.numbered
        self.protocol = NumberedEchoDatagrams(NumberField(2, 2), self.context)
        self.protocol.noisy = False
        self.protocol.makeConnection(self.transport)

    def send(self, *numbers: int, port: int = 50000) -> None:
        """Send datagrams with these numbers, from one port."""
        for number in numbers:
            datagram = b"ab" + number.to_bytes(2, "big") + b"x"
            self.protocol.datagramReceived(datagram, ("192.0.2.1", port))
            self.assertEqual(self.transport.sent[-1], (datagram, ("192.0.2.1", port)))

    def test_answers(self) -> None:
        """They are answered as without it."""
        self.assertEqual(answers("echo", b"", b"abcd", sequence=NumberField(2, 2)), [b"", b"abcd"])

    def test_counts(self) -> None:
        """A gap is loss, what fills it late, what comes twice a duplicate, by source."""
        self.send(1, 2, 5, 4, 4)
        self.send(7, 8, 8, port=50001)
        self.assertEqual(
            self.counts, {"received": 8, "lost": 2, "late": 1, "duplicate": 2}
        )
        (_, first), (_, second) = self.context.record.sources.items()
        self.assertEqual((first.arrivals.lost, first.arrivals.late), (2, 1))
        self.assertEqual((second.arrivals.received, second.arrivals.duplicate), (3, 1))

    def test_wrap(self) -> None:
        """The numbers begin again at 0 behind the highest; that is no loss."""
        self.send(65534, 65535, 0, 1)
        self.assertEqual(+self.counts, {"received": 4})

    def test_short(self) -> None:
        """A datagram that ends before its number is echoed all the same."""
        self.protocol.datagramReceived(b"abc", ("192.0.2.1", 50000))
        self.assertEqual(self.transport.sent, [(b"abc", ("192.0.2.1", 50000))])
        self.protocol.datagramReceived(b"", ("192.0.2.1", 50000))
        self.assertEqual((self.counts, self.context.record.sources), ({"short": 2}, {}))

    def test_bounded(self) -> None:
        """A source too many takes the place of the one that was silent for longest."""
        for port in range(MAX_NUMBERED):
            self.send(1, port=port)
        self.send(2, port=0)
        self.send(1, port=MAX_NUMBERED)
        ports = {port for _, port in self.context.record.sources}
        self.assertEqual(len(ports), MAX_NUMBERED)
        self.assertEqual({0, 1, MAX_NUMBERED} & ports, {0, MAX_NUMBERED})

    def test_begins_again(self) -> None:
        """The state of a source that was silent for long is dropped: no jump is loss."""
        for number in (1, 3):
            self.clock.advance(EXPIRY)
            self.send(number)
        self.assertEqual(self.counts["lost"], 1)
        self.clock.advance(EXPIRY + 1)
        self.send(100)
        self.assertEqual(self.counts["lost"], 1)
