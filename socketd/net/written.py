"""Checks of the data that is passed to a transport's write methods."""

from __future__ import annotations

from collections.abc import Iterable

#: The message of Twisted's own transports for a C{str}, which protocols' tests expect.
NOT_BYTES = "Data must be bytes"


def joined(pieces: Iterable[bytes]) -> bytes:
    """
    Join several pieces.

    @raise TypeError: if one is not C{bytes}.
    """
    try:
        return b"".join(pieces)
    except TypeError:
        raise TypeError(NOT_BYTES) from None
