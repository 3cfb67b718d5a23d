"""
The deadlines of a connection.

Deadlines are polled: each check compares the byte counters with the previous check, so
a message reschedules nothing.
"""

from __future__ import annotations

from typing import Any

from socketd.access.policy import CHECKS_PER_DEADLINE
from socketd.net.service_state import ServiceState
from socketd.net.stream.states import OPEN
from socketd.net.stream.write_buffer import WriteBuffer

#: Seconds without progress after which a closing connection is reset.
CLOSE_GRACE = 5.0

#: The names of the deadlines in the log and in counters.
FIRST_BYTE = "first_byte_timeout"
IDLE = "idle_timeout"
STALL = "stall_timeout"
HANDSHAKE = "handshake_timeout"
LIFETIME = "lifetime"
GRACE = "close_grace"


class DeadlineChecks(WriteBuffer):
    """
    Mixin: the deadline checks of a connection.

    @ivar handshaking: whether the PROXY header or the TLS handshake is not yet complete.
    @ivar preamble: bytes received before the service's data (the PROXY header).
    @ivar tick: its tick in the timer wheel, which alone sets it.
    @ivar timed_out: the deadline that ended the connection; empty if none did.
    """

    app_transport: Any
    began: float
    bytes_received: int
    connection_id: int
    handshaking: bool
    preamble: int
    service_state: ServiceState
    tick: int
    timed_out: str
    _active_at: float
    _drained_at: float
    _grace_ends: float
    _lingers: bool
    _seen_received: int
    _seen_sent: int
    __slots__ = tuple(__annotations__)

    def start_deadlines(self) -> None:
        """Start the deadlines and schedule the first check."""
        self._active_at = self._drained_at = self.began
        self._seen_received = self._seen_sent = 0
        first = self.service_state.policy.deadlines.first_check
        if self.handshaking:
            self._schedule_check(self.began)
        elif first:
            self.service_state.wheel.put(self, self.began + first)

    def check(self, now: float) -> None:
        """
        Check the deadlines: end the connection if one has expired, else schedule the next check.
        """
        self._note_activity(now)
        expired = self._find_expired(now)
        if expired:
            # After SIGSTOP or a long stall, the peer's data may be in the kernel, unread.
            self.poll_once()
            self._note_activity(now)
            expired = self._find_expired(now) if self.state.connected else ""
        if expired:
            self._end_expired(expired)
        if self.state.is_alive:
            self._schedule_check(now)

    def poll_once(self) -> None:
        """
        Send and receive once, as far as possible without blocking, outside the reactor's loop.
        """
        if self._buffer is not None:
            self.doWrite()
        self.doRead()

    def _note_activity(self, now: float) -> None:
        """Record activity since the last check."""
        received, sent = self.bytes_received, self.bytes_sent
        if received != self._seen_received or sent != self._seen_sent:
            self._active_at = now
        elif self.service_state.awaits_us(self.connection_id):
            # The peer waits for a reply from this side, so it is not idle.
            self._active_at = now
        if sent != self._seen_sent and self._grace_ends:
            # A producer's last data went out at once, without passing the buffer.
            self._grace_ends = now + CLOSE_GRACE
        if sent != self._seen_sent or not self._has_more():
            self._drained_at = now
        self._seen_received, self._seen_sent = received, sent

    def _find_expired(self, now: float) -> str:
        """The name of an expired deadline, or an empty string."""
        limits, age = self.service_state.policy.deadlines, now - self.began
        if self._grace_ends and now >= self._grace_ends:
            return GRACE
        if limits.stall and now - self._drained_at >= limits.stall:
            return STALL
        if self.handshaking and limits.handshake and age >= limits.handshake:
            return HANDSHAKE
        if self.state.phase != OPEN:
            return ""
        if limits.lifetime and age >= limits.lifetime:
            return LIFETIME
        if limits.idle and now - self._active_at >= limits.idle:
            return IDLE
        if limits.first_byte and self._is_silent() and age >= limits.first_byte:
            return FIRST_BYTE
        return ""

    def _is_silent(self) -> bool:
        """
        Whether no application data was exchanged; a PROXY header and a handshake do not count.
        """
        if self.app_transport is not None:
            return not self.app_transport.has_data
        return self.bytes_received <= self.preamble and not self.bytes_sent

    def _end_expired(self, expired: str) -> None:
        if expired != GRACE:
            self.timed_out = expired
            self.service_state.counters.timed_out[expired] += 1
        if expired in (GRACE, STALL, HANDSHAKE):
            self.abortConnection()
        else:
            # A peer that was silent for a whole deadline and has received all data loses
            # nothing by a close without lingering, which frees the slot for others.
            self._lingers = expired == LIFETIME or self._is_owed()
            self.close()

    def _schedule_check(self, now: float) -> None:
        limits, age = self.service_state.policy.deadlines, now - self.began
        wanted = [span / CHECKS_PER_DEADLINE for span in (limits.idle, limits.stall) if span]
        whole = (limits.first_byte, limits.lifetime, self.handshaking and limits.handshake)
        wanted += [limit - age for limit in whole if limit > age]
        if self._grace_ends:
            wanted.append(self._grace_ends - now)
        if wanted:
            self.service_state.wheel.put(self, now + min(wanted))

    def start_grace(self, now: float) -> None:
        """Give the peer L{CLOSE_GRACE} seconds from now to make progress."""
        self._grace_ends, self._seen_sent = now + CLOSE_GRACE, self.bytes_sent
        self.service_state.wheel.put(self, self._grace_ends)

    def doRead(self) -> None:
        """Receive once."""

    def close(self) -> None:
        """Close after all data is sent."""

    def abortConnection(self) -> None:
        """Reset the connection."""
