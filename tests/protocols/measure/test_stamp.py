"""Tests for L{socketd.protocols.measure.stamp}."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import cycle, islice
from random import Random
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from socketd.common.system_clock import ClockState
from socketd.net.datagram.cmsg import IpHeader
from socketd.protocols.batches import LARGEST_GROUP, STAY, IBatchProtocol
from socketd.protocols.measure.keys import Keys
from socketd.protocols.measure.sequence import MAX_SESSIONS
from socketd.protocols.measure.stamp import StampDatagrams
from socketd.protocols.measure.stamp_options import StampOptions, parse_dscps
from socketd.protocols.measure.stamp_packet import is_answer, timestamps
from tests.protocols.fakes import answers, context, declaration_of
from tests.protocols.measure import stamp_wire as wire
from tests.protocols.measure.stamp_fakes import CAME, NOW, PRIVATE, Reflector
from tests.protocols.slow import SlowBatch, SlowMachine, sent_at

KEY = b"0123456789abcdef"
KEYS = Keys("keys", {7: KEY}, None)

#: A sender of the Internet.
PUBLIC = ("192.0.2.1", 4711)

#: What a sender says.
SAID: Any = {"timestamp": 0x1122334455667788, "error": 0x8001, "ssid": 7}


class StampCase(SynchronousTestCase):
    """A reflector in memory."""

    def serve(self, state: ClockState = ClockState(), **options: Any) -> None:
        """Make a reflector with these options."""
        self.reflector = Reflector(state, **options)
        self.transport, self.record = self.reflector.transport, self.reflector.record

    def ask(self, packet: bytes, source: Any = PRIVATE) -> bytes | None:
        """Send a packet, and return the answer."""
        return self.reflector.ask(packet, source)

    def answer(self, packet: bytes, source: Any = PRIVATE) -> bytes:
        """Do the same where there must be an answer."""
        found = self.ask(packet, source)
        assert found is not None
        return found

    def check_counts(self, **expected: int) -> None:
        """Check what was counted, C{class__result=N}."""
        found = self.record.counters.probes.items()
        self.assertEqual({f"{kind}__{result}": n for (kind, result), n in found}, expected)


class OpenTests(StampCase):
    """Packets without authentication."""

    def test_fields(self) -> None:
        """An answer has what the packet said, when it came, its TTL, and when it leaves."""
        self.serve()
        found = self.answer(wire.request(sequence=5, **SAID))
        received, sent = timestamps(CAME, int(NOW * 10**9), False)
        expected = {
            "sequence": 0, "timestamp": sent, "error": 0x1D80, "ssid": 7, "received": received,
            "sender_sequence": 5, "sender_timestamp": SAID["timestamp"], "sender_error": 0x8001,
            "ttl": 60,
        }  # fmt: skip
        self.assertEqual(wire.read(wire.REFLECTOR, found), expected)
        self.assertEqual(set(wire.must_be_zero(wire.REFLECTOR, found)), {0})
        self.assertEqual(len(found), wire.OPEN)
        self.check_counts(open__received=1, open__reflected=1)

    def test_must_be_zero(self) -> None:
        """What must be zero is ignored."""
        self.serve(sessions=False)
        plain = wire.request(sequence=5, **SAID)
        self.assertEqual(self.answer(plain[:16] + b"\xff" * 28), self.answer(plain))

    def test_ptp(self) -> None:
        """The timestamps of this side may be PTPv2; the sender's come back as they are."""
        self.serve(timestamps="ptp")
        found = wire.read(wire.REFLECTOR, self.answer(wire.request(sequence=5, **SAID)))
        self.assertEqual(found["timestamp"], 1_780_000_000 << 32 | 500_000_000)
        self.assertEqual(found["received"], 1_780_000_000 << 32 | 400_000_000)
        self.assertEqual(found["sender_timestamp"], SAID["timestamp"])
        self.assertEqual(found["error"], 0x1D80 | 0x4000)

    def test_unknown(self) -> None:
        """Where the kernel tells nothing, the time is that of delivery, and the TTL is 255."""
        self.serve()
        self.transport.received_at = None
        self.transport.ip_header = IpHeader()
        found = wire.read(wire.REFLECTOR, self.answer(wire.request(**SAID)))
        self.assertEqual(found["timestamp"], found["received"] + 1)
        self.assertEqual((found["ttl"], self.transport.marks), (255, [0]))

    def test_error(self) -> None:
        """The estimate is that of the kernel, each time that it is read."""
        good = ClockState(synchronised=True, max_error=0.001, read_at=NOW)
        self.serve(good)
        found = wire.read(wire.REFLECTOR, self.answer(wire.request(**SAID)))
        self.assertEqual(found["error"] & 0xC000, 0x8000)

    def test_dscp(self) -> None:
        """An answer has the DSCP of its packet, without ECN, or the one that is asked for."""
        self.serve(dscp=frozenset((10, 46)))
        self.answer(wire.request(**SAID))
        for wanted in (10, 2):
            self.answer(wire.request(wire.tlv(4, bytes((wanted << 2, 0, 0, 0))), **SAID))
        self.assertEqual(self.transport.marks, [46 << 2, 10 << 2, 46 << 2])


class SessionTests(StampCase):
    """Sequence numbers."""

    def sequences(self, *numbers: int, source: Any = PRIVATE, ssid: int = 7) -> list[int]:
        """Send these, and return those of the answers."""
        packets = [wire.request(sequence=number, ssid=ssid) for number in numbers]
        found = [wire.read(wire.REFLECTOR, self.answer(one, source)) for one in packets]
        self.assertEqual([one["sender_sequence"] for one in found], list(numbers))
        return [one["sequence"] for one in found]

    def test_stateless(self) -> None:
        """Without sessions the numbers are the sender's."""
        self.serve(sessions=False)
        self.assertEqual(self.sequences(5, 3, 2**32 - 1), [5, 3, 2**32 - 1])
        self.check_counts(open__received=3, open__reflected=3)

    def test_stateful(self) -> None:
        """With sessions answers are counted from 0, by source, port and SSID."""
        self.serve()
        self.assertEqual(self.sequences(5, 6, 9), [0, 1, 2])
        self.assertEqual(self.sequences(1, source=("10.0.0.1", 4712)), [0])
        self.assertEqual(self.sequences(1, source=("10.0.0.2", 4711)), [0])
        self.assertEqual(self.sequences(1, ssid=8), [0])
        self.assertEqual(self.sequences(10), [3])

    def test_counts(self) -> None:
        """Lost, late and duplicate packets are counted."""
        self.serve()
        self.sequences(0, 1, 4, 3, 3)
        self.check_counts(
            open__received=5, open__reflected=5, open__lost=2, open__late=1, open__duplicate=1
        )

    def test_full(self) -> None:
        """A session without a place has the sender's numbers."""
        self.serve()
        for number in range(MAX_SESSIONS):
            self.ask(wire.request(sequence=1, ssid=number & 0xFFFF))
        self.assertEqual(self.sequences(5, 6, ssid=MAX_SESSIONS), [5, 6])

    def test_tlvs(self) -> None:
        """Counters and the last answer are those of the session; without one they are zero."""
        tlvs = wire.tlv(5, bytes(12)) + wire.tlv(7, bytes(16))
        self.serve()
        first = self.answer(wire.request(tlvs, sequence=5))
        second = self.answer(wire.request(tlvs, sequence=6))[44:]
        self.assertEqual(second[4:16], struct.pack("!III", 0, 2, 2))
        self.assertEqual(second[20:36], bytes(4) + first[4:12] + b"\2\0\0\0")
        self.serve(sessions=False)
        self.answer(wire.request(tlvs, sequence=5))
        found = self.answer(wire.request(tlvs, sequence=6))[44:]
        self.assertEqual((found[4:16], found[20:36]), (bytes(12), bytes(16)))


class LengthTests(StampCase):
    """An answer is as long as its packet, but for that to TWAMP Light."""

    def test_symmetric(self) -> None:
        """Padding comes back: the zeros of TWAMP, and what cannot be a TLV."""
        self.serve()
        for padding in (b"\0", bytes(1428), b"\x80\x01\x05\xffrandom"):
            found = self.answer(wire.request(padding))
            self.assertEqual(len(found), 44 + len(padding))
            self.assertEqual(found[45:], padding[1:] if padding else b"")

    def test_light(self) -> None:
        """A packet of TWAMP Light from a private network has the base packet for an answer."""
        self.serve(sessions=False)
        for length in (14, 16, 41, 43):
            found = self.answer(wire.request(sequence=9, **SAID)[:length])
            self.assertEqual(len(found), 44)
            said = wire.read(wire.REFLECTOR, found)
            self.assertEqual((said["sender_sequence"], said["sender_error"]), (9, 0x8001))
        self.check_counts(light__received=4, light__reflected=4)

    def test_public(self) -> None:
        """From elsewhere it has one that is not longer, or none."""
        self.serve()
        for source in (PUBLIC, ("2001:db8::1", 4711)):
            for length, expected in ((14, None), (40, None), (41, 41), (43, 43), (44, 44)):
                found = self.ask(wire.request()[:length], source)
                self.assertEqual(None if found is None else len(found), expected)
        for near in (("fe80::1%eth0", 4711), ("::1", 4711), ("127.0.0.1", 4711), "/a.sock"):
            self.assertEqual(len(self.answer(wire.request()[:14], near)), 44)
        self.assertEqual(self.transport.dropped, ["reply_size"] * 4)
        self.assertEqual(self.record.counters.probes["light", "too_short"], 4)

    def test_amplify(self) -> None:
        """C{udp_amplify} allows it for all, or for none."""
        for allowed, expected in ((44, 44), (512, 44), (43, None), (0, None)):
            self.serve(udp_amplify=allowed)
            for source in (PUBLIC, PRIVATE):
                found = self.ask(wire.request()[:14], source)
                self.assertEqual(None if found is None else len(found), expected)

    def test_too_short(self) -> None:
        """What has no timestamp is dropped."""
        self.serve()
        for length in range(14):
            self.assertIsNone(self.ask(bytes(length)))
        self.check_counts(light__too_short=14)

    def test_bounded(self) -> None:
        """No answer was refused by the port for its length."""
        self.serve()
        for length in (14, 44, 45, 1400):
            self.answer(wire.request(bytes(length))[:length])
        self.assertEqual(self.transport.refused, [])


class LoopTests(SynchronousTestCase):
    """A packet whose source is forged to be that of another service has few answers."""

    def bounce(self, *services: Callable[[bytes], bytes | None], packet: bytes) -> int:
        """Hand a packet from service to service, and return how many answers there are."""
        for number, service in enumerate(islice(cycle(services), 100)):
            answer = service(packet)
            if answer is None:
                return number
            packet = answer
        return 100

    def check_reflectors(self, packet: bytes, **options: Any) -> None:
        """See that two reflectors, with and without sessions, do not answer each other."""
        for sessions in ((True, True), (True, False), (False, False)):
            ours, theirs = (Reflector(sessions=one, **options) for one in sessions)
            self.assertEqual(self.bounce(ours.ask, theirs.ask, packet=packet), 1)
            self.assertEqual(theirs.transport.dropped, ["loop"])

    def test_reflectors(self) -> None:
        """Two reflectors: one answer, whatever form it has."""
        tlvs = wire.tlv(5, bytes(12)) + wire.tlv(1, bytes(40))
        for packet in (wire.request()[:14], wire.request()[:41], wire.request(),
                       wire.request(bytes(100)), wire.request(tlvs, **SAID)):  # fmt: skip
            for form in ("ntp", "ptp"):
                self.check_reflectors(packet, timestamps=form)
        for packet in (wire.signed(KEY, **SAID), wire.signed(KEY, wire.tlv(1, b"x" * 9), ssid=7)):
            self.check_reflectors(packet, keys=KEYS)

    def test_times(self) -> None:
        """So it is whenever the packet came, and at the end of an era of NTP."""
        for now in (NOW, 2_085_978_496.0, 2_085_978_495.9999):
            for stay in (0.0, 0.5):
                received = int((now - stay) * 10**9)
                for ptp in (False, True):
                    first, last = timestamps(received, int(now * 10**9), ptp)
                    packet = wire.write(wire.REFLECTOR, 44, timestamp=last, received=first)
                    self.assertEqual(is_answer(packet, False), first != 0)

    def test_another_reflector(self) -> None:
        """One that answers all, and writes the same time twice: two answers."""

        def simple(packet: bytes) -> bytes:
            time = 0xEC00000000000000
            head = wire.write(wire.REFLECTOR, 44, timestamp=time, received=time)
            return head[:24] + packet[:14] + head[38:]

        for sessions in (True, False):
            ours = Reflector(sessions=sessions)
            self.assertLessEqual(self.bounce(ours.ask, simple, packet=wire.request()), 2)

    def test_echo(self) -> None:
        """Echo: it sends the answer back, which is not answered."""
        for packet in (wire.request(), wire.request(wire.tlv(1, bytes(9)))):
            ours = Reflector()
            self.assertEqual(self.bounce(ours.ask, lambda data: data, packet=packet), 2)

    def test_ntp(self) -> None:
        """NTP: it answers what looks like a request, whose answer does not look like one."""

        def ntp(packet: bytes) -> bytes | None:
            found = answers("ntp", packet, now=NOW)
            return found[0] if found else None

        for sessions in (True, False):
            for first in (0x1B, 0x23, 0x21):
                ours = Reflector(sessions=sessions)
                packet = wire.request(bytes(4), sequence=first << 24, timestamp=1)
                self.assertLessEqual(self.bounce(ours.ask, ntp, packet=packet), 3)

    def test_requests(self) -> None:
        """What a sender writes is no answer, be its padding random or zero."""
        self.assertFalse(is_answer(wire.request(), False))
        self.assertFalse(is_answer(wire.signed(KEY, **SAID), True))
        for seed in range(1000):
            padding = Random(seed).randbytes(30)
            self.assertFalse(is_answer(wire.request(**SAID)[:14] + padding, False))


class LocationTests(StampCase):
    """What is told of addresses."""

    request = wire.request(wire.tlv(2, bytes(4) + wire.tlv(7, bytes(16))))

    def test_told(self) -> None:
        """Ports and addresses are those of the packet; a UNIX socket has none."""
        self.serve()
        value = self.answer(self.request)[48:]
        self.assertEqual(value[:4], struct.pack("!HH", 862, 4711))
        self.assertEqual(value[4:12], wire.tlv(8, bytes((10, 0, 0, 1)), 0, 16))
        self.assertEqual(self.answer(self.request, "/a.sock")[48:52], bytes(4))
        found = self.answer(self.request, ("fe80::1%eth0", 4711))
        self.assertEqual(found[53:58], bytes((9, 0, 16, 0xFE, 0x80)))

    def test_withheld(self) -> None:
        """C{location = no} tells the family of addresses only."""
        self.serve(location=False)
        for source, kind in ((PRIVATE, 8), (("fe80::1%eth0", 4711), 9)):
            found = self.answer(self.request, source)
            self.assertEqual(found[48:], bytes(4) + wire.tlv(kind, bytes(16), 0))


class AuthenticatedTests(StampCase):
    """Packets with authentication."""

    def test_answered(self) -> None:
        """A packet with the right HMAC has an answer with its own."""
        self.serve(keys=KEYS)
        found = self.answer(wire.signed(KEY, sequence=5, **SAID))
        said = wire.read(wire.AUTHENTICATED_REFLECTOR, found)
        self.assertEqual((said["sequence"], said["sender_sequence"]), (0, 5))
        self.assertEqual((said["ssid"], said["ttl"], len(found)), (7, 60, 112))
        self.assertEqual(said["sender_timestamp"], SAID["timestamp"])
        self.assertEqual(found[96:], wire.mac(KEY, found[:96]))
        self.assertEqual(set(wire.must_be_zero(wire.AUTHENTICATED_REFLECTOR, found[:96])), {0})
        self.check_counts(authenticated__received=1, authenticated__reflected=1)

    def test_refused(self) -> None:
        """Any other is dropped, begins no session, and is counted."""
        self.serve(keys=KEYS)
        good = wire.signed(KEY, sequence=5, **SAID)
        for packet in (
            b"", wire.request(), good[:111], good[:-1] + bytes((good[-1] ^ 1,)),
            wire.signed(b"other", ssid=7), wire.signed(KEY, ssid=8),
        ):  # fmt: skip
            self.assertIsNone(self.ask(packet))
        self.check_counts(authenticated__received=6, authenticated__bad_hmac=6)
        self.assertEqual(len(self.reflector.protocol._sessions), 0)

    def test_tlvs(self) -> None:
        """Its TLVs need an HMAC, and have one in the answer, for the answer's number."""
        self.serve(keys=KEYS)
        first = wire.tlv(5, bytes(12))
        tlvs = first + wire.hmac_tlv(KEY, 5, first)
        self.answer(wire.signed(KEY, tlvs, sequence=5, ssid=7))
        found = self.answer(wire.signed(KEY, tlvs, sequence=5, ssid=7))[112:]
        expected = wire.tlv(5, struct.pack("!III", 0, 2, 2), 0)
        covered = (1).to_bytes(4, "big") + expected
        self.assertEqual(found, expected + wire.tlv(8, wire.mac(KEY, covered), 0))
        found = self.answer(wire.signed(KEY, first, sequence=6, ssid=7))[112:]
        self.assertEqual(found, wire.tlv(5, bytes(12), 0x20))
        self.assertEqual(self.record.counters.probes["authenticated", "bad_tlv_hmac"], 1)

    def test_open_with_keys(self) -> None:
        """C{authenticated = no} answers all, and checks HMAC TLVs."""
        self.serve(keys=KEYS, authenticated=False)
        right = wire.request(wire.hmac_tlv(KEY, 5, b""), sequence=5, ssid=7)
        wrong = wire.request(wire.hmac_tlv(KEY, 6, b""), sequence=5, ssid=7)
        self.assertEqual([self.answer(one)[44] for one in (right, wrong)], [0, 0x20])
        self.assertEqual(len(self.answer(wire.request())), 44)

    def test_vain(self) -> None:
        """C{authenticated = yes} without keys is refused."""
        declaration = declaration_of("stamp")
        for options, expected in (
            ({"authenticated": True}, ["authenticated"]),
            ({"authenticated": True, "keys": KEYS}, []),
            ({}, []),
        ):
            found = declaration.refusals(declaration.options(**options), ())
            self.assertEqual([name for name, _ in found], expected)


class OptionTests(SynchronousTestCase):
    """Tests for L{parse_dscps} and the declaration."""

    def test_dscps(self) -> None:
        """DSCPs are numbers of six bits."""
        right = {"any": set(range(64)), "none": set(), "0, 46 10": {0, 10, 46}}
        for text, expected in right.items():
            self.assertEqual(parse_dscps(text), expected)
        for text in ("", "64", "-1", "EF", "1-5"):
            self.assertRaisesRegex(ValueError, "; write", parse_dscps, text)

    def test_declaration(self) -> None:
        """It has a usual test's rate, and asks for all that the kernel tells."""
        found = declaration_of("stamp")
        self.assertEqual((found.udp_rate, found.udp_burst), (100.0, 200))
        self.assertTrue(found.timestamped and found.ip_header)
        floors = [found.reply_floor(found.options(udp_amplify=n)) for n in (None, 0, 512)]
        self.assertEqual(floors, [44, 0, 512])


class BatchTests(SynchronousTestCase):
    """Packets that come together; L{tests.fuzz.batches} compares them with single ones."""

    def setUp(self) -> None:
        self.machine = SlowMachine(int(NOW) * 10**9, 700)
        around = evolve(context(), wall_clock=lambda: self.machine.now / 10**9)
        self.protocol = StampDatagrams(StampOptions(), around)
        self.counts = around.record.counters.probes

    def serve(self, packets: list[bytes], sending: int = 1000) -> SlowBatch:
        """Serve a batch of one source, whose packets have TOS 1, 2 and so on."""
        batch = SlowBatch(self.machine, packets, sending)
        batch.sources, batch.ttl = [PRIVATE] * len(packets), [9] * len(packets)
        batch.tos = range(1, 1 + len(packets))
        self.protocol.batch_received(batch)
        return batch

    def test_interfaces(self) -> None:
        """It takes batches."""
        self.assertTrue(verifyClass(IBatchProtocol, StampDatagrams))

    def test_sent(self) -> None:
        """
        Each answer leaves within 100 us of its T3, and not before it but for the microsecond of
        the clock, on machines of any speed.
        """
        for writing, sending in ((700, 3000), (0, 200), (700, 20000)):
            self.setUp()
            self.machine.writing, found = writing, []
            for _ in range(20):
                packets = [wire.request(**SAID)] * LARGEST_GROUP
                batch = self.serve(packets, sending)
                # T3 is where an answer of NTP has its own, 36 bytes later.
                found += [left - sent_at(one[4:12].rjust(48)) for one, left in batch.left]
            self.assertLessEqual(max(found[LARGEST_GROUP:]), 2 * STAY)
            self.assertGreaterEqual(min(found[LARGEST_GROUP:]), -1000)

    def test_answers(self) -> None:
        """Answers are numbered, marked without ECN and counted; padding is sent back."""
        packets = [wire.request(bytes(at), sequence=at, **SAID) for at in (0, 1, 3, 2)]
        batch = self.serve(packets)
        found = [wire.read(wire.REFLECTOR, one) for one, _ in batch.left]
        said = [(one["sequence"], one["sender_sequence"], one["ttl"]) for one in found]
        self.assertEqual(said, [(0, 0, 9), (1, 1, 9), (2, 3, 9), (3, 2, 9)])
        self.assertEqual([len(one) for one, _ in batch.left], [len(one) for one in packets])
        self.assertEqual(batch.marks, [0, 0, 0, 4])
        expected = {"received": 4, "reflected": 4, "lost": 1, "late": 1}
        self.assertEqual(self.counts, {("open", name): n for name, n in expected.items()})

    def test_unusual(self) -> None:
        """TLVs, short packets and answers are delivered with their group."""
        usual = wire.request(**SAID)
        answer = wire.write(wire.REFLECTOR, wire.OPEN, timestamp=9, received=8)
        for other in (usual + wire.tlv(1, bytes(8)), usual[:43], answer):
            batch = self.serve([usual, other, usual])
            self.assertEqual((batch.delivered, batch.left), (3, []))
        self.assertEqual(self.counts, {})
