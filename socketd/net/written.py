"""
What a transport is given to write: bytes, whole or in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable

#: What Twisted's own transports say of a string, and tests look for.
NOT_BYTES = "Data must be bytes"


def joined(pieces: Iterable[bytes]) -> bytes:
    """
    Make one piece of several.

    @raise TypeError: if one is not bytes.
    """
    try:
        return b"".join(pieces)
    except TypeError:
        raise TypeError(NOT_BYTES) from None
