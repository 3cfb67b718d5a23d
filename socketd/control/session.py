"""
One operator behind the control socket: lines in, answers and events out.

A command is a line. Its answer is one or more lines, none of them empty, and then an
empty line, so that both C{socat} and a program know where it ends; what could not be
done begins with C{error:}. With C{json} before the command the answer is one line, a
JSON object. What happens is one line for each event: in text with the time, or a JSON
object that has C{event} in place of C{ok}. Lines are never mixed: an event comes
before an answer or behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.events import OPERATOR_CAME, OPERATOR_WENT, Event
from socketd.control.commands import execute, report
from socketd.control.forms import TEXT, Form, form_of
from socketd.control.results import USAGE, CommandError, Reply
from socketd.daemon.daemon import Daemon

#: As much as a terminal hands over at once (N_TTY, termios(3)).
MAX_LINE = 4096

#: A session that says nothing for so long ends (seconds); one that watches stays.
IDLE = 300.0

#: Who waits for a word is told up to so many; C{waiting} lists all of them.
TOLD_WAITING = 16


@define(eq=False)
class View:
    """
    What a session is shown beside the answers to its commands.

    @ivar form: how it is written.
    @ivar service: whose events only; C{None}: all.
    @ivar attends: whether he is asked for words.
    @ivar left_out: how many events were not shown because they were not taken.
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
    One session.

    A client that does not read is not served any command, and the events that he
    would have seen are counted only; the transport's deadline ends him.

    @ivar who: how the log names the operator.
    """

    def __init__(self, daemon: Daemon, who: Callable[[Any], str]) -> None:
        """
        @param who: names the peer of a transport.
        """
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

    # What the transport calls

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
        Answer what has come; who watches is shown more, for he may still read.
        """
        self._input_ended = True
        if self._buffer:
            self._buffer += b"\n"
        self._go_on()

    def writeConnectionLost(self) -> None:
        """
        Nothing: only L{finish} shuts down writing.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        for call in (self._idle, self._turn):
            if call is not None and call.active():
                call.cancel()
        self._look_away()
        self._daemon.event_bus.emit(OPERATOR_WENT, who=self.who)

    def pauseProducing(self) -> None:
        """
        Show nothing more: the client does not take it.
        """
        self._is_full = True

    def resumeProducing(self) -> None:
        """
        Go on, and say how much was left out.
        """
        self._is_full = False
        view = self._view
        if view is not None and view.left_out:
            count, view.left_out = view.left_out, 0
            self._write(view.form.left_out(count) + "\n")
        if view is not None and view.is_stale:
            self._show_queue()
        self._go_on()

    def stopProducing(self) -> None:
        """
        Nothing: L{connectionLost} follows.
        """

    def finish(self) -> None:
        """
        End, after what is owed is sent.
        """
        if not self._is_over:
            self._is_over = True
            self._look_away()
            self._carrier.unregisterProducer()
            self._carrier.loseConnection()

    # What commands call

    def watch(self, service: str | None) -> None:
        """
        Show what happens.
        """
        self._look(View(self._form, service))

    def attend(self) -> None:
        """
        Show what happens, and who waits.
        """
        self._look(View(self._form, attends=True))
        self._daemon.operator.attach(self._show_queue)
        # Behind the answer to this command.
        self._daemon.reactor.callLater(0, self._show_queue)

    def leave(self) -> None:
        """
        End, behind the answer to this command.
        """
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

    # One line after the other

    def _go_on(self) -> None:
        """
        Carry out one line, if its answer can be sent; the next has its own turn, so
        that a thousand lines at once hold nobody up.
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
        # What is not wanted yet stays with the kernel.
        if b"\n" in self._buffer:
            self._carrier.pauseProducing()
        else:
            self._carrier.resumeProducing()

    def _take_line(self) -> bytes | None:
        """
        Take the next line out of what came; what is too long becomes an empty one.
        """
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

    # What happens

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
    """
    A session too many: it is told so, and closed.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(f"error: {self._text}\n\n".encode())
        transport.loseConnection()
