"""
The terminal as a console: what happens is shown, and what is typed is done.

While a connection waits for the operator's word, C{input the word:} is shown and
the next line is that word.  A line that begins with a slash is always a command;
without a waiting connection the slash can be left out.
"""

from __future__ import annotations

from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.control.commands import answer, execute, report
from socketd.control.forms import TEXT, Form, form_of
from socketd.control.replies import CommandError, event_text
from socketd.daemon import Daemon
from socketd.events import CATALOGUE, Event, escaped

PROMPT = "input the word:"

#: What a terminal hands over as one line at most (N_TTY, termios(3)).
MAX_LINE = 4096

#: How long a stopping daemon waits for a terminal that takes nothing (seconds).
FLUSH_TIMEOUT = 1.0

_ERASE_LINE = "\r\x1b[K"


@implementer(IPushProducer, IHalfCloseableProtocol)
class Console(LineReceiver):
    """
    One operator at a line-based terminal.

    @ivar who: how the log names him.
    @ivar daemon: what is watched and commanded.
    @ivar ended: fires when the terminal is closed.
    """

    who = "operator"
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, daemon: Daemon, is_terminal: bool) -> None:
        self.daemon = daemon
        self._is_terminal = is_terminal
        self._prompting = False
        self._full = False
        self._left_out = 0
        self._skipping = False
        self._attached = False
        self._service: str | None = None
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.daemon.journal.watch(self._show_event)
        self._attached = True
        self.daemon.operator.attach(self._update_prompt)
        self.show("console ready; help lists the commands")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.end()
        self.daemon.journal.unwatch(self._show_event)
        self._leave()

    def readConnectionLost(self) -> None:
        """
        Go on showing: only the operator has left (Ctrl-D).
        """
        self._leave()
        self.show("no more input; the daemon goes on")

    def writeConnectionLost(self) -> None:
        """
        End, because the terminal takes nothing any more.
        """
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _leave(self) -> None:
        if self._attached:
            self._attached = False
            self.daemon.operator.detach(self._update_prompt)

    def end(self) -> None:
        """
        Fire C{ended}, once.
        """
        if not self.ended.called:
            self.ended.callback(None)

    def lineReceived(self, line: bytes) -> None:
        """
        Take a word for the oldest waiting connection, or a command.
        """
        # The terminal has echoed the line and its end behind the prompt.
        self._prompting = False
        line = line.removesuffix(b"\r")
        if self._skipping:
            self._skipping = False
        elif line.startswith(b"/"):
            self._execute(line[1:])
        elif self.daemon.operator.waiting:
            answer(self.daemon, self.daemon.operator.waiting[0], line, self.who)
        elif line.strip():
            self._execute(line)
        self._update_prompt()

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Refuse a line that no terminal would send.
        """
        if not self._skipping:
            self.show(f"a line is at most {MAX_LINE} bytes long; it was not used")
        self._skipping = not line.endswith(b"\n")

    def show(self, text: str) -> None:
        """
        Write lines, and the prompt again behind them.

        A terminal that takes nothing costs lines, not memory.
        """
        if self._full:
            self._left_out += 1
            return
        if self._prompting:
            self._write(_ERASE_LINE if self._is_terminal else "\n")
        self._prompting = False
        self._write(text.rstrip("\n") + "\n")
        self._update_prompt()

    def pauseProducing(self) -> None:
        """
        Show nothing more: the terminal does not take it.
        """
        self._full = True

    def resumeProducing(self) -> None:
        """
        Go on, and say how much was left out.
        """
        self._full = False
        count, self._left_out = self._left_out, 0
        if count:
            self.show(f"{count} lines were left out")
        self._update_prompt()

    def stopProducing(self) -> None:
        """
        Nothing: L{connectionLost} follows.
        """

    def _update_prompt(self) -> None:
        waiting = self._attached and bool(self.daemon.operator.waiting)
        if waiting and not self._prompting and not self._full:
            self._prompting = True
            self._write(PROMPT)
        elif self._prompting and not waiting:
            self._prompting = False
            self._write(_ERASE_LINE if self._is_terminal else "\n")

    def watch(self, service: str | None) -> None:
        """
        Show only what happens at one service, or everything again.
        """
        self._service = service

    def attend(self) -> None:
        """
        Nothing: whoever sits here is asked for words as long as he can type.
        """

    def _execute(self, line: bytes) -> None:
        form, command = form_of(line.decode("utf-8", "surrogateescape"))
        done = execute(self.daemon, command, self)
        done.addCallback(lambda reply: self.show(form.reply(reply)))
        done.addErrback(self._explain, form)

    def _explain(self, failure: Failure, form: Form) -> None:
        problem = failure.value
        if not isinstance(problem, CommandError):
            problem = report(self.daemon, failure, self.who)
        if form is TEXT:
            # A person sees that it is no answer.
            self.show("\n".join((str(problem), *problem.details)))
        else:
            self.show(form.error(problem))

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        if self._service in (None, facts.get("service")):
            self.show(event_text(event, facts))

    def _write(self, text: str) -> None:
        self.transport.write(text.encode("utf-8", "backslashreplace"))  # type: ignore[union-attr]


class ConsoleService(Service):
    """
    The terminal of C{twistd -n socketd --console}.

    @ivar console: the console, while the terminal is open.
    """

    def __init__(self, reactor: Any, daemon: Daemon, terminal: TextIO) -> None:
        self.setName("console")
        self._reactor = reactor
        self._terminal = terminal
        self.console = Console(daemon, terminal.isatty())
        self.observer = ConsoleLog(self.console, terminal)

    def startService(self) -> None:
        """
        Take the terminal over.
        """
        super().startService()
        stdio.StandardIO(self.console, reactor=self._reactor)

    def stopService(self) -> Deferred[None]:
        """
        Give the terminal back.

        @return: fires when it has taken what was shown, or takes nothing.
        """
        super().stopService()
        if self.console.connected:
            self.console.transport.loseConnection()  # type: ignore[union-attr]
            self.console.ended.addTimeout(FLUSH_TIMEOUT, self._reactor, _give_up)
        else:
            self.console.end()
        return self.console.ended


@implementer(ILogObserver)
class ConsoleLog:
    """
    Shows at the console what the log alone would have.
    """

    def __init__(self, console: Console, terminal: TextIO) -> None:
        self._console = console
        self._terminal = terminal

    def __call__(self, event: LogEvent) -> None:
        """
        Show a log event, unless the console has shown it already.
        """
        shown = event.get("event") in CATALOGUE and "log_failure" not in event
        text = formatEventAsClassicLogText(event)
        if text is None or (shown and self._console.connected):
            return
        if self._console.connected:
            lines = (escaped(line.encode(), MAX_LINE) for line in text.split("\n"))
            self._console.show("\n".join(lines))
        else:
            self._terminal.write(text)
            self._terminal.flush()


def _give_up(result: object, timeout: float) -> None:
    """
    Leave a terminal that takes nothing as it is.
    """
