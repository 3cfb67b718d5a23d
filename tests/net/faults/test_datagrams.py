"""Tests for L{socketd.net.faults.datagrams}, without sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyClass

from socketd.net.datagram.port import DatagramPort
from socketd.net.faults.datagrams import (
    FAULT_QUEUE,
    MAX_BACKLOG,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_REORDER_WAIT,
)
from socketd.settings.faults.values import Accept, Latency, Loss, Reorder
from tests.net.faults.faulty_case import ALICE, BOB, FaultyCase, make_faults

LETTERS = [b"a", b"b", b"c", b"d", b"e", b"f"]

#: A delay without jitter.
FIFTY = Latency(0.05, 0.0, "uniform")


def differing_bits(one: bytes, other: bytes) -> int:
    """Count the bits in which two strings of the same length differ."""
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


class LatencyTests(FaultyCase):
    """Tests for C{latency}."""

    def test_delay(self) -> None:
        """Each answer leaves so much later, whatever came before it."""
        self.serve(latency=FIFTY)
        self.ask(b"a")
        self.clock.advance(0.02)
        self.ask(b"b")
        self.assertEqual(self.sent, [])
        self.clock.pump([0.029, 0.001, 0.019, 0.001])
        self.assertEqual(self.times, [(50.0, b"a"), (70.0, b"b")])
        self.check_counted(latency=2)
        self.check_empty()

    def test_order(self) -> None:
        """Answers of the same time leave in their order, each to its peer."""
        self.serve(latency=FIFTY)
        for letter in LETTERS:
            self.ask(letter, source=ALICE)
            self.ask(letter, source=BOB)
        self.clock.advance(0.05)
        found = [(datagram, source) for _, datagram, source in self.port.sent]
        self.assertEqual(found, [(letter, who) for letter in LETTERS for who in (ALICE, BOB)])

    def test_jitter(self) -> None:
        """With jitter a later answer may leave first, as with netem; none is early or late."""
        self.serve(latency=Latency(0.05, 0.02, "uniform"))
        self.ask(*(b"%d" % number for number in range(100)))
        self.clock.pump([0.001] * 72)
        times = [when for when, _ in self.times]
        self.assertEqual(len(times), 100)
        self.assertTrue(30 <= times[0] and times[-1] <= 71, times)
        order = [int(datagram) for datagram in self.sent]
        self.assertNotEqual(order, sorted(order))
        self.check_empty()

    def test_late_timer(self) -> None:
        """A reactor that is late sends all that was due, in the order of the times."""
        self.serve(latency=Latency(0.05, 0.02, "uniform"))
        self.ask(*LETTERS)
        due = sorted(self.faulty._queue)
        self.clock.advance(10)
        self.assertEqual(self.sent, [held.datagram for _, _, held in due])


class DamageTests(FaultyCase):
    """Tests for C{loss}, C{corrupt}, C{truncate} and C{duplicate}."""

    def test_loss(self) -> None:
        """The answers are lost; the questions are not."""
        self.serve(loss=Loss(1.0, 0.0))
        self.ask(*LETTERS)
        self.assertEqual(self.sent, [])
        self.assertEqual(self.protocol.received, LETTERS)
        self.check_counted(loss=6)
        self.check_empty()

    def test_corrupt(self) -> None:
        """One bit of an answer is another one; an empty answer has none."""
        self.serve(corrupt=1.0)
        questions = [bytes([number]) * (number + 1) for number in range(50)]
        self.ask(*questions, b"")
        for question, answer in zip(questions, self.sent):
            self.assertEqual(differing_bits(question, answer), 1)
        self.assertEqual(self.sent[-1], b"")
        self.check_counted(corrupt=50)

    def test_truncate(self) -> None:
        """An answer loses its end; an empty one has none."""
        self.serve(truncate=1.0)
        self.ask(*[b"0123456789"] * 50, b"")
        for answer in self.sent[:50]:
            self.assertTrue(b"0123456789".startswith(answer) and len(answer) < 10, answer)
        self.assertGreater(len(set(self.sent)), 3)
        self.check_counted(truncate=50)

    def test_duplicate(self) -> None:
        """A source that cannot be forged has each answer twice."""
        self.serve(duplicate=1.0)
        self.ask(b"a", b"bb")
        self.assertEqual(self.sent, [b"a", b"a", b"bb", b"bb"])
        self.check_counted(duplicate=2)

    def test_duplicate_fits(self) -> None:
        """
        For any other source both answers count against the length of the question: the copy
        is left out, or sent where the answer is short.
        """

        class Half(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.transport.write(datagram[: len(datagram) // 2], addr)

        self.port.trusted = False
        self.serve(duplicate=1.0)
        self.ask(b"echo")
        self.assertEqual((self.sent, self.port.refused), ([b"echo"], [4]))
        self.check_counted()
        self.serve(Half(), duplicate=1.0)
        self.ask(b"abcdef", b"abcde")
        self.assertEqual(self.sent, [b"echo", b"abc", b"abc", b"ab", b"ab"])
        self.check_counted(duplicate=2)

    def test_too_long(self) -> None:
        """An answer that is too long has no faults: it is refused as always."""

        class Longer(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.transport.writeSequence([datagram, b"!"], addr)

        self.port.trusted = False
        self.serve(Longer(), truncate=1.0, latency=FIFTY)
        self.ask(b"abc")
        self.assertEqual(self.port.refused, [4])
        self.check_counted()
        self.check_empty()


class ReorderTests(FaultyCase):
    """Tests for C{reorder}."""

    def test_gap(self) -> None:
        """An answer waits until so many later ones have left."""
        for gap, expected in ((1, b"bacdef"), (3, b"bcdaef"), (5, b"bcdefa")):
            self.port.sent.clear()
            self.serve(reorder=Reorder(1.0, gap), first=1)
            self.ask(*LETTERS)
            self.assertEqual(b"".join(self.sent), expected)
            self.clock.advance(MAX_REORDER_WAIT)
            self.check_empty()
        self.check_counted(reorder=3)

    def test_two_wait(self) -> None:
        """Answers that wait themselves do not pass one another."""
        self.serve(reorder=Reorder(1.0, 2), first=2)
        self.ask(*LETTERS)
        self.assertEqual(b"".join(self.sent), b"cdabef")

    def test_the_last(self) -> None:
        """One that no other passes leaves after a while, and is not lost."""
        self.serve(reorder=Reorder(1.0, 3))
        self.ask(b"a")
        self.clock.advance(1)
        self.ask(b"b", b"c")
        self.clock.advance(MAX_REORDER_WAIT - 1)
        self.assertEqual(self.sent, [b"a"])
        self.clock.advance(1)
        self.assertEqual(self.sent, [b"a", b"b", b"c"])
        self.check_empty()

    def test_sources(self) -> None:
        """Only answers to the same source pass."""
        self.serve(reorder=Reorder(1.0, 1), first=1)
        self.ask(b"a", source=ALICE)
        self.ask(b"b", source=BOB)
        self.ask(b"c", source=BOB)
        self.assertEqual(self.sent, [b"c", b"b"])
        self.ask(b"d", source=ALICE)
        self.assertEqual(self.sent, [b"c", b"b", b"d", b"a"])

    def test_lost_do_not_pass(self) -> None:
        """What is lost passes nothing."""
        self.serve(reorder=Reorder(1.0, 1), first=1)
        self.ask(b"a")
        self.faulty.faults = make_faults(loss=Loss(1.0, 0.0), first=2)
        self.ask(b"b", b"c")
        self.assertEqual(self.sent, [])
        self.ask(b"d")
        self.assertEqual(self.sent, [b"d", b"a"])

    def test_with_latency(self) -> None:
        """The delay begins when it has been passed, so that it leaves behind the later ones."""
        self.serve(reorder=Reorder(1.0, 2), first=1, latency=FIFTY)
        self.ask(b"a")
        self.faulty.faults = make_faults(latency=FIFTY)
        self.ask(b"b", b"c", b"d")
        self.clock.advance(0.05)
        self.assertEqual(b"".join(self.sent), b"bcad")
        self.check_empty()


class BandwidthTests(FaultyCase):
    """Tests for C{bandwidth}."""

    def test_spacing(self) -> None:
        """Each answer takes its length through the rate, and waits for those before it."""
        self.serve(bandwidth=1000)
        self.ask(b"x" * 100, b"y" * 50)
        self.clock.pump([0.1, 0.05])
        self.assertEqual([when for when, _ in self.times], [100.0, 150.0])
        self.ask(b"z" * 10)
        self.clock.advance(0.01)
        self.assertEqual(self.times[-1], (160.0, b"z" * 10))
        self.check_counted(bandwidth=3)
        self.check_empty()

    def test_sources(self) -> None:
        """Each source has the whole bandwidth."""
        self.serve(bandwidth=1000, latency=FIFTY)
        self.ask(b"x" * 100, b"y" * 100, source=ALICE)
        self.ask(b"x" * 100, source=BOB)
        self.clock.pump([0.05] * 5)
        self.assertEqual([when for when, _ in self.times], [150.0, 150.0, 250.0])
        self.check_empty()

    def test_backlog(self) -> None:
        """What would wait longer than any client does is dropped and counted."""
        self.serve(bandwidth=10)
        self.ask(*[b"0123456789"] * 61)
        self.assertEqual(self.faulty._held, 60)
        self.assertEqual(self.service_state.counters.datagrams_dropped, {FAULT_QUEUE: 1})
        self.clock.pump([1] * int(MAX_BACKLOG))
        self.assertEqual(len(self.sent), 60)
        self.check_empty()


class BoundTests(FaultyCase):
    """Tests for what is held at most."""

    def test_number(self) -> None:
        """So many answers are held, the next ones are dropped and counted."""
        self.serve(latency=FIFTY)
        self.ask(*[b""] * (MAX_HELD + 3))
        self.assertEqual(self.service_state.counters.datagrams_dropped, {FAULT_QUEUE: 3})
        self.clock.advance(0.05)
        self.assertEqual(len(self.sent), MAX_HELD)
        self.check_empty()
        self.ask(b"again")
        self.clock.advance(0.05)
        self.assertEqual(self.sent[-1], b"again")

    def test_bytes(self) -> None:
        """So many bytes are held; both copies of a duplicate count, and those that wait."""
        size = MAX_HELD_BYTES // 80
        self.serve(latency=FIFTY, duplicate=1.0, reorder=Reorder(1.0, 1), first=40)
        self.ask(*[bytes(size)] * 40, b"x" * size, b"y" * size)
        self.assertEqual(self.service_state.counters.datagrams_dropped, {})
        self.ask(bytes(size), source=BOB)
        self.assertEqual(self.service_state.counters.datagrams_dropped, {FAULT_QUEUE: 1})
        self.clock.advance(0.05)
        self.assertEqual(len(self.sent), 82)
        self.check_empty()


class EndTests(FaultyCase):
    """Tests for the end of a profile, and for another one."""

    def test_end(self) -> None:
        """What is held is sent at once, in the order of the questions; no timer is left."""
        self.serve(latency=Latency(0.05, 0.04, "uniform"), reorder=Reorder(0.5, 2))
        self.ask(*LETTERS)
        self.faulty.end()
        self.assertEqual(self.sent, LETTERS)
        self.check_empty()

    def test_late_answers(self) -> None:
        """An answer that a protocol gives after the end has no faults."""
        questions: list[Any] = []

        class Late(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                questions.append(self.transport.question())

        self.serve(Late(), latency=FIFTY)
        self.ask(b"a", b"b")
        questions[0].answer(b"1")
        self.clock.advance(0.05)
        self.assertEqual(self.times, [(50.0, b"1")])
        self.faulty.end()
        questions[1].answer(b"2")
        self.assertEqual(self.times, [(50.0, b"1"), (50.0, b"2")])
        self.check_empty()

    def test_other_profile(self) -> None:
        """Another profile holds for the next datagrams; those that are held keep their times."""
        self.serve(latency=FIFTY)
        self.ask(b"a")
        self.faulty.faults = make_faults(latency=Latency(0.01, 0.0, "uniform"))
        self.ask(b"b")
        self.clock.pump([0.01, 0.04])
        self.assertEqual(self.times, [(10.0, b"b"), (50.0, b"a")])


class ChosenTests(FaultyCase):
    """Tests for which datagrams have faults, and for what is passed on unchanged."""

    def test_interface(self) -> None:
        """It is a transport for datagrams, and the rest of it is the port."""
        self.assertTrue(verifyClass(IUDPTransport, DatagramPort))
        self.serve()
        self.assertIs(self.protocol.transport.clock, self.clock)
        self.assertRaises(AttributeError, getattr, self.protocol.transport, "no_such_thing")

    def test_first_and_skip(self) -> None:
        """Others go straight to the port, and overtake what is held."""
        self.serve(latency=FIFTY, skip=1, first=2)
        self.ask(*LETTERS)
        self.assertEqual(self.sent, [b"a", b"d", b"e", b"f"])
        self.clock.advance(0.05)
        self.assertEqual(self.sent[4:], [b"b", b"c"])
        self.check_counted(latency=2)

    def test_silent(self) -> None:
        """C{silent} reads and does not answer, C{never-read} does not hand over."""
        self.serve(accept=Accept("silent", 0.0))
        self.ask(b"a")
        self.assertEqual((self.sent, self.protocol.received), ([], [b"a"]))
        self.serve(accept=Accept("never-read", 0.0), skip=1)
        self.ask(b"b", b"c", b"d")
        self.assertEqual((self.sent, self.protocol.received), ([b"b"], [b"b"]))
        self.check_counted(silent=1, never_read=2)

    def test_other_addresses(self) -> None:
        """What is written to another address has no faults."""

        class Elsewhere(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                self.transport.write(datagram, BOB)

        self.serve(Elsewhere(), loss=Loss(1.0, 0.0))
        self.ask(b"a")
        self.assertEqual(self.port.sent, [(0.0, b"a", BOB)])
        self.check_counted()

    def test_failing_protocol(self) -> None:
        """A protocol that raises has its draw forgotten, and the port hears of it."""

        class Failing(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                raise ValueError("a fault of the protocol")

            def connectionRefused(self) -> None:
                raise ValueError("no peer")

        self.serve(Failing(), loss=Loss(1.0, 0.0))
        self.assertRaises(ValueError, self.ask, b"a")
        self.faulty.write(b"later", ALICE)
        self.assertEqual(self.sent, [b"later"])
        self.assertRaises(ValueError, self.faulty.connectionRefused)

    def test_repeated(self) -> None:
        """With the same seed all is the same again, however clients take turns."""
        options: dict[str, Any] = {
            "latency": Latency(0.05, 0.02, "uniform"), "loss": Loss(0.2, 0.3), "duplicate": 0.2,
            "reorder": Reorder(0.2, 2), "corrupt": 0.2, "truncate": 0.2, "share": 0.8,
        }  # fmt: skip
        questions = [b"question %d" % number for number in range(200)]

        def run(*asked: tuple[bytes, Any]) -> dict[Any, list[bytes]]:
            self.port.sent.clear()
            self.serve(**options)
            for question, source in asked:
                self.ask(question, source=source)
            self.clock.pump([MAX_REORDER_WAIT, 1])
            found: dict[Any, list[bytes]] = {ALICE: [], BOB: []}
            for _, datagram, source in self.port.sent:
                found[source].append(datagram)
            return found

        in_turn = run(*[(question, who) for question in questions for who in (ALICE, BOB)])
        after = run(*[(question, who) for who in (BOB, ALICE) for question in questions])
        self.assertEqual(in_turn, after)
        self.assertNotEqual(in_turn[ALICE], in_turn[BOB])
