"""Splits a byte stream into lines."""

from __future__ import annotations

from collections import deque


class LineBuffer:
    """
    The lines of a byte stream, without their ends.

    Of a longer line than the limit only the limit and one byte are kept, so that it can be told
    from the longest line.

    @ivar lines: the complete lines, until they are taken.
    """

    def __init__(self, limit: int) -> None:
        """@param limit: the longest line (bytes)."""
        self.lines: deque[bytes] = deque()
        self._limit = limit
        self._rest = bytearray()

    @property
    def is_begun(self) -> bool:
        """Whether the last line is incomplete."""
        return bool(self._rest)

    @property
    def is_too_long(self) -> bool:
        """Whether the incomplete line is already longer than the limit."""
        return len(self._rest) > self._limit

    def feed(self, data: bytes) -> deque[bytes]:
        """Add bytes, and return C{lines}; only these are searched: pieces take linear time."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._add(piece)
            self.lines.append(bytes(self._rest))
            self._rest.clear()
        self._add(rest)
        return self.lines

    def end(self) -> deque[bytes]:
        """End an incomplete line: there is no more input."""
        return self.feed(b"\n" * self.is_begun)

    def _add(self, piece: bytes) -> None:
        self._rest += piece[: self._limit + 1 - len(self._rest)]
