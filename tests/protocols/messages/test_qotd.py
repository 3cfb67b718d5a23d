"""Tests for L{socketd.protocols.messages.qotd}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.messages.qotd import (
    MAX_QUOTE,
    Qotd,
    QotdDatagrams,
    QotdOptions,
    parse_quotes,
)
from socketd.settings.ini import MAX_FILE_BYTES
from socketd.settings.load import parse
from socketd.settings.options import declared
from tests.protocols.fakes import (
    PEER,
    FakeDatagramTransport,
    answers,
    declaration_of,
    make_stream,
    told,
)

#: Of 3, 4 and 12 bytes, not in this order.
QUOTES = (b"two\r\nlines\r\n", b"a\r\n", b"bc\r\n")


class FileTestCase(SynchronousTestCase):
    """A file of quotes."""

    def write(self, content: bytes) -> str:
        """Write the file, and return its path."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def read(self, content: bytes) -> tuple[bytes, ...]:
        """Write the file and read its quotes."""
        return parse_quotes(self.write(content))

    def problem(self, path: str) -> str:
        """Read a file that has something wrong with it."""
        return str(self.assertRaises(ValueError, parse_quotes, path))


class ParseQuotesTests(FileTestCase):
    """Tests for L{parse_quotes}."""

    def test_quotes(self) -> None:
        """Quotes stand between lines of a percent sign, and have CR LF on the wire."""
        self.assertEqual(self.read(b"two\nlines\n%\na\n%\nbc\n"), QUOTES)

    def test_one(self) -> None:
        """A single one needs no percent sign, and no end of line."""
        for content in (b"a", b"a\n", b"a\n%", b"a\n%\n", b"%\na\n", b"\xef\xbb\xbfa\n"):
            self.assertEqual(self.read(content), (b"a\r\n",), content)

    def test_ends_of_lines(self) -> None:
        """A file that has CR LF already is the same file."""
        self.assertEqual(self.read(b"two\r\nlines\r\n%\r\na\r\n%\r\nbc\r\n"), QUOTES)

    def test_empty_lines(self) -> None:
        """Empty lines within a quote stay; those around it, and quotes without text, go."""
        self.assertEqual(self.read(b"\n\na \n\n  b\n\n\n%\n\n%\n%\n"), (b"a\r\n\r\n  b\r\n",))

    def test_percent(self) -> None:
        """A percent sign that is not alone in its line is text."""
        self.assertEqual(self.read(b"100 %\n%%\n% \n%d\n"), (b"100 %\r\n%%\r\n", b"%d\r\n"))

    def test_utf_8(self) -> None:
        """Text beyond ASCII is sent as UTF-8; only a line feed ends a line."""
        text = "Gr\u00fc\u00dfe \u2028 x".encode()
        self.assertEqual(self.read(text), (text + b"\r\n",))

    def test_longest(self) -> None:
        """A quote may fill 512 bytes, its ends of lines included."""
        self.assertEqual(MAX_QUOTE, 512)
        self.assertEqual(self.read(b"x" * 510), (b"x" * 510 + b"\r\n",))
        found = self.read(b"x" * 254 + b"\n" + b"y" * 254)
        self.assertEqual([len(quote) for quote in found], [512])

    def test_too_long(self) -> None:
        """A longer one is complained of, with the line that it begins at."""
        problem = self.problem(self.write(b"a\n%\n\n" + b"x" * 511 + b"\n"))
        expected = "has quotes that are too long, at line 4; a quote has up to 512 bytes,"
        self.assertEqual(problem, f"{expected} CR LF at each end of line included")
        # 255 two-byte letters and the end of line fit, 256 do not.
        self.assertEqual(len(self.read("\u00fc".encode() * 255)[0]), 512)
        self.assertIn("at line 1;", self.problem(self.write("\u00fc".encode() * 256)))

    def test_many_too_long(self) -> None:
        """All of them are named, or the first few."""
        long = b"x" * 600 + b"\n%\n"
        self.assertIn("at line 1, 5;", self.problem(self.write(long + b"a\n%\n" + long)))
        self.assertIn("at line 1, 3, 5, 7, 9;", self.problem(self.write(long * 5)))
        self.assertIn("at line 1, 3, 5, 7, 9 ...;", self.problem(self.write(long * 6)))

    def test_empty(self) -> None:
        """A file without a quote is complained of."""
        expected = "holds no quote; write some, with a line % between them"
        for content in (b"", b"\n", b"%\n", b" \n%\n\r\n%"):
            self.assertEqual(self.problem(self.write(content)), expected)

    def test_unreadable(self) -> None:
        """So is one that is not there, or no file."""
        hint = "; write the path of a file of quotes"
        missing = self.problem(self.mktemp())
        self.assertEqual(missing, f"cannot be read: No such file or directory{hint}")
        below = self.problem(self.write(b"a") + "/b")
        self.assertEqual(below, f"cannot be read: Not a directory{hint}")
        self.assertEqual(self.problem(""), f"names no file{hint}")
        for path in (os.curdir, os.devnull):
            self.assertEqual(self.problem(path), f"is no file{hint}")
        self.assertIsInstance(self.problem("a\0b"), str)

    def test_pipe(self) -> None:
        """A named pipe is complained of, not waited for."""
        path = self.mktemp()
        os.mkfifo(path)
        self.assertIn("is no file", self.problem(path))

    def test_too_large(self) -> None:
        """A file may have 1 MiB, and no byte more."""
        content = (b"x" * 61 + b"\n%\n") * (MAX_FILE_BYTES // 64)
        self.assertEqual(len(self.read(content)), MAX_FILE_BYTES // 64)
        problem = self.problem(self.write(content + b"x"))
        self.assertEqual(problem, "is too large; a file of quotes has up to 1048576 bytes")

    def test_no_text(self) -> None:
        """So is one that is not UTF-8, with the line."""
        problem = self.problem(self.write(b"a\n%\nGr\xfc\xdfe\n"))
        self.assertEqual(problem, "has the byte 0xfc at line 3; write text in UTF-8")
        problem = self.problem(self.write(b"a\nb\0\n"))
        self.assertEqual(problem, "has a NUL byte at line 2; write text in UTF-8")

    def test_complaint(self) -> None:
        """In a configuration it is complained of with the configuration's own line too."""
        path = self.write(b"\xff")
        ini = f"[qotd]\nlisten = tcp:17\ntexts = {path}\nudp_amplify = 513\n"
        problem = self.assertRaises(
            Exception, parse, ini, "x.ini", {"qotd": declaration_of("qotd")}, "/run"
        )
        lines = str(problem).split("\n")
        self.assertEqual(len(lines), 2, lines)
        self.assertTrue(lines[0].startswith("x.ini:3: [qotd] texts = "), lines)
        self.assertTrue(lines[0].endswith(": has the byte 0xff at line 1; write text in UTF-8"))
        expected = "x.ini:4: [qotd] udp_amplify = 513: is out of range; write 0 to 512"
        self.assertEqual(lines[1], expected)

    def test_configuration(self) -> None:
        """A configuration that is right has the quotes."""
        path = self.write(b"a\n%\nbc\n")
        ini = f"[qotd]\nlisten = tcp:17\ntexts = {path}\n"
        found = parse(ini, "x.ini", {"qotd": declaration_of("qotd")}, "/run")
        self.assertEqual(found.services[0].options, QotdOptions(texts=(b"a\r\n", b"bc\r\n")))


class QotdTests(SynchronousTestCase):
    """Tests for C{qotd}."""

    def test_stream(self) -> None:
        """A connection is sent one quote at once, and closed."""
        self.assertEqual(told(Qotd(QUOTES, min)), QUOTES[0])
        self.assertEqual(told(Qotd(QUOTES, max)), QUOTES[2])
        self.assertEqual(told(make_stream("qotd", texts=QUOTES[:1])), QUOTES[0])

    def test_random(self) -> None:
        """Each quote has its turn."""
        found = {told(make_stream("qotd", texts=QUOTES)) for _ in range(500)}
        self.assertEqual(found, set(QUOTES))

    def test_required(self) -> None:
        """There are no quotes by default."""
        self.assertRaises(TypeError, declaration_of("qotd").options)
        self.assertEqual(list(declared(QotdOptions)), ["texts", "udp_amplify"])


class QotdDatagramTests(SynchronousTestCase):
    """Tests for C{qotd} with datagrams."""

    def longest(self, length: int, udp_amplify: int = 0) -> list[bytes]:
        """Send a datagram, and give the longest answer that it can have."""
        transport = FakeDatagramTransport()
        transport.allowance = max(length, udp_amplify)
        protocol = QotdDatagrams(QotdOptions(texts=QUOTES, udp_amplify=udp_amplify), max)
        protocol.transport = transport
        protocol.datagramReceived(b"x" * length, PEER)
        self.assertTrue(all(addr == PEER for _, addr in transport.sent))
        return [packet for packet, _ in transport.sent]

    def test_lengths(self) -> None:
        """The answer is no longer than the datagram; where none is, there is none."""
        for length in (0, 1, 2):
            self.assertEqual(self.longest(length), [])
        self.assertEqual(self.longest(3), [b"a\r\n"])
        for length in (4, 11):
            self.assertEqual(self.longest(length), [b"bc\r\n"])
        for length in (12, 13, 512, 65507):
            self.assertEqual(self.longest(length), [b"two\r\nlines\r\n"])

    def test_amplify(self) -> None:
        """It may be so long as the configuration allows."""
        self.assertEqual(self.longest(0, udp_amplify=2), [])
        self.assertEqual(self.longest(0, udp_amplify=3), [b"a\r\n"])
        self.assertEqual(self.longest(1, udp_amplify=512), [b"two\r\nlines\r\n"])
        self.assertEqual(self.longest(12, udp_amplify=3), [b"two\r\nlines\r\n"])

    def test_random(self) -> None:
        """Each quote that fits has its turn, and no other."""
        found = answers("qotd", *[b"x" * 5] * 500, texts=QUOTES)
        self.assertEqual((len(found), set(found)), (500, {b"a\r\n", b"bc\r\n"}))

    def test_reply_floor(self) -> None:
        """The port is told how long an answer to a short datagram may be."""
        found = declaration_of("qotd")
        for size in (0, 26, 512):
            options = found.options(texts=QUOTES, udp_amplify=size)
            self.assertEqual(found.reply_floor(options), size)
