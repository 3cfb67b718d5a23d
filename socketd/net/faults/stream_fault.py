"""The faults of one stream: what is held, how much is still sent, and when it ends."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from socketd.faults.draws import ConnectionDraw
from socketd.net.faults.held_output import HeldOutput
from socketd.settings.faults.profile import ENDS, RESETS, SENDING
from socketd.settings.faults.values import NEVER_READ, REFUSE, SILENT, SLOW

#: Before a reset, seconds between two looks whether the peer has acknowledged all: at first,
#: enough for one on this machine, and at most; each is twice as long as the last.
FIRST_LOOK = 0.001
LAST_LOOK = 0.25


class StreamFault:
    """
    The draw of a connection, and how far it has come.

    @ivar secure: the transport over TLS whose output is held (C{at = protocol}); C{None}: the
        bytes of the socket are.
    @ivar held: what is held; C{None} if the profile delays nothing.
    @ivar endless: whether the peer is never answered, or never read, as long as it stays.
    @ivar reads: whether the connection may be read.
    @ivar left: how many bytes are sent before an end; C{None}: no end depends on that.
    @ivar ending: the name of this end, or of the next one by time.
    @ivar ended: whether this end has come.
    @ivar moved_at: when something was last sent, or acknowledged while a reset waits for that.
    @ivar busy: whether held bytes are being sent.
    @ivar wakes_at: when the connection is woken to see whether its end has come.
    @ivar rings_at: when the connection is woken for what is due next, by C{timer}.
    """

    __slots__ = (
        "_counted",
        "_counts",
        "_look",
        "_opens_at",
        "_sending",
        "_timed",
        "_unacknowledged",
        "busy",
        "draw",
        "ended",
        "ending",
        "endless",
        "held",
        "left",
        "moved_at",
        "reads",
        "rings_at",
        "secure",
        "timer",
        "wakes_at",
    )

    def __init__(self, draw: ConnectionDraw, counts: Counter[str]) -> None:
        """@param counts: the connections of the service on which a fault acted, by its name."""
        self.draw, self._counts, self._counted = draw, counts, set[str]()
        self.secure: Any = None
        self.timer: IDelayedCall | None = None
        self.held: HeldOutput | None = None
        self.left: int | None = None
        self.ending, self._timed = "", list[tuple[float, str]]()
        self._sending = list[str]()
        self.endless = self.busy = self.ended = False
        self.reads = True
        self.moved_at, self._look, self._unacknowledged = 0.0, FIRST_LOOK, 0
        self.wakes_at = self._opens_at = self.rings_at = inf

    def start(self, now: float) -> None:
        """Begin to count bytes and time."""
        self.moved_at = now
        options = self.draw.options
        action = options.action
        self.endless = action in (SILENT, NEVER_READ)
        self.reads = action not in (SLOW, NEVER_READ)
        silent_until = inf if action == SILENT else 0.0
        if options.accept is not None and action == SLOW:
            self._opens_at = silent_until = now + options.accept.seconds
        if self.endless or action == SLOW:
            self.count(action)
        self._sending = list(options.given(SENDING))
        if silent_until or self._sending:
            self.held = HeldOutput(self.draw, silent_until)
        self._set_ends(now)

    def _set_ends(self, now: float) -> None:
        """Set the ends after so many bytes, and after a time; C{at once} is after no byte."""
        options = self.draw.options
        given = options.given(ENDS).items()
        self._timed = sorted((now + end.seconds, name) for name, end in given if end.seconds)
        sizes = [(end.size or 0, name) for name, end in given if not end.seconds]
        if options.action == REFUSE:
            sizes.append((0, REFUSE))
        if sizes:
            self.left, self.ending = min(sizes)
        if self.left == 0:
            # What a peer has sent already, and its EOF, must not come before its reset.
            self.reads = self.reads and self.ending not in RESETS
            self.wakes_at = now

    def count(self, name: str) -> None:
        """Count a fault that acts on this connection, once."""
        if name not in self._counted:
            self._counted.add(name)
            self._counts[name] += 1

    @property
    def holds(self) -> bool:
        """Whether the profile keeps the peer waiting, so that it is neither idle nor slow."""
        return self.endless or not self.reads or self.has_held

    @property
    def has_held(self) -> bool:
        """Whether output is held."""
        return self.held is not None and self.held.size > 0

    @property
    def is_cut(self) -> bool:
        """Whether no more output is taken."""
        return self.left == 0

    def admit(self, data: bytes) -> bytes:
        """Return what is still sent of some output."""
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        return data

    def hold(self, data: bytes, now: float) -> None:
        """Hold output."""
        assert self.held is not None
        self.held.put(data, now)
        while self._sending:
            self.count(self._sending.pop())

    def drop(self) -> int:
        """Take no more output, and forget what is held; return how many bytes that were."""
        self.left, self.ended, self.endless = 0, True, False
        return self.held.clear() if self.held is not None else 0

    def stop_timer(self) -> None:
        """Let the connection no longer be woken."""
        self.rings_at = inf
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def open(self, now: float) -> bool:
        """Begin to read if C{slow} is over; return whether it is over just now."""
        self.wakes_at = inf
        if self._opens_at > now:
            return False
        self._opens_at, self.reads, self.moved_at = inf, True, now
        return True

    def next_end(self, now: float) -> str:
        """Take the next end whose time has come; empty if there is none."""
        if not self._timed or self._timed[0][0] > now:
            return ""
        return self._timed.pop(0)[1]

    def waits(self, unacknowledged: int, now: float, patience: float) -> bool:
        """
        Say whether a reset has to wait for its peer, which it would cost the rest.

        @param unacknowledged: how many bytes the peer has not acknowledged.
        @param patience: for how many seconds without progress to wait at most.
        """
        if unacknowledged != self._unacknowledged:
            self._unacknowledged, self.moved_at = unacknowledged, now
        if not unacknowledged or now - self.moved_at >= patience:
            return False
        self.wakes_at = now + self._look
        self._look = min(2 * self._look, LAST_LOOK)
        return True

    @property
    def due(self) -> float:
        """When there is something to do next; infinite: never."""
        timed = self._timed[0][0] if self._timed else inf
        held = self.held.due if self.held is not None else inf
        return min(timed, held, self._opens_at, self.wakes_at)
