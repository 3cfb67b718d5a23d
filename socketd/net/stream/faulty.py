"""A connection that misbehaves as its fault profile says."""

from __future__ import annotations

import select
from math import inf
from typing import Any

from twisted.python.failure import Failure

from socketd.net.stream.deadlines import CLOSE_GRACE, HANDSHAKE, LIFETIME
from socketd.net.stream.read_side import ReadSide
from socketd.net.stream.starttls import StartedTls
from socketd.net.stream.states import LINGERING
from socketd.net.stream.write_buffer import HIGH_WATER, NOT_BYTES, count_unacknowledged
from socketd.settings.faults.profile import CLOSE, HALF_CLOSE, PROTOCOL, RESETS

#: Between two looks at a connection that the profile keeps waiting (seconds).  No deadline ends
#: it, and one that is not read has no event when its peer has gone.
LOOK_INTERVAL = 1.0


class Faulty(ReadSide):
    """
    Mixin: a connection with a fault profile.

    The class of a connection is switched for this, as by C{startTLS}: a check for faults in each
    write would cost every connection.  What is written is held, counts as buffered, and is sent
    when it is due, by the class below.  A close waits for it.
    """

    __slots__ = ()

    _fault: Any

    def start_fault(self) -> None:
        """It has begun below the layers."""

    def apply_fault(self) -> None:
        """Start what the profile does by itself."""
        fault, now = self._fault, self.reactor.seconds()
        fault.start(now)
        at_protocol = fault.draw.options.at == PROTOCOL and not isinstance(self, StartedTls)
        if at_protocol and self.app_transport is not None:
            fault.secure = self.app_transport
            fault.secure.hold_output(self.hold)
        if fault.endless:
            self._schedule_check(now)
        self._update_reading()
        self._set_alarm()

    def stop_fault(self) -> None:
        """End the profile: what is held is sent at once."""
        fault = self._fault
        fault.stop_timer()
        fault.endless, fault.reads = False, True
        self._send_all()
        if fault.secure is not None:
            fault.secure.hold_output(None)
        self._held_sent()

    # Writing

    def write(self, data: bytes) -> None:
        """Hold data back; if it is plain text that is held, what TLS makes of it is sent."""
        if not isinstance(data, bytes):
            raise TypeError(NOT_BYTES)
        if self._fault.secure is None:
            self.hold(data)
        else:
            super().write(data)

    def hold(self, data: bytes) -> None:
        """Hold data back, or send it if the profile delays nothing."""
        fault = self._fault
        data = fault.admit(data) if self.state.takes_output else b""
        if not data:
            return
        if fault.held is None:
            self._pass(data)
        else:
            fault.hold(data, self.reactor.seconds())
            self._buffered += len(data)
            if self._buffered > HIGH_WATER:
                self._fill_up()
        self._silence_producer()
        if fault.is_cut:
            # Not now: in the middle of a receive, TLS keeps back what it has encrypted.
            fault.wakes_at = self.reactor.seconds()
        self._go_on()

    def _pass(self, data: bytes) -> None:
        secure = self._fault.secure
        if secure is None:
            super().write(data)
        else:
            secure.encrypt(data)

    def _send_held(self, data: bytes) -> None:
        self._buffered -= len(data)
        self._pass(data)

    def _send_all(self) -> None:
        held = self._fault.held
        self._fault.busy = True
        while held is not None and held.size and self.state.takes_output:
            self._send_held(held.take_all())
        self._fault.busy = False

    def _go_on(self) -> None:
        """Send what is due, and end what has come to its end."""
        fault, held, now = self._fault, self._fault.held, self.reactor.seconds()
        if fault.busy:
            # A producer writes as it is told to wait, by the loop below.
            return
        if held is not None and held.due <= now:
            fault.busy = True
            while held.due <= now and self.state.takes_output:
                self._send_held(held.take())
            fault.busy = False
            fault.moved_at = now
            self._held_sent()
        self._set_alarm()

    def _held_sent(self) -> None:
        """Continue with what waited for held bytes to be sent."""
        self._progressed()
        waits = self.producer is not None or self.state.ends_output
        if waits and self.state.takes_output and not self._fault.has_held:
            self.reactor.addWriter(self)

    def _has_more(self) -> bool:
        return self._fault.has_held or super()._has_more()

    def _drained(self) -> None:
        fault = self._fault
        self._end_cut(self.reactor.seconds())
        if fault.has_held or (fault.is_cut and not fault.ended):
            # Or a reset waits for its peer.
            self.reactor.removeWriter(self)
        elif self.state.is_alive:
            super()._drained()

    def _all_sent(self) -> None:
        if self.app_transport is not None:
            self.app_transport.send_close_notify()
        # Which is held, too.
        if not self._fault.has_held:
            super()._all_sent()

    def send_held(self) -> None:
        """Send held plain text, since TLS ends; what is never answered has none."""
        if self._fault.endless:
            self._buffered -= self._fault.drop()
        if self._fault.secure is not None:
            self._send_all()

    # Producers of what is no longer sent

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        self._silence_producer()

    def _silence_producer(self) -> None:
        if self._fault.is_cut:
            self._pause_producer()

    def _producer_owes(self) -> bool:
        return not self._fault.is_cut and super()._producer_owes()

    # Ends

    def loseConnection(self) -> None:
        """Close; the end of TLS is held behind all that was written before."""
        super().loseConnection()
        fault, ends = self._fault, self.state.is_closing and not super()._has_more()
        if ends and fault.has_held and fault.secure is None and self.app_transport is not None:
            self.app_transport.send_close_notify()

    def _end_cut(self, now: float) -> None:
        """End as the profile says, once all is sent that it lets through."""
        fault = self._fault
        is_sent = not fault.has_held and self._buffer is None
        if fault.ended or not (fault.is_cut and is_sent and self.state.is_alive):
            return
        if fault.ending in RESETS:
            fault.reads = False
            self._update_reading()
            if fault.waits(count_unacknowledged(self._descriptor), now, CLOSE_GRACE):
                self._set_alarm()
                return
        fault.ended = True
        self._end_as(fault.ending)

    def _end_as(self, name: str) -> None:
        self._fault.count(name)
        if name == HALF_CLOSE:
            self.loseWriteConnection()
            return
        self.timed_out = "closed by fault" if name == CLOSE else "reset by fault"
        if name != CLOSE:
            self.abortConnection()
        elif self._fault.secure is not None:
            self._fault.secure.loseConnection()
        else:
            super().loseConnection()

    def _set_alarm(self) -> None:
        fault = self._fault
        due = fault.due
        if due < fault.rings_at and self.state.is_alive:
            fault.stop_timer()
            delay = max(0.0, due - self.reactor.seconds())
            fault.rings_at, fault.timer = due, self.reactor.callLater(delay, self._wake)

    def _wake(self) -> None:
        """Do what is due."""
        fault, now = self._fault, self.reactor.seconds()
        fault.rings_at, fault.timer = inf, None
        if fault.open(now):
            self._update_reading()
        while name := fault.next_end(now):
            self._end_as(name)
        self._go_on()
        self._end_cut(now)

    def _end_of_input(self) -> None:
        if self._fault.endless:
            self._end_silence()
        super()._end_of_input()

    def _end_silence(self) -> None:
        """Close for a peer that has gone; it gets no answer."""
        self._buffered -= self._fault.drop()
        self._silence_producer()
        super().loseConnection()
        self._held_sent()

    def connectionLost(self, reason: Failure) -> None:
        self._fault.stop_timer()
        self._fault.drop()
        super().connectionLost(reason)

    # Reading and deadlines

    def _wants_to_read(self) -> bool:
        may_read = self._fault.reads or self.state.phase == LINGERING
        return may_read and super()._wants_to_read()

    def start_deadlines(self) -> None:
        super().start_deadlines()
        if self._fault.endless:
            self._schedule_check(self.began)

    def check(self, now: float) -> None:
        if self._fault.endless and _has_gone(self._descriptor):
            self._end_silence()
        super().check(now)

    def _schedule_check(self, now: float) -> None:
        if self.handshaking or self._is_kept_waiting():
            # A deadline that has passed meanwhile may count again.
            self.service_state.wheel.put(self, now + LOOK_INTERVAL)
        else:
            super()._schedule_check(now)

    def _is_kept_waiting(self) -> bool:
        """Whether it is the profile that keeps the peer waiting."""
        lingers = self.state.phase == LINGERING
        return self._fault.holds and self._buffer is None and not lingers

    def _note_activity(self, now: float) -> None:
        super()._note_activity(now)
        if self._is_kept_waiting():
            self._active_at = self._drained_at = now
            if self._grace_ends:
                self._grace_ends = now + CLOSE_GRACE

    def _find_expired(self, now: float) -> str:
        limits = self.service_state.policy.deadlines
        if self._is_kept_waiting():
            return LIFETIME if limits.lifetime and now - self.began >= limits.lifetime else ""
        expired = super()._find_expired(now)
        # The peer has its time for each part of a handshake that was held.
        answers = expired == HANDSHAKE and now - self._fault.moved_at < limits.handshake
        return "" if answers else expired


def _has_gone(descriptor: int) -> bool:
    """Say whether a peer has ended its side, also behind what was not read."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))
