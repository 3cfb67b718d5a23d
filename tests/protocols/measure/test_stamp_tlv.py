"""Tests for L{socketd.protocols.measure.stamp_tlv}."""

from __future__ import annotations

import socket
import struct

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.measure.stamp_tlv import (
    MAX_TLVS,
    Answered,
    Facts,
    answer_tlvs,
    sign,
)
from tests.protocols.measure.stamp_wire import hmac_tlv, mac, tlv

KEY = b"0123456789abcdef"
SEQUENCE = 7

IPV4 = socket.inet_pton(socket.AF_INET, "192.0.2.1")
IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
HERE = socket.inet_pton(socket.AF_INET, "198.51.100.7")

#: A packet with DSCP 46 and ECN 1.
FACTS = Facts(
    source=(IPV4, 4711),
    destination=(HERE, 862),
    tos=46 << 2 | 1,
    synchronised=True,
    counts=(3, 2),
    previous=(5, 0x0102030405060708),
)


def answer(tlvs: bytes, facts: Facts = FACTS) -> bytes:
    """Answer TLVs without a key."""
    return answered(tlvs, facts).wire


def answered(
    tlvs: bytes, facts: Facts = FACTS, key: bytes | None = None, due: bool = False
) -> Answered:
    """Answer TLVs, and see that the length is the same."""
    found = answer_tlvs(tlvs, SEQUENCE, facts, key, due)
    assert len(found.wire) == len(tlvs)
    return found


class FlagTests(SynchronousTestCase):
    """The flags U, M and I (RFC 8972, section 4)."""

    def test_long(self) -> None:
        """The length of a TLV has two octets."""
        long, short = tlv(1, bytes(0x0203)), tlv(1, b"")
        self.assertEqual(answer(long + short), tlv(1, bytes(0x0203), 0) + tlv(1, b"", 0))

    def test_cleared(self) -> None:
        """Of a known TLV all flags are cleared, the reserved ones, too."""
        for flags in (0, 0x80, 0xFF):
            self.assertEqual(answer(tlv(1, b"padding", flags)), tlv(1, b"padding", 0))

    def test_unknown(self) -> None:
        """An unknown TLV comes back with U; those of return paths and asymmetry are unknown."""
        for kind in (9, 10, 11, 12, 200, 255):
            found = answer(tlv(kind, b"value", 0xFF) + tlv(1, b""))
            self.assertEqual(found, tlv(kind, b"value", 0x80) + tlv(1, b"", 0))

    def test_lengths(self) -> None:
        """A TLV of the wrong length has M; what follows it comes back as it came."""
        behind = tlv(4, b"abcd", 0xFF)
        for kind, right in ((2, 4), (3, 4), (4, 4), (5, 12), (6, 4), (7, 16)):
            wrong = (0, right - 1) if kind in (2, 3) else (0, right - 1, right + 1)
            for size in wrong:
                found = answer(tlv(kind, bytes(size)) + behind)
                self.assertEqual(found, tlv(kind, bytes(size), 0x40) + behind, (kind, size))

    def test_private(self) -> None:
        """One for private use has U, and M if it is too short for the number of its vendor."""
        for kind in (252, 254):
            self.assertEqual(answer(tlv(kind, b"1234")), tlv(kind, b"1234", 0x80))
            self.assertEqual(answer(tlv(kind, b"123")), tlv(kind, b"123", 0xC0))
            within = struct.pack("!HH", 862, 4711)
            found = answer(tlv(2, bytes(4) + tlv(kind, b"123")))
            self.assertEqual(found, tlv(2, within + tlv(kind, b"123", 0xC0), 0x40))

    def test_cut(self) -> None:
        """So has one that is longer than the rest of the packet, or shorter than a header."""
        for rest in (tlv(4, b"abc", length=4), tlv(1, b"", length=65535), b"\x80\x01\x00", b"x"):
            found = answer(tlv(1, b"") + rest)
            self.assertEqual(found, tlv(1, b"", 0) + b"\x40" + rest[1:])

    def test_many(self) -> None:
        """Behind so many TLVs the rest is malformed, however many there are."""
        found = answer(tlv(1, b"") * 16376)
        expected = tlv(1, b"", 0) * MAX_TLVS + tlv(1, b"", 0x40)
        self.assertEqual(found[: len(expected)], expected)
        self.assertEqual(found[len(expected) :], tlv(1, b"") * (16376 - MAX_TLVS - 1))


class ContentTests(SynchronousTestCase):
    """What a reflector fills in."""

    def test_location(self) -> None:
        """A sender is told where its packet came from and arrived."""
        sub = [tlv(1, bytes(8)), tlv(4, bytes(16)), tlv(7, bytes(16))]
        ports = struct.pack("!HH", 862, 4711)
        for source, here, kinds in ((IPV4, HERE, (5, 8)), (IPV6, IPV6, (6, 9))):
            facts = evolve(FACTS, source=(source, 4711), destination=(here, 862))
            expected = ports + tlv(3, bytes(8), 0) + tlv(kinds[0], here.ljust(16, b"\0"), 0)
            expected += tlv(kinds[1], source.ljust(16, b"\0"), 0)
            found = answer(tlv(2, bytes(4) + b"".join(sub)), facts)
            self.assertEqual(found, tlv(2, expected, 0))

    def test_location_withheld(self) -> None:
        """Without addresses they are zero."""
        found = answer(tlv(2, b"abcd" + tlv(7, b"x" * 16)), Facts())
        self.assertEqual(found, tlv(2, bytes(4) + tlv(8, bytes(16), 0), 0))

    def test_location_parts(self) -> None:
        """Its parts have flags of their own: unknown, of an answer, and malformed."""
        ports = struct.pack("!HH", 862, 4711)
        found = answer(tlv(2, bytes(4) + tlv(77, b"x") + tlv(5, b"y", 0xFF)))
        self.assertEqual(found, tlv(2, ports + tlv(77, b"x", 0x80) + tlv(5, b"y", 0x80), 0))
        for broken in (tlv(4, bytes(15)), tlv(1, bytes(9))):
            found = answer(tlv(2, bytes(4) + broken) + tlv(1, b""))
            expected = tlv(2, ports + b"\x40" + broken[1:], 0x40) + tlv(1, b"")
            self.assertEqual(found, expected)
        cut = tlv(4, bytes(3), length=16)
        self.assertEqual(answer(tlv(2, bytes(4) + cut)), tlv(2, ports + cut, 0x40))

    def test_timestamp_information(self) -> None:
        """The clock is kept by NTP, or by nothing; software makes both timestamps."""
        for synchronised, source in ((True, 1), (False, 5)):
            facts = evolve(FACTS, synchronised=synchronised)
            expected = tlv(3, bytes((source, 2, source, 2)), 0)
            self.assertEqual(answer(tlv(3, bytes(4)), facts), expected)

    def test_timestamp_information_parts(self) -> None:
        """Optional parts of it are unknown; what is left behind them is malformed."""
        told = bytes((1, 2, 1, 2))
        found = answer(tlv(3, bytes(4) + tlv(9, b"part")))
        self.assertEqual(found, tlv(3, told + tlv(9, b"part", 0x80), 0))
        found = answer(tlv(3, bytes(4) + b"x"))
        self.assertEqual(found, tlv(3, told + b"x", 0x40))
        # A part for private use names its vendor.
        for size, flags, whole in ((4, 0x80, 0), (3, 0xC0, 0x40)):
            found = answer(tlv(3, bytes(4) + tlv(252, bytes(size))))
            self.assertEqual(found, tlv(3, told + tlv(252, bytes(size), flags), whole))

    def test_fewest(self) -> None:
        """A location of the ports alone is right; a TOS that the kernel does not tell is 0."""
        self.assertEqual(answer(tlv(2, bytes(4))), tlv(2, bytes.fromhex("035e1267"), 0))
        found = answer(tlv(4, self.cos(46)), evolve(FACTS, tos=None))
        self.assertEqual(found, tlv(4, self.cos(46), 0))

    def cos(self, dscp1: int, dscp2: int = 0, ecn: int = 0, rp: int = 0) -> bytes:
        """Write the value of a Class of Service TLV."""
        bits = f"{dscp1:06b}{dscp2:06b}{ecn:02b}{rp:02b}{0:016b}"
        return int(bits, 2).to_bytes(4, "big")

    def test_class_of_service(self) -> None:
        """DSCP and ECN are told as received (erratum 8199); DSCP1 is what the answer has."""
        for wanted in (0, 10, 63):
            found = answered(tlv(4, self.cos(wanted, 63, 3, 3)))
            self.assertEqual(found.wire, tlv(4, self.cos(wanted, 46, 1), 0))
            self.assertEqual(found.dscp, wanted)

    def test_class_of_service_refused(self) -> None:
        """What the policy refuses is not set, and RP says so."""
        facts = evolve(FACTS, dscps=frozenset((0, 46)))
        found = answered(tlv(4, self.cos(10)), facts)
        self.assertEqual((found.wire, found.dscp), (tlv(4, self.cos(10, 46, 1, 1), 0), None))
        self.assertEqual(answered(tlv(4, self.cos(46)), facts).dscp, 46)

    def test_direct_measurement(self) -> None:
        """The sender's counter comes back with both of this side."""
        found = answer(tlv(5, struct.pack("!III", 9, 1, 1)))
        self.assertEqual(found, tlv(5, struct.pack("!III", 9, 3, 2), 0))

    def test_access_report(self) -> None:
        """
        A report comes back, with zeros where it is reserved; one with an invalid ID is not
        recognised.
        """
        for kind, flags in ((1, 0), (2, 0), (0, 0x80), (3, 0x80), (15, 0x80)):
            found = answer(tlv(6, bytes((kind << 4 | 5, 1, 2, 3))))
            self.assertEqual(found, tlv(6, bytes((kind << 4, 1, 0, 0)), flags))

    def test_follow_up(self) -> None:
        """The last answer is told, and nothing without a session."""
        expected = bytes.fromhex("00000005 0102030405060708 02 000000")
        self.assertEqual(answer(tlv(7, b"x" * 16)), tlv(7, expected, 0))
        found = answer(tlv(7, b"x" * 16), evolve(FACTS, previous=None))
        self.assertEqual(found, tlv(7, bytes(16), 0))

    def test_follow_up_length(self) -> None:
        """With the wrong length its fields are zero (erratum 8339)."""
        for size in (5, 15, 17):
            expected = (bytes(12) + b"x" * (size - 12))[:size]
            self.assertEqual(answer(tlv(7, b"x" * size)), tlv(7, expected, 0x40))


class HmacTests(SynchronousTestCase):
    """The HMAC TLV (RFC 8972, section 4.8)."""

    first = tlv(5, bytes(12)) + tlv(99, b"?")

    def test_right(self) -> None:
        """With the right HMAC all are answered, and signed for the number of the answer."""
        for behind in (b"", tlv(1, b"padding"), tlv(1, b"") * 2):
            tlvs = self.first + hmac_tlv(KEY, SEQUENCE, self.first) + behind
            found = answered(tlvs, key=KEY, due=True)
            self.assertTrue(found.intact)
            wire = sign(found.wire, 8, KEY)
            expected = tlv(5, struct.pack("!III", 0, 3, 2), 0) + tlv(99, b"?", 0x80)
            expected += tlv(8, mac(KEY, (8).to_bytes(4, "big") + expected), 0)
            self.assertEqual(wire[: len(expected)], expected)
            self.assertEqual(len(wire), len(tlvs))

    def check_refused(self, tlvs: bytes, expected: bytes, key: bytes | None = KEY) -> None:
        """See that TLVs come back unanswered, with flags."""
        found = answered(tlvs, key=key, due=True)
        self.assertEqual((found.wire, found.intact, found.dscp), (expected, False, None))

    def test_wrong(self) -> None:
        """With a wrong one each comes back with I, and unanswered."""
        flagged = tlv(5, bytes(12), 0x20) + tlv(99, b"?", 0xA0)
        for key, number in ((b"other", SEQUENCE), (KEY, SEQUENCE + 1)):
            wrong = hmac_tlv(key, number, self.first)
            self.check_refused(self.first + wrong, flagged + b"\x20" + wrong[1:])
        wrong = tlv(8, b"x" * 15)
        self.check_refused(self.first + wrong, flagged + b"\x60" + wrong[1:])

    def test_no_key(self) -> None:
        """Without a key none can be checked."""
        right = hmac_tlv(KEY, SEQUENCE, b"")
        self.check_refused(right, b"\x20" + right[1:], None)

    def test_place(self) -> None:
        """In another place it counts as wrong, and so does a second one."""
        right = hmac_tlv(KEY, SEQUENCE, b"")
        flagged = b"\x20" + right[1:]
        self.check_refused(right + tlv(4, bytes(4)), flagged + tlv(4, bytes(4), 0x20))
        self.check_refused(right + right, flagged + flagged)

    def test_cut(self) -> None:
        """What is cut behind it counts as wrong, too."""
        right = hmac_tlv(KEY, SEQUENCE, b"")
        self.check_refused(right + b"\x80\x01", b"\x20" + right[1:] + b"\x60\x01")

    def test_nothing_whole(self) -> None:
        """Where an HMAC is due and no TLV is whole, what is there is marked."""
        for data in (b"\x80", b"\x80\1\0\5x"):
            self.assertEqual(answered(data, key=KEY, due=True).wire, b"\x60" + data[1:])

    def test_due(self) -> None:
        """An authenticated packet must have one, unless it has one Extra Padding TLV alone."""
        alone = answered(tlv(1, b"padding"), key=KEY, due=True)
        self.assertEqual((alone.wire, alone.intact), (tlv(1, b"padding", 0), True))
        two = tlv(1, b"") * 2
        self.check_refused(two, tlv(1, b"", 0x20) * 2)
        self.check_refused(tlv(4, bytes(4)), tlv(4, bytes(4), 0x20))
        self.assertTrue(answered(tlv(4, bytes(4)), key=KEY).intact)

    def test_sign_none(self) -> None:
        """Without an HMAC TLV, or without a key, nothing is signed."""
        self.assertEqual(sign(self.first, 1, KEY), self.first)
        unsigned = self.first + tlv(8, bytes(16))
        self.assertEqual(sign(unsigned, 1, None), unsigned)
