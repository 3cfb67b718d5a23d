"""
The console of the daemon's own terminal: shows events and executes typed commands.

While a connection waits for the operator's word, C{input the word:} is shown, and a line
begun at that prompt is sent to that connection only.  A line that begins with a slash is
always a command; without a prompt for a word the slash is optional.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TextIO

from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.answers import Answer, text_of
from socketd.common.events import CATALOGUE, Event
from socketd.common.operator_queue import Question
from socketd.common.text import escaped
from socketd.control.commands import answer, respond
from socketd.control.requests import IOperatorSession, raw
from socketd.control.results import TEXT, Format, event_line, format_of
from socketd.daemon.daemon import Daemon
from socketd.settings.faults.profile import OFF
from socketd.terminal.device import CbreakMode, terminal_width
from socketd.terminal.operator_prompt import MAX_IDS, OperatorConsole, complete
from socketd.terminal.view import MAX_LINE, PlainView, PromptLine

#: How long a graceful shutdown waits for a terminal that does not drain (seconds).
FLUSH_TIMEOUT = 1.0


@implementer(IOperatorSession, IPushProducer, IHalfCloseableProtocol)
class Console(OperatorConsole, Protocol):
    """
    One operator, at a terminal in cbreak mode (keys) or a pipe (lines); C{ended} fires when it is
    closed.
    """

    who = "operator"

    def __init__(self, daemon: Daemon, width: Callable[[], int] | None) -> None:
        """@param width: returns the terminal's columns; C{None} without a terminal."""
        view = PlainView(self._write) if width is None else PromptLine(self._write, width)
        super().__init__(view, daemon.reactor)
        view.complete = self._complete
        self.daemon = daemon
        self._left_out = 0
        self._attached = False
        self._service: str | None = None
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.daemon.event_bus.watch(self._show_event)
        self._attached = True
        self.daemon.operator.attach(self.refresh, self.who)
        self.show("console ready; help lists the commands")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.ended.callback(None)
        self.daemon.event_bus.unwatch(self._show_event)
        self._leave()

    def readConnectionLost(self) -> None:
        """Continue to show events: EOF (Ctrl-D) ends only the input."""
        if self._attached:
            self._leave()
            self.show("end of input; the daemon keeps running")

    def writeConnectionLost(self) -> None:
        """End: the terminal can no longer be written."""
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _leave(self) -> None:
        if self._attached:
            self._attached = False
            self.forget()
            self.daemon.operator.detach(self.refresh)

    # Input

    def dataReceived(self, data: bytes) -> None:
        if self._attached:
            for line in self._view.feed(data):
                self.enter(line)
            self.refresh()
            if self._view.has_ended:
                self.readConnectionLost()

    def answer(self, waiting: Question, word: str) -> None:
        answer(self.daemon, waiting, raw(word), self.who)

    def _complete(self, before: str) -> list[str]:
        ids = list(map(str, islice(self.daemon.connection_ids, MAX_IDS)))
        services = [service.settings.name for service in self.daemon.services]
        profiles = (*self.daemon.settings.faults, OFF)
        return complete(before, {"ID": ids, "SERVICE": services, "PROFILE": profiles})

    def execute(self, line: str) -> None:
        output, request = format_of(line)
        respond(self.daemon, request, self).addCallback(self._show_answer, output)

    # Output

    def show(self, text: str) -> None:
        """
        Write lines, and the prompt again; dropped and counted while the terminal does not drain.
        """
        if self._view.is_held:
            self._left_out += 1
        else:
            self._view.prompt = self._prompt_text()
            super().show(text.rstrip("\n"))

    def refresh(self) -> None:
        self.update_prompt(self.daemon.operator.waiting if self._attached else ())
        self._view.prompt = self._prompt_text()
        self._view.draw()

    def redraw(self) -> None:
        """Redraw the prompt after another program used the terminal."""
        self._view.redraw()

    def pauseProducing(self) -> None:
        """Suspend output: the terminal does not drain."""
        self._view.is_held = True

    def resumeProducing(self) -> None:
        """Resume output, and report how many lines were dropped."""
        self._view.is_held = False
        count, self._left_out = self._left_out, 0
        if count:
            self.show(f"{count} lines were left out")
        self.refresh()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""

    def name_of(self, waiting: Question) -> str:
        number = waiting.transport.connection_id
        found = self.daemon.find(number)
        if found is None:
            return f"connection {number}"
        return f"{found.service_state.name} {number} ({found.peer})"

    def _prompt_text(self) -> str:
        # With a single connection and a single operator the name is redundant.
        is_only = self.daemon.connection_count == len(self.daemon.operator.names) == 1
        return self.prompt(is_only)

    def watch(self, service: str | None) -> None:
        """Show the events of one service only, or of all again."""
        self._service = service

    def attend(self) -> None:
        """Do nothing: the console prompts for words until EOF."""

    def leave(self) -> None:
        """Stop reading input, after the answer to this command."""
        self.daemon.reactor.callLater(0, self.readConnectionLost)

    def _show_answer(self, answer: Answer, output: Format) -> None:
        text = text_of(answer, self._view.columns) if output is TEXT else output.write(answer)
        self.show(text)

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        if self._service in (None, facts.get("service")):
            self.show(event_line(event, facts))

    def _write(self, text: str) -> None:
        self.transport.write(text.encode("utf-8", "backslashreplace"))  # type: ignore[union-attr]


class ConsoleService(Service):
    """The terminal of C{twistd -n socketd --console}."""

    def __init__(
        self, reactor: Any, daemon: Daemon, terminal: TextIO, keys: CbreakMode | None = None
    ) -> None:
        """
        @param terminal: the output.
        @param keys: the input, if it is the same terminal.
        """
        self.setName("console")
        self._reactor = reactor
        self._terminal = terminal
        self._keys = keys
        width = None if keys is None else partial(terminal_width, terminal.fileno())
        self.console = Console(daemon, width)
        self.console.ended.addCallback(self._restore)
        self.observer = ConsoleLog(self.console, terminal)

    def startService(self) -> None:
        """Put the terminal into cbreak mode and start the console."""
        super().startService()
        if self._keys is not None:
            self._keys.continued = partial(self._reactor.callFromThread, self.console.redraw)
            self._keys.enter()
            # In case the process exits without stopService.
            atexit.register(self._keys.restore)
        stdio.StandardIO(self.console, reactor=self._reactor)

    def stopService(self) -> Deferred[None] | None:
        """Restore the terminal, when the output is flushed or L{FLUSH_TIMEOUT} has expired."""
        super().stopService()
        if not self.console.connected:
            return None
        self.console.transport.loseConnection()  # type: ignore[union-attr]
        # A terminal that does not drain is waited for no longer.
        return self.console.ended.addTimeout(FLUSH_TIMEOUT, self._reactor, lambda *_: None)

    def _restore(self, result: None) -> None:
        if self._keys is not None:
            self._keys.restore()


@implementer(ILogObserver)
class ConsoleLog:
    """A log observer that shows at the console what is otherwise only logged."""

    def __init__(self, console: Console, terminal: TextIO) -> None:
        self._console = console
        self._terminal = terminal

    def __call__(self, event: LogEvent) -> None:
        """Show a log event, unless the console has already shown it."""
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
