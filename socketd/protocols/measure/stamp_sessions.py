"""The sessions of a stateful reflector (RFC 8762, section 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from attrs import define, field

from socketd.protocols.measure.sequence import Arrivals

#: Sessions of a port; each takes about 500 bytes. Further ones are answered without state.
MAX_SESSIONS = 4096

#: A session without a packet for so long (seconds) has ended. Senders pause for minutes between
#: two runs of a test.
EXPIRY = 300.0

#: A sequence number of 0 after so long a pause (seconds) is a sender that restarts at the same
#: port; sooner it is a duplicate.
RESTART_PAUSE = 1.0


@define(eq=False)
class Session:
    """
    One sender.

    @ivar arrivals: the sequence numbers that have come.
    @ivar sent: the number of answers, which is the sequence number of the next one.
    @ivar previous: sequence number and time on the wire of the last answer.
    @ivar last: when the last packet came (monotonic seconds).
    """

    arrivals: Arrivals = field(factory=Arrivals)
    sent: int = 0
    previous: tuple[int, int] | None = None
    last: float = 0.0


class Sessions:
    """
    The sessions of one port, by source and SSID.

    A full table takes no new one before an old one has ended, so that forged sources end none.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """@param clock: returns monotonic seconds."""
        self._clock = clock
        self._table: OrderedDict[Hashable, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def of(self, key: Hashable, sequence: int) -> Session | None:
        """Find or begin the session of a packet; C{None} if the table is full."""
        now, table = self._clock(), self._table
        session = table.get(key)
        if session is None:
            self._expire(now)
            if len(table) >= MAX_SESSIONS:
                return None
        else:
            pause = now - session.last
            if pause > EXPIRY or pause > RESTART_PAUSE and not sequence:
                session = None
        if session is None:
            session = table[key] = Session()
        table.move_to_end(key)
        session.last = now
        return session

    def _expire(self, now: float) -> None:
        """End the sessions that are over: the first ones, as they are in the order of use."""
        table = self._table
        while table:
            key, session = next(iter(table.items()))
            if now - session.last <= EXPIRY:
                return
            del table[key]
