"""Tests for L{socketd.net.proxy.header}."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.proxy.header import MAX_V1, MAX_V2, Header, HeaderError, HeaderParser, crc32c
from tests.support.proxy import LOCAL, PROXY, SIGNATURE, TCP4, TCP6, UNIX, v2

UDP4, UDP6, UNIXGRAM = 0x12, 0x22, 0x32

#: From 192.0.2.1 port 4660 to 198.51.100.7 port 443.
IPV4 = bytes.fromhex("c0000201 c6336407 1234 01bb")
ENDS4 = (("192.0.2.1", 4660), ("198.51.100.7", 443))

#: From 2001:db8::1 port 4660 to ::ffff:198.51.100.7 port 443.
IPV6 = bytes.fromhex(
    "20010db8000000000000000000000001 00000000000000000000ffffc6336407 1234 01bb"
)
ENDS6 = (("2001:db8::1", 4660), ("::ffff:198.51.100.7", 443))

#: How many headers are changed at random; and the seed, so that a failure comes again.
MUTATIONS = 20_000
SEED = 20_111_104


def tlv(kind: int, value: bytes) -> bytes:
    """Write a TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def names(*pair: bytes) -> bytes:
    """Write the names of two UNIX sockets."""
    return b"".join(name.ljust(108, b"\0") for name in pair)


def with_checksum(before: bytes = b"", behind: bytes = b"") -> bytes:
    """Write a header with a right checksum, between other TLVs."""
    zeros = v2(PROXY, TCP4, IPV4 + before + tlv(3, bytes(4)) + behind)
    place = 16 + len(IPV4) + len(before) + 3
    return zeros[:place] + crc32c(zeros).to_bytes(4, "big") + zeros[place + 4 :]


def ends(family: str, *pair: Any) -> Header:
    """Make what a header says."""
    return Header(FAMILIES[family], *pair)


FAMILIES = {"tcp4": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}

#: Of no client, or of one whose address is not told.
UNKNOWN = Header()

#: Headers, and what they say.
VALID: list[tuple[bytes, Header]] = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\r\n", ends("tcp4", *ENDS4)),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ends("tcp4", ("255.255.255.255", 65535), ("255.255.255.255", 65535)),
    ),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ends("tcp4", ("0.0.0.0", 0), ("0.0.0.0", 0))),
    (b"PROXY TCP6 2001:db8::1 ::ffff:198.51.100.7 4660 443\r\n", ends("tcp6", *ENDS6)),
    # Every spelling of an address is the same address.
    (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 ::FFFF:c633:6407 4660 443\r\n", ends("tcp6", *ENDS6)),
    (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b":".join([b"ffff"] * 8),) * 2),
        ends("tcp6", *[(":".join(["ffff"] * 8), 65535)] * 2),
    ),
    (b"PROXY UNKNOWN\r\n", UNKNOWN),
    (b"PROXY UNKNOWN \r\n", UNKNOWN),
    (b"PROXY UNKNOWN \n\0\xff\r and more\r\n", UNKNOWN),
    (b"PROXY UNKNOWN %b %b 65535 65535\r\n" % ((b":".join([b"ffff"] * 8),) * 2), UNKNOWN),
    (v2(PROXY, TCP4, IPV4), ends("tcp4", *ENDS4)),
    (v2(PROXY, TCP4, IPV4 + tlv(4, b"") + tlv(5, b"one")), ends("tcp4", *ENDS4)),
    (v2(PROXY, TCP4, IPV4 + tlv(0xEA, bytes(MAX_V2 - 31))), ends("tcp4", *ENDS4)),
    (v2(PROXY, TCP6, IPV6), ends("tcp6", *ENDS6)),
    (v2(PROXY, TCP6, IPV6 + tlv(2, b"example.org")), ends("tcp6", *ENDS6)),
    (v2(PROXY, UNIX, names(b"/run/a", b"/run/b")), ends("unix", "/run/a", "/run/b")),
    (v2(PROXY, UNIX, names(b"/run/\xff", b"p" * 108)), ends("unix", "/run/\udcff", "p" * 108)),
    (v2(PROXY, UNIX, names(b"", b"\0one\0two")), ends("unix", "", b"\0one\0two")),
    (v2(PROXY, UNIX, names(b"/run/a\0left over", b"/b")), ends("unix", "/run/a", "/b")),
    (with_checksum(), ends("tcp4", *ENDS4)),
    (with_checksum(tlv(4, b"x"), tlv(5, b"one")), ends("tcp4", *ENDS4)),
    (v2(PROXY, 0x00, b""), UNKNOWN),
    (v2(PROXY, 0x01, b"any"), UNKNOWN),
    (v2(PROXY, 0x10, IPV4), UNKNOWN),
    (v2(PROXY, 0x20, b""), UNKNOWN),
    (v2(LOCAL, 0x00, b""), UNKNOWN),
    (v2(LOCAL, 0x00, tlv(3, b"not read")), UNKNOWN),
    (v2(LOCAL, TCP4, IPV4), UNKNOWN),
    # The family of LOCAL is ignored, whatever it is.
    (v2(LOCAL, UDP4, b"any"), UNKNOWN),
    (v2(LOCAL, 0xFF, b"x" * (MAX_V2 - 16)), UNKNOWN),
]

#: What is no header, and the complaint.
MALFORMED: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "no PROXY protocol header"),
    (b"\0", "no PROXY protocol header"),
    (b"proxy TCP4 192.0.2.1 198.51.100.7 4660 443\r\n", "no PROXY protocol header"),
    (b" PROXY UNKNOWN\r\n", "no PROXY protocol header"),
    (b"PROXY\tUNKNOWN\r\n", "no PROXY protocol header"),
    (b"PROXY\r\n", "no PROXY protocol header"),
    (b"\r\n\r\n\0\r\nQUIT\r", "no PROXY protocol header"),
    (b"PROXY \r\n", "unknown protocol"),
    (b"PROXY  TCP4 192.0.2.1 198.51.100.7 4660 443\r\n", "unknown protocol"),
    (b"PROXY tcp4 192.0.2.1 198.51.100.7 4660 443\r\n", "unknown protocol"),
    (b"PROXY UDP4 192.0.2.1 198.51.100.7 4660 443\r\n", "unknown protocol"),
    (b"PROXY UNKNOWNX\r\n", "unknown protocol"),
    (b"PROXY TCP4\r\n", "not two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660\r\n", "not two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.1  198.51.100.7 4660 443\r\n", "not two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443 \r\n", "not two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443 1\r\n", "not two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.01 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.256 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.513 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 0x7f.0.0.1 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.1\0 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.\xb2 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 localhost 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.1 2001:db8::1 4660 443\r\n", "bad address"),
    (b"PROXY TCP6 192.0.2.1 198.51.100.7 4660 443\r\n", "bad address"),
    (b"PROXY TCP6 fe80::1%eth0 ::1 4660 443\r\n", "bad address"),
    (b"PROXY TCP6 [::1] ::1 4660 443\r\n", "bad address"),
    (b"PROXY TCP6 1::2::3 ::1 4660 443\r\n", "bad address"),
    (b"PROXY TCP6 ::1 00001::1 4660 443\r\n", "bad address"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 04660 443\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 00 443\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 +466 443\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4_6 443\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 65536\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 \r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\n\r\n", "bad port"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\r\r\n", "bad port"),
    (SIGNATURE + b"\x11\x11\0\0", "unknown version"),
    (SIGNATURE + b"\x31\x11\0\0", "unknown version"),
    (v2(0x22, TCP4, IPV4), "unknown command"),
    (v2(0x2F, TCP4, IPV4), "unknown command"),
    (v2(PROXY, 0x41, IPV4), "unknown protocol"),
    (v2(PROXY, 0xF0, IPV4), "unknown protocol"),
    (v2(PROXY, 0x13, IPV4), "unknown protocol"),
    (v2(PROXY, 0x0F, b""), "unknown protocol"),
    (v2(PROXY, UDP4, IPV4), "datagrams announced on a stream"),
    (v2(PROXY, UDP6, IPV6), "datagrams announced on a stream"),
    (v2(PROXY, UNIXGRAM, names(b"a", b"b")), "datagrams announced on a stream"),
    (v2(PROXY, 0x02, b""), "datagrams announced on a stream"),
    (v2(PROXY, TCP4, b""), "too short for its addresses"),
    (v2(PROXY, TCP4, IPV4[:-1]), "too short for its addresses"),
    (v2(PROXY, TCP6, IPV6[:-1]), "too short for its addresses"),
    (v2(PROXY, UNIX, names(b"a", b"b")[:-1]), "too short for its addresses"),
    (v2(PROXY, TCP4, IPV4 + b"\4"), "cut TLV"),
    (v2(PROXY, TCP4, IPV4 + b"\4\0"), "cut TLV"),
    (v2(PROXY, TCP4, IPV4 + b"\4\0\1"), "cut TLV"),
    (v2(PROXY, TCP6, IPV6 + tlv(4, b"x") + b"\4\xff\xffx"), "cut TLV"),
    (v2(PROXY, UNIX, names(b"a", b"b") + b"\0"), "cut TLV"),
    (v2(PROXY, TCP4, IPV4 + tlv(3, bytes(4))), "wrong checksum"),
    (v2(PROXY, TCP4, IPV4 + tlv(3, b"")), "bad checksum"),
    (v2(PROXY, TCP4, IPV4 + tlv(3, bytes(5))), "bad checksum"),
    (v2(PROXY, TCP4, IPV4 + tlv(3, bytes(4)) * 2), "bad checksum"),
]


def parse(*pieces: bytes) -> tuple[Header | None, bytes]:
    """
    Feed pieces up to the one that completes the header.

    @return: the header, if it is complete; and what is behind it.
    """
    parser = HeaderParser()
    for index, piece in enumerate(pieces):
        header = parser.feed(piece)
        if header is not None:
            return header, parser.rest + b"".join(pieces[index + 1 :])
    return None, parser.rest


def single_bytes(data: bytes) -> list[bytes]:
    """Cut data into its bytes."""
    return [data[i : i + 1] for i in range(len(data))]


def by_twisted(data: bytes) -> Header:
    """Have Twisted's parser read a header, and write the result as ours."""
    is_line = data.startswith(b"PROXY")
    info: Any = V1Parser.parse(data[:-2]) if is_line else V2Parser.parse(data)
    if info.source is None:
        return UNKNOWN
    both: list[Any] = [info.source, info.destination]
    if isinstance(info.source, UNIXAddress):
        return ends("unix", *(address.name.decode() for address in both))
    family = socket.AF_INET6 if ":" in info.source.host else socket.AF_INET
    pair = [
        (socket.inet_ntop(family, socket.inet_pton(family, address.host)), address.port)
        for address in both
    ]
    return Header(family, *pair)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Change some bytes of a header; take some out, put some in, cut it off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        new = chance.choice((b"", b"\0", b"\r\n", b" ", b"9", b"\xff", chance.randbytes(2)))
        changed[place : place + chance.randint(0, 2)] = new
    return bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed) + 1)))])


class ValidTests(SynchronousTestCase):
    """Tests for headers that are right."""

    def test_whole(self) -> None:
        """A header that comes in one piece is read, and nothing is behind it."""
        for data, expected in VALID:
            self.assertEqual(parse(data), (expected, b""), data)

    def test_byte_by_byte(self) -> None:
        """A header is complete with its last byte, and not before it."""
        for data, expected in VALID:
            self.assertEqual(parse(*single_bytes(data[:-1])), (None, b""), data)
            self.assertEqual(parse(*single_bytes(data)), (expected, b""), data)

    def test_rest(self) -> None:
        """What comes in the same piece behind a header is kept, to the last byte."""
        for data, expected in VALID:
            for rest in (b"\r\n", data, b"\0" * 100_000):
                self.assertEqual(parse(data + rest), (expected, rest), data)
                self.assertEqual(parse(data[:9], data[9:] + rest), (expected, rest), data)

    def test_every_cut(self) -> None:
        """Where a header is cut in two makes no difference; nor does an empty piece."""
        for data, expected in VALID:
            for cut in range(0, len(data), 1 + len(data) // 256):
                self.assertEqual(
                    parse(data[:cut], b"", data[cut:] + b"x"), (expected, b"x"), (data, cut)
                )

    def test_twisted(self) -> None:
        """Twisted's parsers read the same, where they are right."""
        compared = [
            (data, expected)
            for data, expected in VALID
            # They do not know the line that ends behind UNKNOWN, nor where a path ends,
            # nor abstract names.
            if data != b"PROXY UNKNOWN\r\n"
            if expected.family != socket.AF_UNIX or expected == ends("unix", "/run/a", "/run/b")
        ]
        self.assertEqual([by_twisted(data) for data, _ in compared], [e for _, e in compared])
        self.assertEqual({e.family for _, e in compared}, {*FAMILIES.values(), socket.AF_UNSPEC})


class MalformedTests(SynchronousTestCase):
    """Tests for what is no header."""

    def reason(self, *pieces: bytes) -> str:
        """Find why pieces are refused."""
        return str(self.assertRaises(HeaderError, parse, *pieces))

    def test_whole(self) -> None:
        """Each is refused, with its reason."""
        self.assertEqual([(data, self.reason(data)) for data, _ in MALFORMED], MALFORMED)

    def test_byte_by_byte(self) -> None:
        """The reason is the same however the bytes come."""
        found = [(data, self.reason(*single_bytes(data))) for data, _ in MALFORMED]
        self.assertEqual(found, MALFORMED)

    def test_early(self) -> None:
        """
        A wrong beginning is refused at its first wrong byte, and a wrong version with
        the last byte of the fixed part: no more bytes are awaited that cannot help.
        """
        for data in (b"PROXX", b"Q", b"\r\n\r\r", SIGNATURE + b"\x11\x11\0\0"):
            self.assertEqual(parse(*single_bytes(data[:-1])), (None, b""))
            self.reason(*single_bytes(data))

    def test_every_change_breaks_the_checksum(self) -> None:
        """A header with a checksum is refused when any bit of its addresses is another."""
        data = with_checksum(behind=tlv(5, b"one"))
        for bit in range(16 * 8, (16 + len(IPV4)) * 8):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            self.assertEqual(self.reason(bytes(changed)), "wrong checksum")

    def test_is_a_value_error(self) -> None:
        """It is a C{ValueError}."""
        self.assertTrue(issubclass(HeaderError, ValueError))


class BoundTests(SynchronousTestCase):
    """Tests for the longest headers."""

    def test_longest_line(self) -> None:
        """
        A line of 107 bytes with its end is read; one byte more is too many, whether
        its end comes or not, and in whatever pieces.
        """
        longest = b"PROXY UNKNOWN ".ljust(MAX_V1 - 2, b"x") + b"\r\n"
        self.assertEqual(len(longest), 107)
        self.assertEqual(parse(longest), (UNKNOWN, b""))
        for data in (
            longest[:-2] + b"x\r\n",
            longest[:-2] + b"xx",
            longest[:-2] + b"\rx\r\n",
            longest[:-2] + b"x" * 100_000 + b"\r\n",
        ):
            for pieces in ([data], single_bytes(data[: MAX_V1 + 1])):
                reason = self.assertRaises(HeaderError, parse, *pieces)
                self.assertEqual(str(reason), "line too long")
        self.assertEqual(parse(longest[:-2] + b"x"), (None, b""))

    def test_longest_header(self) -> None:
        """
        A header of version 2 that announces more than 4096 bytes is refused before
        its block comes.
        """
        self.assertEqual(MAX_V2, 4096)
        for command, kind in ((PROXY, TCP4), (PROXY, 0), (LOCAL, 0)):
            fits = SIGNATURE + struct.pack("!BBH", command, kind, MAX_V2 - 16)
            self.assertEqual(parse(fits), (None, b""))
            for length in (MAX_V2 - 15, 0xFFFF):
                more = SIGNATURE + struct.pack("!BBH", command, kind, length)
                reason = self.assertRaises(HeaderError, parse, more)
                self.assertEqual(str(reason), "header too long")

    def test_nothing_is_kept(self) -> None:
        """A parser keeps no more than the longest header, and nothing behind its end."""
        fits = SIGNATURE + struct.pack("!BBH", LOCAL, 0, MAX_V2 - 16)
        kept = []
        for last in (b"x", b"x" * (MAX_V2 - 16)):
            parser = HeaderParser()
            parser.feed(fits)
            parser.feed(last)
            kept.append(len(parser._buffer))
        self.assertEqual(kept, [17, 0])
        parser = HeaderParser()
        self.assertRaises(HeaderError, parser.feed, b"GET " * 100_000)
        self.assertLessEqual(len(parser._buffer), MAX_V2)


class RandomTests(SynchronousTestCase):
    """Tests with headers that are changed at random."""

    def test_nothing_else_is_raised(self) -> None:
        """
        Whatever comes is a header, the beginning of one, or refused; and it is the
        same one in one piece and in two.
        """
        chance = random.Random(SEED)
        short = [data for data, _ in VALID if len(data) < 512]
        outcomes = {"header": 0, "more": 0, "refused": 0}
        for _ in range(MUTATIONS):
            data = mutated(chance, chance.choice(short))
            cut = chance.randrange(len(data) + 1)
            found = self.outcome(data)
            self.assertEqual(self.outcome(data[:cut], data[cut:]), found, data)
            outcomes[found[0]] += 1
        self.assertTrue(all(count > MUTATIONS // 100 for count in outcomes.values()), outcomes)

    def outcome(self, *pieces: bytes) -> tuple[str, Any]:
        """Say what comes of some bytes."""
        try:
            header, rest = parse(*pieces)
        except HeaderError as error:
            return "refused", str(error)
        return ("more", rest) if header is None else ("header", (header, rest))


class ChecksumTests(SynchronousTestCase):
    """Tests for L{crc32c}."""

    def test_known(self) -> None:
        """The sums are those of RFC 3720, B.4, and the usual check value."""
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        # There they stand as on the wire, the least significant byte first.
        known = {bytes(32): "aa36918a", b"\xff" * 32: "43aba862", bytes(range(32)): "4e79dd46"}
        for data, wire in known.items():
            self.assertEqual(crc32c(data).to_bytes(4, "little").hex(), wire)
        self.assertEqual(crc32c(b""), 0)
