"""
The cases of the Autobahn test suite, sections 1 to 7, 9 and 12, for an echo server.

Its own program needs Python 2, so these are written from its descriptions. Section 12 has
other data of the same kinds, and fewer messages of each.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from tests.protocols.web.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    fragments,
    frame,
)

HELLO = b"Hello, world!"

#: Sizes of payloads: those where the form of the length changes, and around them.
SIZES = (0, 125, 126, 127, 128, 65535, 65536)

#: Text of characters of several bytes, and what makes a text of it that is none.
WORD = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
SURROGATE, TOO_LARGE = b"\xed\xa0\x80", b"\xf4\x90\x80\x80"
NO_TEXT = WORD + SURROGATE + b"edited"

#: The codes of a close frame that are right, and those that are not.
GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)

#: What a close frame without a code says (RFC 6455, 7.4.1).
NO_CODE = 1005

#: Section 12: the size of a message, and of its frames.
COMPRESSED_SIZES = (
    *((size, size) for size in (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072)),
    *((size, 256) for size in (8192, 16384, 32768, 65536, 131072)),
    *((131072, size) for size in (1024, 4096, 32768)),
)

Expected = tuple[int, bytes]


@frozen
class Case:
    """
    A case.

    @ivar sent: what the client sends; each item may come at a time of its own.
    @ivar expected: the opcode and payload of each message and pong that comes back.
    @ivar codes: the codes with which the server may close; without them it is the client that
        closes at last, with 1000.
    @ivar fails_at: the index of the item that is refused, before anything after it is there.
    @ivar chop: how many bytes come at a time; 0: each item by itself.
    @ivar deflated: whether messages are compressed.
    """

    number: str
    sent: Sequence[bytes]
    expected: Sequence[Expected] = ()
    codes: tuple[int, ...] = ()
    fails_at: int | None = None
    chop: int = 0
    deflated: bool = False


def cases() -> Iterator[Case]:
    """List all cases in their order."""
    yield from _framing()
    yield from _pings()
    yield from _reserved_bits()
    yield from _opcodes()
    yield from _fragmentation()
    yield from _utf8()
    yield from _utf8_sequences()
    yield from _closing()
    yield from _limits()
    yield from _compression()


def _framing() -> Iterator[Case]:
    for section, opcode, byte in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for number, size in enumerate(SIZES, 1):
            payload = byte * size
            yield Case(f"{section}.{number}", [frame(opcode, payload)], [(opcode, payload)])
        yield Case(f"{section}.8", [frame(opcode, payload)], [(opcode, payload)], chop=997)


def _pings() -> Iterator[Case]:
    binary, long = b"\0\xff\xfe\xfd\xfc\xfb\0\xff", b"\xfe" * 125
    for number, payload in enumerate((b"", HELLO, binary, long), 1):
        yield Case(f"2.{number}", [frame(PING, payload)], [(PONG, payload)])
    yield Case("2.5", [frame(PING, b"\xfe" * 126)], codes=(1002,))
    yield Case("2.6", [frame(PING, long)], [(PONG, long)], chop=1)
    yield Case("2.7", [frame(PONG)])
    yield Case("2.8", [frame(PONG, b"unasked")])
    yield Case("2.9", [frame(PONG, b"unasked"), frame(PING, b"asked")], [(PONG, b"asked")])
    payloads = [b"payload-%d" % number for number in range(10)]
    sent, pongs = [frame(PING, one) for one in payloads], [(PONG, one) for one in payloads]
    yield Case("2.10", sent, pongs)
    yield Case("2.11", sent, pongs, chop=1)


def _refused(number: str, wrong: bytes, chop: int = 0) -> Case:
    """A message, something wrong, and a ping: only the message comes back."""
    sent = [frame(TEXT, HELLO), wrong, frame(PING)]
    return Case(number, sent, [(TEXT, HELLO)], (1002,), 1, chop)


def _reserved_bits() -> Iterator[Case]:
    yield Case("3.1", [frame(TEXT, HELLO, rsv=1)], codes=(1002,))
    for bits, chop in ((2, 0), (3, 0), (4, 1)):
        yield _refused(f"3.{bits}", frame(TEXT, HELLO, rsv=bits), chop)
    for bits, opcode in ((5, BINARY), (6, PING), (7, CLOSE)):
        payload = b"" if opcode == CLOSE else HELLO
        yield Case(f"3.{bits}", [frame(opcode, payload, rsv=bits)], codes=(1002,))


def _opcodes() -> Iterator[Case]:
    for section, first in (("4.1", 3), ("4.2", 11)):
        yield Case(f"{section}.1", [frame(first)], codes=(1002,))
        yield Case(f"{section}.2", [frame(first + 1, b"reserved")], codes=(1002,))
        for number, payload, chop in ((3, b"", 0), (4, HELLO, 0), (5, HELLO, 1)):
            yield _refused(f"{section}.{number}", frame(first + number - 1, payload), chop)


def _fragmentation() -> Iterator[Case]:
    for number, opcode in ((1, PING), (2, PONG)):
        sent = [frame(opcode, b"one", fin=False), frame(CONTINUATION, b"two")]
        yield Case(f"5.{number}", sent, codes=(1002,), fails_at=0)
    first, last = frame(TEXT, b"one", fin=False), frame(CONTINUATION, b"two")
    for number, chop in ((3, 65536), (4, 0), (5, 1)):
        yield Case(f"5.{number}", [first, last], [(TEXT, b"onetwo")], chop=chop)
    between, answers = [first, frame(PING, b"ping"), last], [(PONG, b"ping"), (TEXT, b"onetwo")]
    for number, chop in ((6, 65536), (7, 0), (8, 1)):
        yield Case(f"5.{number}", between, answers, chop=chop)
    for start, fin in ((9, True), (12, False)):
        for number, chop in enumerate((65536, 0, 1), start):
            sent = [frame(CONTINUATION, b"nothing", fin), frame(TEXT, HELLO)]
            yield Case(f"5.{number}", sent, (), (1002,), 0, chop)
    more = [frame(CONTINUATION, b"three", fin=False), frame(TEXT, b"four")]
    yield Case("5.15", [first, last, *more], [(TEXT, b"onetwo")], (1002,), 2)
    for number, fin in ((16, False), (17, True)):
        sent = [frame(CONTINUATION, b"zero", fin), first, last] * 2
        yield Case(f"5.{number}", sent, codes=(1002,), fails_at=0)
    yield Case("5.18", [first, frame(TEXT, b"two")], codes=(1002,), fails_at=1)
    sent = [
        *(first, frame(CONTINUATION, b"2", fin=False), frame(PING, b"a")),
        *(frame(CONTINUATION, b"3", fin=False), frame(CONTINUATION, b"4", fin=False)),
        *(frame(PING, b"b"), frame(CONTINUATION, b"5")),
    ]
    for number, chop in ((19, 65536), (20, 0)):
        answers = [(PONG, b"a"), (PONG, b"b"), (TEXT, b"one2345")]
        yield Case(f"5.{number}", sent, answers, chop=chop)


def _utf8() -> Iterator[Case]:
    yield Case("6.1.1", [frame(TEXT)], [(TEXT, b"")])
    for number, middle in ((2, b""), (3, b"middle")):
        sent = [frame(TEXT, fin=False), frame(CONTINUATION, middle, fin=False)]
        yield Case(f"6.1.{number}", [*sent, frame(CONTINUATION)], [(TEXT, middle)])
    text = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    half = len("Hello-µ@ßöä".encode())
    ways = ([frame(TEXT, text)], fragments(TEXT, text, half), fragments(TEXT, text, 1))
    for number, sent in enumerate((*ways, fragments(TEXT, WORD, 1)), 1):
        yield Case(f"6.2.{number}", sent, [(TEXT, WORD if number == 4 else text)])
    yield Case("6.3.1", [frame(TEXT, NO_TEXT)], codes=(1007,))
    yield Case("6.3.2", fragments(TEXT, NO_TEXT, 1), codes=(1007,))
    whole, split = WORD + TOO_LARGE + b"edited", []
    for number, cuts in ((1, (11, 15)), (2, (12, 13))):
        first, second, third = whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]
        sent = [frame(TEXT, first, False), frame(CONTINUATION, second, False)]
        frames = [*sent, frame(CONTINUATION, third)]
        yield Case(f"6.4.{number}", frames, codes=(1007,), fails_at=1)
        sent_whole = frame(TEXT, whole)
        at, then = (len(sent_whole) - len(whole) + cut for cut in cuts)
        split.append([sent_whole[:at], sent_whole[at:then], sent_whole[then:]])
    for number, pieces in enumerate(split, 3):
        yield Case(f"6.4.{number}", pieces, codes=(1007,), fails_at=1)


def _sequences() -> Iterator[list[tuple[bool, bytes]]]:
    """Sections 6.5 to 6.23: whether it is UTF-8, after Markus Kuhn's stress test."""
    texts = [f"hello{character}world".encode() for character in "\x24\xa2\u20ac\U00024b62"]
    yield [(True, text) for text in (*texts, WORD)]
    yield [(end in (2, 5, 7, 9, 11), WORD[:end]) for end in range(1, len(WORD) + 1)]
    yield _all(True, "00", "c280", "e0a080", "f0908080")
    yield _all(False, "f888808080", "fc8480808080")
    yield _all(True, "7f", "dfbf", "efbfbf", "f48fbfbf")
    yield _all(False, "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf")
    yield [*_all(True, "ed9fbf", "ee8080", "efbfbd", "f48fbfbf"), *_all(False, "f4908080")]
    unexpected = ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf"]
    yield _all(False, *unexpected, bytes(range(0x80, 0xBF)).hex())
    starts = ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
    yield [(False, b"".join(bytes([b, 0x20]) for b in range(*one))) for one in starts]
    missing = ["c0", "e080", "f08080", "f8808080", "fc80808080"]
    missing += ["df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]
    yield _all(False, *missing)
    yield _all(False, "".join(missing))
    yield _all(False, "fe", "ff", "fefeffff")
    yield _all(False, "c0af", "e080af", "f08080af", "f8808080af", "fc80808080af")
    yield _all(False, "c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf")
    yield _all(False, "c080", "e08080", "f0808080", "f880808080", "fc8080808080")
    yield _all(False, "eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")
    yield _all(False, *(f"ed{high}ed{low}" for high in ("a080", "adbf", "ae80", "afbf")
                        for low in ("b080", "bfbf")))  # fmt: skip
    ends = [f"{first:x}{second}bf{last}" for first in range(0xF0, 0xF5)
            for second in ("8f", "9f", "af", "bf") for last in ("be", "bf")]  # fmt: skip
    wrong = ("f08f", "f49f", "f4af", "f4bf")
    yield _all(True, "efbfbe", "efbfbf", *(end for end in ends if not end.startswith(wrong)))
    yield _all(True, "efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf")


def _all(is_text: bool, *digits: str) -> list[tuple[bool, bytes]]:
    return [(is_text, bytes.fromhex(one)) for one in digits]


def _utf8_sequences() -> Iterator[Case]:
    for section, sequences in enumerate(_sequences(), 5):
        for number, (is_text, payload) in enumerate(sequences, 1):
            expected, codes = ([(TEXT, payload)], ()) if is_text else ([], (1007,))
            sent = [frame(TEXT, payload)]
            yield Case(f"6.{section}.{number}", sent, expected, codes)


def _closing() -> Iterator[Case]:
    message = frame(TEXT, HELLO)
    yield Case("7.1.1", [message], [(TEXT, HELLO)])
    later = [frame(CLOSE), frame(PING), message]
    for number, after in enumerate(later, 2):
        yield Case(f"7.1.{number}", [close(), after], codes=(1000,), fails_at=0)
    sent = [frame(TEXT, b"one", fin=False), close(), frame(CONTINUATION, b"two")]
    yield Case("7.1.5", sent, codes=(1000,), fails_at=1)
    large = b"BAsd7&jh23" * 26215
    sent = [frame(TEXT, large), message, close(), frame(PING)]
    yield Case("7.1.6", sent, [(TEXT, large), (TEXT, HELLO)], (1000,), 2)
    yield Case("7.3.1", [close(None)], codes=(1000, NO_CODE))
    yield Case("7.3.2", [frame(CLOSE, b"a")], codes=(1002,))
    yield Case("7.3.3", [close()], codes=(1000,))
    yield Case("7.3.4", [close(1000, HELLO)], codes=(1000,))
    yield Case("7.3.5", [close(1000, b"*" * 123)], codes=(1000,))
    yield Case("7.3.6", [close(1000, b"*" * 124)], codes=(1002,))
    yield Case("7.5.1", [close(1000, NO_TEXT)], codes=(1002, 1007))
    for number, code in enumerate(GOOD_CODES, 1):
        yield Case(f"7.7.{number}", [close(code)], codes=(1000, code))
    for number, code in enumerate(BAD_CODES, 1):
        yield Case(f"7.9.{number}", [close(code)], codes=(1002,))
    for number, code in ((1, 5000), (2, 65535)):
        yield Case(f"7.13.{number}", [close(code)], codes=(1000, 1002, code))


def _limits() -> Iterator[Case]:
    kinds = (TEXT, b"BAsd7&jh23"), (BINARY, b"\0\xfe\x23\xfa\xf0")
    for section, (opcode, pattern) in zip((1, 2), kinds):
        for number, size in enumerate((64, 256, 1024, 4096, 8192, 16384), 1):
            payload = _repeated(pattern, size * 1024)
            yield Case(f"9.{section}.{number}", [frame(opcode, payload)], [(opcode, payload)])
    for section, opcode, byte in ((3, TEXT, b"*"), (4, BINARY, b"\xfe")):
        payload = byte * 4 * 1024 * 1024
        for number in range(9):
            sent = fragments(opcode, payload, 64 * 4**number)
            joined = [b"".join(sent)]
            yield Case(f"9.{section}.{number + 1}", joined, [(opcode, payload)], chop=65536)
    for section, (opcode, pattern) in zip((5, 6), kinds):
        payload = _repeated(pattern, 1024 * 1024)
        for number in range(6):
            sent = [frame(opcode, payload)]
            expected = [(opcode, payload)]
            yield Case(f"9.{section}.{number + 1}", sent, expected, chop=64 << number)
    for section, (opcode, pattern) in zip((7, 8), kinds):
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            payload = _repeated(pattern, size)
            sent = [frame(opcode, payload)] * 1000
            yield Case(f"9.{section}.{number}", sent, [(opcode, payload)] * 1000)


def _repeated(pattern: bytes, size: int) -> bytes:
    return (pattern * (size // len(pattern) + 1))[:size]


def _data() -> Iterator[tuple[int, bytes]]:
    """Data as that of section 12: JSON, a picture, prose, HTML, and what is compressed already."""
    rows = [{"id": number, "name": f"Nutzer {number}", "on": number % 3 == 0}
            for number in range(4000)]  # fmt: skip
    chance = random.Random(12)
    words = [chance.randbytes(chance.randint(1, 6)).hex() for _ in range(500)]
    prose = " ".join(chance.choices(words, k=30_000)).encode()
    yield TEXT, json.dumps(rows).encode()
    yield BINARY, bytes(x * y >> 6 & 0xFF for y in range(512) for x in range(512))
    yield BINARY, prose
    yield BINARY, b"<ul>" + b"".join(b"<li><a>%b</a></li>\n" % w.encode() for w in words * 9)
    yield BINARY, chance.randbytes(300_000)


def _compression() -> Iterator[Case]:
    for section, (opcode, data) in enumerate(_data(), 1):
        for number, (size, frame_size) in enumerate(COMPRESSED_SIZES, 1):
            sent: list[bytes] = []
            expected: list[Expected] = []
            for start in (0, 7919):
                payload = _repeated(data[start:], size)
                sent += fragments(opcode, deflate(payload), frame_size, rsv=4)
                expected.append((opcode, payload))
            yield Case(f"12.{section}.{number}", sent, expected, deflated=True)


def deflate(payload: bytes) -> bytes:
    """Compress a message (RFC 7692, 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(payload: bytes) -> bytes:
    """Decompress a message (RFC 7692, 7.2.2)."""
    return zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")


def code_of(payload: bytes) -> int:
    """Read the code of a close frame."""
    return int(struct.unpack("!H", payload[:2])[0]) if payload else NO_CODE


def chopped(case: Case) -> Iterable[bytes]:
    """Cut what a case sends as it says."""
    if not case.chop:
        return case.sent
    data = b"".join(case.sent)
    return (data[at : at + case.chop] for at in range(0, len(data), case.chop))
