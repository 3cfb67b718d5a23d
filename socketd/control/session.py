"""
One operator session on the control socket: lines in, answers and events out.

A request is one line (L{socketd.control.requests}). Its answer is one or more non-empty
lines, terminated by an empty line so that both C{socat} and a program can find its end; an
error begins with C{error:}. With the prefix C{json}, or if the request is a JSON object, the
answer is one line, a JSON object. Each event is one line: text with the time, or a JSON
object that has C{event} in place of C{ok}. Events come before or after an answer, never
within it.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from attrs import define
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.answers import Answer
from socketd.common.errors import USAGE, CommandError
from socketd.common.events import (
    EVENTS_LEFT_OUT,
    OPERATOR_CAME,
    OPERATOR_REFUSED,
    OPERATOR_WENT,
    Event,
    EventBus,
)
from socketd.common.lines import LineBuffer
from socketd.control.commands import respond
from socketd.control.reports import queue_event
from socketd.control.requests import IOperatorSession
from socketd.control.results import TEXT, Format, error_answer, event_object, format_of
from socketd.daemon.daemon import Daemon

#: Bytes of a request: the longest line that a terminal delivers (N_TTY, termios(3): 4096), in
#: Base64 in a JSON object.
MAX_LINE = 8192

#: An idle session is closed after this long (seconds); a watching one is not.
IDLE = 300.0

# struct ucred: pid, uid, gid (unix(7)).
_CREDENTIALS = struct.Struct("3i")


def describe_peer(transport: Any) -> str:
    """Name the peer of a UNIX socket by its kernel credentials."""
    sock: socket.socket = transport.getHandle()
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(found)
    return f"operator uid {uid} gid {gid} pid {pid}"


@define(eq=False)
class Subscription:
    """
    What a session shows in addition to the answers.

    @ivar service: the only service whose events are shown; C{None}: all.
    @ivar attends: whether the operator queue is shown.
    @ivar is_begun: whether the command was answered: what is shown comes after that.
    @ivar left_out: how many events backpressure has suppressed, here and in a worker.
    @ivar is_stale: whether the queue has changed since it was shown.
    """

    format: Format
    service: str | None = None
    attends: bool = False
    is_begun: bool = False
    left_out: int = 0
    is_stale: bool = False


@implementer(IOperatorSession, IHalfCloseableProtocol, IPushProducer)
class Session(Protocol):
    """
    One operator session.

    Backpressure: while the client does not read, no command runs and events are only counted; the
    transport's stall deadline closes it.
    """

    transport: Any

    def __init__(self, daemon: Daemon, sessions: set[Session]) -> None:
        """@param sessions: has this session while it is open."""
        self.who = ""
        self._daemon = daemon
        self._sessions = sessions
        self._sessions.add(self)
        self._input = LineBuffer(MAX_LINE)
        self._format = TEXT
        self._subscription: Subscription | None = None
        self._is_busy = self._is_full = False
        self._input_ended = self._is_over = False
        self._next_turn: Any = None
        self._idle: Any = None

    # Callbacks of the transport

    def connectionMade(self) -> None:
        self.who = describe_peer(self.transport)
        self._daemon.event_bus.emit(OPERATOR_CAME, who=self.who)
        self.transport.registerProducer(self, True)
        self._idle = self._daemon.reactor.callLater(IDLE, self._idled)

    def dataReceived(self, data: bytes) -> None:
        if not self._input_ended:
            self._input.feed(data)
            self._proceed()

    def readConnectionLost(self) -> None:
        """
        EOF: answer the remaining lines; a watching session stays open, since its client may
        still read.
        """
        self._input_ended = True
        self._input.end()
        self._proceed()

    def writeConnectionLost(self) -> None:
        """Do nothing: only L{finish} shuts down writing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self._sessions.discard(self)
        for call in (self._idle, self._next_turn):
            if call is not None and call.active():
                call.cancel()
        self._unsubscribe()
        self._daemon.event_bus.emit(OPERATOR_WENT, who=self.who)

    def pauseProducing(self) -> None:
        self._is_full = True

    def resumeProducing(self) -> None:
        self._is_full = False
        subscription = self._subscription
        if subscription is not None:
            if count := subscription.left_out:
                subscription.left_out = 0
                self._show(subscription, {"event": "left_out", "count": count})
            if subscription.is_stale:
                self._show_queue()
        self._proceed()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""

    def finish(self) -> None:
        """Close, after pending output is sent."""
        if not self._is_over:
            self._is_over = True
            self._unsubscribe()
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # IOperatorSession

    def watch(self, service: str | None) -> None:
        self._subscribe(Subscription(self._format, service))

    def attend(self) -> None:
        self._subscribe(Subscription(self._format, attends=True))
        self._daemon.operator.attach(self._show_queue, self.who)

    def leave(self) -> None:
        self._unsubscribe()
        self._input = LineBuffer(MAX_LINE)
        self._input_ended = True

    def _subscribe(self, subscription: Subscription) -> None:
        self._unsubscribe()
        self._subscription = subscription
        self._daemon.event_bus.watch(self._show_event)

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._daemon.event_bus.unwatch(self._show_event)
            if subscription.attends:
                self._daemon.operator.detach(self._show_queue)

    # Command execution

    def _proceed(self) -> None:
        """
        Execute one line, if its answer can be sent; the next runs in a later reactor
        iteration, so that a burst of lines does not block other clients.
        """
        if self._is_over or (self._next_turn is not None and self._next_turn.active()):
            return
        if not (self._is_busy or self._is_full):
            if self._input.lines:
                self._next_turn = self._daemon.reactor.callLater(0, self._proceed)
                self._run(self._input.lines.popleft())
            elif self._input_ended and self._subscription is None:
                self.finish()
                return
        # Backpressure: unread input stays in the kernel's buffer.
        if self._input.lines:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _run(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            problem = f"a line is at most {MAX_LINE} bytes long; it was not used"
            self._answer(error_answer(CommandError(problem, USAGE)))
        elif line.strip():
            self._idle.reset(IDLE)
            text = line.decode("utf-8", "surrogateescape")
            self._format, request = format_of(text.strip("\r"))
            self._is_busy = True
            respond(self._daemon, request, self).addCallback(self._answered)

    def _answered(self, answer: Answer) -> None:
        self._is_busy = False
        self._answer(answer)
        if self._subscription is not None and not self._subscription.is_begun:
            self._subscription.is_begun = True
            self._show_queue()
        self._proceed()

    def _answer(self, answer: Answer) -> None:
        self._write(self._format.write(answer) + self._format.end)

    # Events

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        subscription = self._subscription
        if subscription is None or not subscription.is_begun:
            return
        if subscription.service not in (None, facts.get("service")):
            return
        if self._is_full:
            subscription.left_out += facts["count"] if event is EVENTS_LEFT_OUT else 1
            return
        if self._input_ended:
            self._idle.reset(IDLE)
        self._show(subscription, event_object(event, facts, self._daemon.wall_clock()))

    def _show_queue(self) -> None:
        subscription = self._subscription
        if subscription is None or not (subscription.attends and subscription.is_begun):
            return
        subscription.is_stale = self._is_full
        if not self._is_full:
            self._show(subscription, queue_event(self._daemon))

    def _show(self, subscription: Subscription, event: Answer) -> None:
        self._write(subscription.format.write(event) + "\n")

    def _write(self, text: str) -> None:
        if not self._is_over:
            self.transport.write(text.encode("utf-8", "backslashreplace"))

    def _idled(self) -> None:
        if self._is_busy or (self._subscription is not None and not self._input_ended):
            self._idle = self._daemon.reactor.callLater(IDLE, self._idled)
        else:
            self.finish()


class Refusal(Protocol):
    """A session over the limit: logged, told why, and closed."""

    transport: Any

    def __init__(self, event_bus: EventBus, text: str) -> None:
        self._event_bus = event_bus
        self._text = text

    def connectionMade(self) -> None:
        who = describe_peer(self.transport)
        self._event_bus.emit(OPERATOR_REFUSED, who=who, error=self._text)
        self.transport.write(f"error: {self._text}\n\n".encode())
        self.transport.loseConnection()
