"""Tests of L{socketd.net.tls.records}."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from socketd.net.tls.records import ALL, RecordEnds


def written(size: int, kind: int = 23, version: int = 0x0303) -> bytes:
    """Write a record."""
    return struct.pack(">BHH", kind, version, size) + bytes(size)


class RecordEndTests(SynchronousTestCase):
    """Tests for the reads that received data needs."""

    def check(self, pieces: list[bytes], *expected: int) -> None:
        """See what is counted for each of some pieces."""
        ends = RecordEnds()
        self.assertEqual([ends.count(piece) for piece in pieces], [*expected])

    def test_whole(self) -> None:
        """A record needs a read, and several as many, of whatever type."""
        records = [written(0), written(64), written(2, 21), written(16640, 22), written(1, 20)]
        self.check(records, 1, 1, 1, 1, 1)
        self.check([b"".join(records), written(9)], 5, 1)

    def test_split(self) -> None:
        """Within a record only OpenSSL knows, until one has come to its end."""
        both = written(64) + written(300)
        for at in (70, 73, 74, 100, len(both) - 1):
            self.check([both[:at], both[at:], written(1)], ALL, 1, 1)
            self.check([both[:at], both[at:] + written(1)], ALL, 2)

    def test_byte_by_byte(self) -> None:
        """So it is with headers that come in pieces."""
        data = written(2) + written(0) + written(1)
        pieces = [data[at : at + 1] for at in range(len(data))]
        ends = {6, 11, 17}
        self.check(pieces, *(1 if at in ends else ALL for at in range(len(data))))

    def test_no_tls(self) -> None:
        """Behind what is no TLS, OpenSSL is asked for all."""
        for wrong in (written(1, 24), written(1, 19), written(1, 23, 0x0203), b"\x80\x2e\x01\3\1"):
            self.check([written(1), wrong, written(1)], 1, ALL, ALL)
            self.check([written(7) + wrong, written(1)], ALL, ALL)
