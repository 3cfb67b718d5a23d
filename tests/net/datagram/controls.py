"""Control messages as the kernel writes them."""

from __future__ import annotations

import struct

#: Room for what the kernel says of one datagram.
ROOM = 256


def written(*messages: tuple[tuple[int, int], bytes]) -> memoryview:
    """Write control messages one behind another, as the kernel does (cmsg(3))."""
    buffer = bytearray()
    for (level, kind), data in messages:
        buffer += struct.pack("@Nii", 16 + len(data), level, kind) + data
        buffer += bytes(-len(buffer) % 8)
    return memoryview(buffer)
