"""Where the records of TLS end in a stream, so that nothing is read that is not there."""

from __future__ import annotations

#: A record begins with its type, two bytes of version, and its length in two more (RFC 8446, 5.1).
_HEADER = 5

#: The types of records, change_cipher_spec to application_data, and the first byte of every
#: version since SSL 3.0.
_TYPES = range(20, 24)
_MAJOR = 3

#: More records than one receive may have: read until OpenSSL has no more.
ALL = 1 << 32


class RecordEnds:
    """
    Follows the headers of a received stream.

    A read that OpenSSL answers with WANT_READ costs as much as one with data, so that after
    the last whole record none is tried.
    """

    __slots__ = ("_head", "_is_lost", "_missing")

    def __init__(self) -> None:
        self._missing = 0
        self._head = b""
        self._is_lost = False

    def count(self, data: bytes) -> int:
        """
        Count the reads that give all that came with received data: each takes a record or more.

        @return: L{ALL} if it ends within a record, which OpenSSL may refuse before its end, or
            if there was one that is no TLS.
        """
        if self._head:
            data, self._head = self._head + data, b""
        end, size = self._missing, len(data)
        reads = 1 if end else 0
        while end + _HEADER <= size:
            if data[end] not in _TYPES or data[end + 1] != _MAJOR:
                self._is_lost = True
                break
            end += _HEADER + (data[end + 3] << 8 | data[end + 4])
            reads += 1
        if self._is_lost:
            return ALL
        if end < size:
            self._head, end = data[end:], size
            reads = ALL
        self._missing = end - size
        return reads if end == size else ALL
