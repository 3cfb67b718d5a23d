"""Tests for L{socketd.protocols.clock.nts_records}, rule by rule (RFC 8915, section 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from socketd.protocols.clock.nts_records import (
    COOKIES,
    MAX_MESSAGE,
    Agreement,
    Code,
    RecordError,
    RecordReader,
    agree,
    error_response,
    response,
)
from tests.protocols.clock.nts_client import END, USUAL, read_records, record

NTP, AEAD = record(1, b"\0\0"), record(4, b"\0\x0f", critical=False)
BOTH = Agreement(ntp=True, aead=True)
WITHOUT = Agreement(ntp=True, aead=False)
NEITHER = Agreement(ntp=False, aead=False)

#: Each rule: its section, a request without its end, and what comes of it.
RULES: tuple[tuple[str, bytes, Agreement | Code], ...] = (
    ("4.1.2 one that is usual", NTP + AEAD, BOTH),
    ("4.1.5 the critical bit may be set", NTP + record(4, b"\0\x0f"), BOTH),
    ("4 the order is free", AEAD + NTP, BOTH),
    ("4.1.2 other protocols are left out", record(1, b"\0\x07\0\0") + AEAD, BOTH),
    ("4.1.2 no protocol of ours", record(1, b"\0\x07"), NEITHER),
    ("4.1.5 others may need an algorithm, too", record(1, b"\0\x07") + AEAD, NEITHER),
    ("4.1.2 must be there", AEAD, Code.BAD_REQUEST),
    ("4.1.2 must be there once", NTP + NTP + AEAD, Code.BAD_REQUEST),
    ("4.1.2 must be critical", record(1, b"\0\0", False) + AEAD, Code.BAD_REQUEST),
    ("4.1.2 must list one", record(1) + AEAD, Code.BAD_REQUEST),
    ("4.1.2 numbers have two bytes", record(1, b"\0\0\0") + AEAD, Code.BAD_REQUEST),
    ("4.1.3 clients send no error", NTP + AEAD + record(2, b"\0\0"), Code.BAD_REQUEST),
    ("4.1.4 clients send no warning", NTP + AEAD + record(3, b"\0\0"), Code.BAD_REQUEST),
    ("4.1.5 any of those offered", NTP + record(4, b"\0\x1e\0\x0f\0\x10", False), BOTH),
    ("4.1.5 none of ours", NTP + record(4, b"\0\x1e"), WITHOUT),
    ("4.1.5 must be there for NTPv4", NTP, Code.BAD_REQUEST),
    ("4.1.5 must be there once", NTP + AEAD + AEAD, Code.BAD_REQUEST),
    ("4.1.5 must list one", NTP + record(4), Code.BAD_REQUEST),
    ("4.1.5 numbers have two bytes", NTP + record(4, b"\x0f"), Code.BAD_REQUEST),
    ("4.1.6 clients send no cookie", NTP + AEAD + record(5, b"x" * 100, False), Code.BAD_REQUEST),
    ("4.1.7 a server may be wished for", NTP + AEAD + record(6, b"a.example", False), BOTH),
    ("4.1.7 at most one", NTP + AEAD + record(6, b"a") * 2, Code.BAD_REQUEST),
    ("4.1.8 a port may be wished for", NTP + AEAD + record(7, b"\0\x7b"), BOTH),
    ("4.1.8 at most one", NTP + AEAD + record(7, b"\0\x7b") * 2, Code.BAD_REQUEST),
    ("4 unknown ones are ignored", record(1024, b"", False) * 2 + NTP + AEAD, BOTH),
    ("4.1.3 but not critical ones", NTP + AEAD + record(99), Code.UNRECOGNIZED_CRITICAL),
)


def outcome(pieces: Iterable[bytes]) -> Agreement | Code | None:
    """Feed a request; C{None} if it has no end yet."""
    reader = RecordReader()
    try:
        for piece in pieces:
            records = reader.feed(piece)
            if records is not None:
                return agree(records)
    except RecordError as problem:
        return problem.code
    return None


class RequestTests(SynchronousTestCase):
    """Tests for what clients ask."""

    def test_rules(self) -> None:
        """Each rule holds, however the request is cut."""
        for rule, request, expected in RULES:
            whole = request + END
            for pieces in ([whole], [whole[at : at + 1] for at in range(len(whole))]):
                self.assertEqual(outcome(pieces), expected, rule)
            for at in range(len(whole)):
                self.assertIsNone(outcome([whole[:at]]), rule)
                self.assertEqual(outcome([whole[:at], whole[at:]]), expected, rule)

    def test_end(self) -> None:
        """The end is critical, empty, and nothing follows it (section 4.1.1)."""
        for end in (record(0, b"", False), record(0, b"\0"), END + END, END + b"\0", END + NTP):
            self.assertEqual(outcome([NTP + AEAD + end]), Code.BAD_REQUEST, end)

    def test_long(self) -> None:
        """A request of 1024 bytes and more is taken, and one of L{MAX_MESSAGE} at most (4)."""
        for size in (1024, MAX_MESSAGE - len(USUAL)):
            filler = record(99, bytes(size - 4), critical=False)
            self.assertEqual(outcome([filler, USUAL]), BOTH)
        endless = record(99, bytes(1000), critical=False)
        self.assertEqual(outcome([endless] * 17), Code.BAD_REQUEST)
        for part in (record(99, bytes(60000)), record(99, bytes(60000))[: MAX_MESSAGE + 1]):
            self.assertEqual(outcome([part]), Code.BAD_REQUEST)


class ResponseTests(SynchronousTestCase):
    """Tests for what clients are told."""

    def test_cookies(self) -> None:
        """Protocol, algorithm, and the cookies, which are not critical; the end is last."""
        cookies = [bytes([number]) * 100 for number in range(COOKIES)]
        self.assertEqual(
            read_records(response(BOTH, cookies)),
            [(1, True, b"\0\0"), (4, True, b"\0\x0f")]
            + [(5, False, cookie) for cookie in cookies]
            + [(0, True, b"")],
        )

    def test_server(self) -> None:
        """Server and port are told where they are given (sections 4.1.7 and 4.1.8)."""
        found = read_records(response(BOTH, [b"c"], "ntp.example.org", 61123))
        self.assertIn((6, True, b"ntp.example.org"), found)
        self.assertIn((7, True, struct.pack("!H", 61123)), found)

    def test_nothing_in_common(self) -> None:
        """No algorithm is an empty list, no protocol another one; both have no cookies."""
        found = read_records(response(WITHOUT, [b"c"], "ntp.example.org", 61123))
        self.assertEqual(found, [(1, True, b"\0\0"), (4, True, b""), (0, True, b"")])
        self.assertEqual(read_records(response(NEITHER, [b"c"])), [(1, True, b""), (0, True, b"")])

    def test_error(self) -> None:
        """An error is one record and the end (section 4.1.3)."""
        for code in Code:
            expected = [(2, True, struct.pack("!H", code)), (0, True, b"")]
            self.assertEqual(read_records(error_response(code)), expected)
