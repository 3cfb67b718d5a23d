"""The output of a stream that a fault profile holds back, and when each piece of it is due."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from socketd.faults.draws import ConnectionDraw

#: Writes that are held apart, each with its own time: with more, the bytes of the next one join
#: those of the last, so that many tiny writes take no more memory than the 64 KiB that they
#: count in.  At a latency of 50 ms these are 5000 messages per second of one connection.
MAX_WRITES = 256

#: How many seconds of a bandwidth one piece is: so often a paced connection wakes the reactor.
PORTION = 0.02


class HeldOutput:
    """
    A queue of bytes on their way to a peer; none overtakes another.

    A write is delayed from when it was written (latency), then cut into pieces that keep a
    distance (slices), and each piece takes its time on a slow line (bandwidth).  All times follow
    from those before, not from when the reactor gets round to them: a late timer delays one piece,
    and not all that follow.

    @ivar size: how many bytes are held.
    """

    __slots__ = (
        "_draw",
        "_free_at",
        "_next_at",
        "_opens_at",
        "_piece",
        "_ready",
        "_writes",
        "size",
    )

    def __init__(self, draw: ConnectionDraw, opens_at: float) -> None:
        """@param opens_at: before this time nothing is sent; infinite: never."""
        self._draw, self._opens_at = draw, opens_at
        self._writes: deque[tuple[float, Any]] = deque()
        self._ready = self._next_at = self._free_at = 0.0
        self._piece = self.size = 0

    def put(self, data: bytes, now: float) -> None:
        """Hold the bytes of one write."""
        self.size += len(data)
        self._ready = max(self._ready, self._opens_at, now + self._draw.next_delay())
        if len(self._writes) < MAX_WRITES:
            self._writes.append((self._ready, data))
            return
        _, last = self._writes.pop()
        joined = last if isinstance(last, bytearray) else bytearray(last)
        joined += data
        self._writes.append((self._ready, joined))

    @property
    def due(self) -> float:
        """When the next piece is to be sent; infinite if there is none, or it never is."""
        if not self._writes:
            return inf
        ready, data = self._writes[0]
        options = self._draw.options
        if not self._piece:
            self._piece = self._cut(len(data))
        start = max(ready, self._next_at)
        if options.bandwidth is None:
            return start
        return max(start, self._free_at) + self._piece / options.bandwidth

    def _cut(self, length: int) -> int:
        options = self._draw.options
        if options.slice is not None:
            return min(length, self._draw.next_slice())
        if options.bandwidth is not None:
            return min(length, max(1, int(options.bandwidth * PORTION)))
        return length

    def take(self) -> bytes:
        """Take the next piece, which is sent when it is due."""
        self._free_at = due = self.due
        every = self._draw.options.slice.every if self._draw.options.slice is not None else 0.0
        self._next_at = due + every
        return self._remove(self._piece)

    def take_all(self) -> bytes:
        """Take the whole of the first write, whenever it is due."""
        return self._remove(len(self._writes[0][1]))

    def _remove(self, count: int) -> bytes:
        ready, data = self._writes[0]
        self._piece = 0
        self.size -= count
        if count == len(data):
            self._writes.popleft()
            return bytes(data)
        rest = memoryview(data)
        self._writes[0] = (ready, rest[count:])
        return bytes(rest[:count])

    def clear(self) -> int:
        """Forget all; return how many bytes that were."""
        dropped, self.size = self.size, 0
        self._writes.clear()
        return dropped
