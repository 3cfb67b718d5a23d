"""
The states of a stream connection, and the events that change them.

A connection has two sides and a phase, as in TCP (RFC 9293, 3.3.2): the peer may end its side
long before we end ours, and the other way round.

  1. The read side is open until the peer's EOF. It is ending while the protocol is told of that:
     what closes the connection meanwhile needs no further event. Only an open side is read.
  2. The write side is open until it was shut down. It is ending after C{loseWriteConnection},
     until all that was written before is sent. What is written to a shut side is discarded.
  3. The phase is OPEN until C{loseConnection}; then CLOSING, until all is sent; then LINGERING,
     with the write side shut: input is discarded until the peer's EOF, since close(2) with
     unread input resets a connection, and the peer could lose the end of the reply. A
     connection that is to be reset is ABORTING until the next turn of the reactor. CLOSED is
     the end.

An event that the table does not have for a state changes nothing there: a second
C{loseConnection}, or one while aborting. What only delays (a pause, backpressure, a producer)
is no state, since it changes no answer to an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

#: The read side, and the write side.
READ_OPEN, READ_ENDING, READ_ENDED = range(3)
WRITE_OPEN, WRITE_ENDING, WRITE_SHUT = range(3)

#: The phase.
OPEN, CLOSING, LINGERING, ABORTING, CLOSED = range(5)


class StreamState:
    """
    A state of a connection, and what follows from it.

    @ivar connected: whether the socket is open.
    @ivar is_alive: whether it is, and not to be reset.
    @ivar is_closing: whether it is alive, and closing has begun.
    @ivar takes_output: whether what is written is sent.
    @ivar ends_output: whether the write side is to be shut down once all is sent.
    """

    __slots__ = (
        "connected",
        "ends_output",
        "is_alive",
        "is_closing",
        "phase",
        "read_side",
        "takes_output",
        "write_side",
    )

    def __init__(self, read_side: int, write_side: int, phase: int) -> None:
        self.read_side, self.write_side, self.phase = read_side, write_side, phase
        self.connected = phase != CLOSED
        self.is_alive = phase < ABORTING
        self.is_closing = OPEN < phase < ABORTING
        self.takes_output = write_side != WRITE_SHUT
        self.ends_output = self.is_closing or write_side == WRITE_ENDING


_STATES = {sides: StreamState(*sides) for sides in product(range(3), range(3), range(5))}

#: The state of a new connection.
NEW = _STATES[READ_OPEN, WRITE_OPEN, OPEN]

#: What becomes of each state.
Event = dict[StreamState, StreamState]


def _event(
    read: Mapping[int, int] = {}, write: Mapping[int, int] = {}, phase: Mapping[int, int] = {}
) -> Event:
    """
    Make an event of what it changes.

    @param read: the read side before, and after; others stay. So for C{write} and C{phase}.
    """
    return {
        state: _STATES[read.get(r, r), write.get(w, w), phase.get(p, p)]
        for (r, w, p), state in _STATES.items()
    }


_NO_INPUT = {READ_OPEN: READ_ENDED, READ_ENDING: READ_ENDED}
_NO_OUTPUT = {WRITE_OPEN: WRITE_SHUT, WRITE_ENDING: WRITE_SHUT}

#: The peer's EOF has come; and the protocol has been told.
END_OF_INPUT = _event(read={READ_OPEN: READ_ENDING})
END_HANDLED = _event(read=_NO_INPUT)

#: C{loseWriteConnection}; and all is sent, and the socket's writing side is shut down.
END_OUTPUT = _event(write={WRITE_OPEN: WRITE_ENDING})
SHUT_DOWN = _event(write=_NO_OUTPUT)

#: C{loseConnection}; and all is sent, but the peer's EOF has not come.
CLOSE = _event(phase={OPEN: CLOSING})
LINGER = _event(phase={CLOSING: LINGERING})

#: C{abortConnection}; and the connection is gone.
ABORT = _event(_NO_INPUT, _NO_OUTPUT, dict.fromkeys([OPEN, CLOSING, LINGERING], ABORTING))
LOST = _event(_NO_INPUT, _NO_OUTPUT, dict.fromkeys([OPEN, CLOSING, LINGERING, ABORTING], CLOSED))
