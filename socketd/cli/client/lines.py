"""Splits a byte stream into lines."""

from __future__ import annotations

#: Maximum length of a line in bytes: a megabyte without a line end is not line-based input.
MAX_LINE = 1024 * 1024


class LineSplitter:
    """Splits an input into lines, strips white space at both ends, and drops empty lines."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        """
        Start at the beginning of a line.

        @param limit: the maximum length of a line in bytes.
        """
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """
        Add input.

        @param data: the bytes.
        @return: the lines that these bytes complete.
        @raise ValueError: when a line is too long.
        """
        # Only new bytes are searched, so that a long line in small pieces takes linear time.
        *ended, rest = data.split(b"\n")
        if ended:
            ended[0] = bytes(self._rest) + ended[0]
            self._rest.clear()
        self._rest += rest
        if max(map(len, [*ended, self._rest])) > self._limit:
            raise ValueError(f"a line is longer than {self._limit} bytes")
        return _stripped(ended)

    def end(self) -> list[bytes]:
        """
        Treat the end of the input as a line end.

        @return: the last line, if it is not empty.
        """
        return _stripped([bytes(self._rest)])


def _stripped(lines: list[bytes]) -> list[bytes]:
    return [line.strip() for line in lines if line.strip()]
