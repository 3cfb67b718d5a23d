"""
One operator session on the control socket: lines in, answers and events out.

A command is one line. Its answer is one or more non-empty lines, terminated by an empty
line so that both C{socat} and a program can find its end; an error begins with
C{error:}. With the prefix C{json} the answer is one line, a JSON object. Each event is
one line: text with the time, or a JSON object that has C{event} in place of C{ok}.
Events come before or after an answer, never within it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.errors import USAGE, CommandError
from socketd.common.events import OPERATOR_CAME, OPERATOR_WENT, Event
from socketd.control.commands import execute, report
from socketd.control.forms import TEXT, Form, form_of
from socketd.control.results import Reply
from socketd.daemon.daemon import Daemon

#: Bytes of a command line: the longest that a terminal delivers (N_TTY, termios(3)).
MAX_LINE = 4096

#: An idle session is closed after this long (seconds); a watching one is not.
IDLE = 300.0

#: Waiting connections named in a queue notification; C{waiting} lists all of them.
TOLD_WAITING = 16


@define(eq=False)
class View:
    """
    What a session shows in addition to the answers.

    @ivar form: the output format.
    @ivar service: the only service whose events are shown; C{None}: all.
    @ivar attends: whether the operator queue is shown.
    @ivar left_out: how many events backpressure has suppressed.
    @ivar is_stale: whether the queue has changed since it was shown.
    """

    form: Form
    service: str | None = None
    attends: bool = False
    left_out: int = 0
    is_stale: bool = False


@implementer(IHalfCloseableProtocol, IPushProducer)
class Session(Protocol):
    """
    One operator session.

    Backpressure: while the client does not read, no command runs and events are only
    counted; the transport's stall deadline closes it.

    @ivar who: how the log names the operator.
    """

    def __init__(self, daemon: Daemon, who: Callable[[Any], str]) -> None:
        """@param who: returns the name of a transport's peer."""
        self.who = ""
        self._daemon = daemon
        self._find_who = who
        self._buffer = bytearray()
        self._form = TEXT
        self._view: View | None = None
        self._is_busy = self._is_full = self._skips = False
        self._input_ended = self._is_over = False
        self._turn: Any = None
        self._idle: Any = None

    # Callbacks of the transport

    def connectionMade(self) -> None:
        self.who = self._find_who(self._carrier)
        self._daemon.event_bus.emit(OPERATOR_CAME, who=self.who)
        self._carrier.registerProducer(self, True)
        self._idle = self._daemon.reactor.callLater(IDLE, self._idled)

    def dataReceived(self, data: bytes) -> None:
        if not self._input_ended:
            self._buffer += data
            self._go_on()

    def readConnectionLost(self) -> None:
        """
        EOF: answer the remaining lines; a watching session stays open, since its client may
        still read.
        """
        self._input_ended = True
        if self._buffer:
            self._buffer += b"\n"
        self._go_on()

    def writeConnectionLost(self) -> None:
        """Do nothing: only L{finish} shuts down writing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        for call in (self._idle, self._turn):
            if call is not None and call.active():
                call.cancel()
        self._look_away()
        self._daemon.event_bus.emit(OPERATOR_WENT, who=self.who)

    def pauseProducing(self) -> None:
        """Suspend output: the client does not read."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """Resume output, and report how many events were suppressed."""
        self._is_full = False
        view = self._view
        if view is not None and view.left_out:
            count, view.left_out = view.left_out, 0
            self._write(view.form.left_out(count) + "\n")
        if view is not None and view.is_stale:
            self._show_queue()
        self._go_on()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""

    def finish(self) -> None:
        """Close, after pending output is sent."""
        if not self._is_over:
            self._is_over = True
            self._look_away()
            self._carrier.unregisterProducer()
            self._carrier.loseConnection()

    # IOperatorSession

    def watch(self, service: str | None) -> None:
        """Show events."""
        self._look(View(self._form, service))

    def attend(self) -> None:
        """Show events and the operator queue."""
        self._look(View(self._form, attends=True))
        self._daemon.operator.attach(self._show_queue)
        # After the answer to this command.
        self._daemon.reactor.callLater(0, self._show_queue)

    def leave(self) -> None:
        """Close, after the answer to this command."""
        self._look_away()
        self._buffer.clear()
        self._input_ended = True

    def _look(self, view: View) -> None:
        self._look_away()
        self._view = view
        self._daemon.event_bus.watch(self._show_event)

    def _look_away(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            self._daemon.event_bus.unwatch(self._show_event)
            if view.attends:
                self._daemon.operator.detach(self._show_queue)

    # Command execution

    def _go_on(self) -> None:
        """
        Execute one line, if its answer can be sent; the next runs in a later reactor
        iteration, so that a burst of lines does not block other clients.
        """
        if self._is_over or self._turn is not None:
            return
        if not (self._is_busy or self._is_full):
            line = self._take_line()
            if line is not None:
                self._turn = self._daemon.reactor.callLater(0, self._next_turn)
                self._run(line)
            elif self._input_ended and self._view is None:
                self.finish()
                return
        self._update_reading()

    def _next_turn(self) -> None:
        self._turn = None
        self._go_on()

    def _update_reading(self) -> None:
        # Backpressure: unread input stays in the kernel's buffer.
        if b"\n" in self._buffer:
            self._carrier.pauseProducing()
        else:
            self._carrier.resumeProducing()

    def _take_line(self) -> bytes | None:
        """Remove the next line from the buffer; an overlong one becomes empty."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if self._skips or len(self._buffer) > MAX_LINE:
                self._refuse_length()
                self._skips = True
                self._buffer.clear()
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if self._skips or len(line) > MAX_LINE:
            self._refuse_length()
            self._skips = False
            return b""
        return line

    def _refuse_length(self) -> None:
        if not self._skips:
            problem = f"a line is at most {MAX_LINE} bytes long; it was not used"
            self._answer(self._form, self._form.error(CommandError(problem, USAGE)))

    def _run(self, line: bytes) -> None:
        text = line.decode("utf-8", "surrogateescape").strip("\r").lstrip()
        if not text.strip():
            return
        self._idle.reset(IDLE)
        self._form, command = form_of(text)
        self._is_busy = True
        done = execute(self._daemon, command, self)
        done.addCallbacks(self._succeed, self._fail)
        done.addBoth(self._done)

    def _succeed(self, reply: Reply) -> None:
        self._answer(self._form, self._form.reply(reply))

    def _fail(self, failure: Failure) -> None:
        problem = failure.value
        if not isinstance(problem, CommandError):
            problem = report(self._daemon, failure, self.who)
        self._answer(self._form, self._form.error(problem))

    def _done(self, result: Any) -> Any:
        self._is_busy = False
        self._go_on()
        return result

    def _answer(self, form: Form, text: str) -> None:
        self._write(text + form.end)

    # Events

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        view = self._view
        if view is None or view.service not in (None, facts.get("service")):
            return
        if self._is_full:
            view.left_out += 1
            return
        if self._input_ended:
            self._idle.reset(IDLE)
        self._write(view.form.event(event, facts, self._daemon.wall_clock()) + "\n")

    def _show_queue(self) -> None:
        view = self._view
        if view is None or not view.attends:
            return
        view.is_stale = self._is_full
        if not self._is_full:
            waiting = self._daemon.operator.waiting
            oldest = [one.transport.connection_id for one in waiting[:TOLD_WAITING]]
            known = filter(None, map(self._daemon.connection_table.get, oldest))
            told = [
                {"id": one.connection_id, "service": one.service_state.name, "peer": one.peer}
                for one in known
            ]
            self._write(view.form.queue(len(waiting) if told else 0, told) + "\n")

    def _write(self, text: str) -> None:
        if not self._is_over:
            self._carrier.write(text.encode("utf-8", "backslashreplace"))

    def _idled(self) -> None:
        if self._is_busy or (self._view is not None and not self._input_ended):
            self._idle = self._daemon.reactor.callLater(IDLE, self._idled)
        else:
            self.finish()

    @property
    def _carrier(self) -> Any:
        return self.transport


class Refusal(Protocol):
    """A session over the limit: sends the reason, then closes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(f"error: {self._text}\n\n".encode())
        transport.loseConnection()
