"""
Bytes to lines.
"""

from __future__ import annotations

MAX_LINE = 1024 * 1024
"""
The longest line: somebody who pipes more than a megabyte without a line end has no lines.
"""


class LineSplitter:
    """
    Cuts an input into lines, each stripped of white space on both ends, and drops empty ones.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        """
        Begin at the start of a line.

        @param limit: how many bytes a line may have.
        """
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take some more bytes.

        @param data: the bytes.
        @return: the lines that end in them.
        @raise ValueError: when a line is too long.
        """
        # Only what is new is searched: a long line in small pieces costs no more than its length.
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
        Take the end of the input for the end of the line.

        @return: the last line, where there is one.
        """
        return _stripped([bytes(self._rest)])


def _stripped(lines: list[bytes]) -> list[bytes]:
    return [line.strip() for line in lines if line.strip()]
