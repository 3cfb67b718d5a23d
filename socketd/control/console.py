"""
The console of the daemon's own terminal: shows events and executes typed commands.

While a connection waits for the operator's word, C{input the word:} is shown, and a line
begun at that prompt is sent to that connection only.  A line that begins with a slash is
always a command; without a prompt for a word the slash is optional.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from twisted.application.service import Service
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import ILogObserver, LogEvent, formatEventAsClassicLogText
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.errors import CommandError
from socketd.common.events import CATALOGUE, Event
from socketd.common.operator_queue import Question
from socketd.common.text import escaped
from socketd.control.commands import COMMANDS, answer, execute, report
from socketd.control.forms import TEXT, Form, form_of
from socketd.control.results import Reply, event_text, reply_text
from socketd.daemon.daemon import Daemon
from socketd.terminal.addressee import PROMPT, Addressee, gone, prompt_for, taken_for_word, waits
from socketd.terminal.device import Keys, terminal_size
from socketd.terminal.prompt_line import PromptLine

#: Bytes of the longest line that a terminal delivers (N_TTY, termios(3)).
MAX_LINE = 4096

#: How long a graceful shutdown waits for a terminal that does not drain (seconds).
FLUSH_TIMEOUT = 1.0

Width = Callable[[], int]


class Prompter(Protocol):
    """
    Shows the prompt: L{PromptLine} at a terminal, else L{PlainPrompt}.

    @ivar prompt: the prompt text, shown from the next L{draw} on.
    @ivar is_held: whether backpressure from the terminal suspends all output.
    """

    prompt: str
    is_held: bool

    def draw(self) -> None:
        """Show the prompt."""

    def above(self, text: str) -> None:
        """Show lines above the prompt."""


class PlainPrompt:
    """A prompt in a pipe or a file, where written text cannot be erased."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.prompt = self._shown = ""
        self.is_held = False
        self._write = write

    def entered(self) -> None:
        """Note that an input line has arrived, which ends the prompt's line."""
        self._shown = ""

    def draw(self) -> None:
        """Show the prompt."""
        if not self.is_held and self.prompt != self._shown:
            self._write("\n" * bool(self._shown) + self.prompt)
            self._shown = self.prompt

    def above(self, text: str) -> None:
        """End the prompt's line, write the lines, and show the prompt again."""
        self._write("\n" * bool(self._shown) + f"{text}\n")
        self._shown = ""
        self.draw()


@implementer(IPushProducer, IHalfCloseableProtocol)
class Console(LineReceiver):
    """
    One operator, at a terminal in cbreak mode (keys) or a pipe (lines).

    @ivar who: how the log names the operator.
    @ivar daemon: the daemon under control.
    @ivar ended: fires when the terminal is closed.
    """

    who = "operator"
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, daemon: Daemon, width: Width | None) -> None:
        """@param width: returns the terminal's columns; C{None} without a terminal."""
        self.daemon = daemon
        self._width = width
        self._keys = None if width is None else PromptLine(self._write, width, _complete)
        self._plain = PlainPrompt(self._write)
        self._line: Prompter = self._keys or self._plain
        self._addressee: Addressee[Question] = Addressee(daemon.reactor, self._update)
        self._name = ""
        self._told = False
        self._begun = False
        self._left_out = 0
        self._skipping = False
        self._attached = False
        self._service: str | None = None
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.daemon.event_bus.watch(self._show_event)
        self._attached = True
        self.daemon.operator.attach(self._update)
        self.show("console ready; help lists the commands")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self.end()
        self.daemon.event_bus.unwatch(self._show_event)
        self._leave()

    def readConnectionLost(self) -> None:
        """Continue to show events: EOF (Ctrl-D) ends only the input."""
        if self._attached:
            self._leave()
            self.show("no more input; the daemon goes on")

    def writeConnectionLost(self) -> None:
        """End: the terminal can no longer be written."""
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _leave(self) -> None:
        if self._attached:
            self._attached = False
            self._addressee.stop()
            self.daemon.operator.detach(self._update)

    def end(self) -> None:
        """Fire C{ended}, once."""
        if not self.ended.called:
            self.ended.callback(None)

    # Input

    def dataReceived(self, data: bytes) -> None:
        """Process keys (terminal) or line fragments (pipe)."""
        if self._keys is None:
            self._begun = not data.endswith(b"\n")
            if self._attached:
                super().dataReceived(data)
            self._update()
        elif self._attached:
            self._take_keys(self._keys, data)

    def _take_keys(self, keys: PromptLine, data: bytes) -> None:
        for line in keys.take(data):
            self._enter(line.encode())
        self._update()
        if keys.has_ended:
            self.readConnectionLost()

    def lineReceived(self, line: bytes) -> None:
        """Process a line from a pipe."""
        self._plain.entered()
        if self._skipping:
            self._skipping = False
        else:
            self._enter(line.removesuffix(b"\r"))
        self._update()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Reject a line longer than L{MAX_LINE}."""
        if not self._skipping:
            self.show(f"a line is at most {MAX_LINE} bytes long; it was not used")
        self._skipping = not line.endswith(b"\n")

    def _enter(self, line: bytes) -> None:
        """Process a line: a word for the connection that the prompt names, or a command."""
        question, is_gone = self._addressee.enter()
        if line.startswith(b"/"):
            self._execute(line[1:])
        elif question is None:
            if line.strip():
                self._execute(line)
        elif not is_gone:
            answer(self.daemon, question, line, self.who)
            self._warn(line)
        elif line:
            self.show(gone(self._name))

    def _warn(self, word: bytes) -> None:
        command = word.split(b" ")[0].decode("ascii", "replace")
        if command in COMMANDS:
            self.show(taken_for_word(command))

    @property
    def _is_begun(self) -> bool:
        return self._begun if self._keys is None else self._keys.is_begun

    # Output

    def show(self, text: str) -> None:
        """
        Write lines, and the prompt again after them.

        Backpressure: lines are dropped and counted, not buffered.
        """
        if self._line.is_held:
            self._left_out += 1
        else:
            self._line.prompt = self._prompt()
            self._line.above(text.rstrip("\n"))

    def redraw(self) -> None:
        """Redraw the prompt after another program used the terminal."""
        if self._keys is not None:
            self._keys.redraw()

    def pauseProducing(self) -> None:
        """Suspend output: the terminal does not drain."""
        self._line.is_held = True

    def resumeProducing(self) -> None:
        """Resume output, and report how many lines were dropped."""
        self._line.is_held = False
        count, self._left_out = self._left_out, 0
        if count:
            self.show(f"{count} lines were left out")
        self._update()

    def stopProducing(self) -> None:
        """Do nothing: L{connectionLost} follows."""

    def _update(self) -> None:
        """Prompt for the connection that has waited longest, unless a line is already begun."""
        waiting = self.daemon.operator.waiting if self._attached else ()
        addressee = self._addressee
        before, was_gone = addressee.current, addressee.is_gone
        addressee.update(waiting, self._is_begun)
        if addressee.current not in (before, None):
            self._name = self._name_of(addressee.current)
        self._line.prompt = self._prompt()
        self._line.draw()
        self._tell(was_gone, waiting)

    def _tell(self, was_gone: bool, waiting: tuple[Question, ...]) -> None:
        """Report changes while a line is begun; its addressee stays the same."""
        addressee = self._addressee
        if not self._is_begun:
            self._told = False
        elif addressee.is_gone and not was_gone:
            self.show(gone(self._name))
        elif addressee.current is None and waiting and not self._told:
            self._told = True
            self.show(waits(self._name_of(waiting[0])))

    def _prompt(self) -> str:
        addressee = self._addressee
        if addressee.current is None or (addressee.is_gone and not self._is_begun):
            return ""
        # With a single connection and a single operator the name is redundant.
        alone = len(self.daemon.connection_table) == self.daemon.operator.operators == 1
        return PROMPT if alone and not addressee.is_gone else prompt_for(self._name)

    def _name_of(self, question: Question | None) -> str:
        number = 0 if question is None else question.transport.connection_id
        found = self.daemon.connection_table.get(number)
        if found is None:
            return f"connection {number}"
        return f"{found.service_state.name} {number} ({found.peer})"

    def watch(self, service: str | None) -> None:
        """Show the events of one service only, or of all again."""
        self._service = service

    def attend(self) -> None:
        """Do nothing: the console prompts for words until EOF."""

    def leave(self) -> None:
        """Stop reading input, after the answer to this command."""
        self.daemon.reactor.callLater(0, self.readConnectionLost)

    def _execute(self, line: bytes) -> None:
        form, command = form_of(line.decode("utf-8", "surrogateescape"))
        done = execute(self.daemon, command, self)
        done.addCallback(self._show_reply, form)
        done.addErrback(self._explain, form)

    def _show_reply(self, reply: Reply, form: Form) -> None:
        width = self._width() if self._width is not None else None
        self.show(reply_text(reply, width) if form is TEXT else form.reply(reply))

    def _explain(self, failure: Failure, form: Form) -> None:
        problem = failure.value
        if not isinstance(problem, CommandError):
            problem = report(self.daemon, failure, self.who)
        if form is TEXT:
            # Without the "error:" prefix, which is for programs.
            self.show("\n".join((str(problem), *problem.details)))
        else:
            self.show(form.error(problem))

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        if self._service in (None, facts.get("service")):
            self.show(event_text(event, facts))

    def _write(self, text: str) -> None:
        self.transport.write(text.encode("utf-8", "backslashreplace"))  # type: ignore[union-attr]


def _complete(before: str) -> list[str]:
    """Complete a command name, with or without its slash."""
    slash = "/" * before.startswith("/")
    return [slash + name for name in COMMANDS if name.startswith(before[len(slash) :])]


class ConsoleService(Service):
    """
    The terminal of C{twistd -n socketd --console}.

    @ivar console: the console, while the terminal is open.
    """

    def __init__(
        self, reactor: Any, daemon: Daemon, terminal: TextIO, keys: Keys | None = None
    ) -> None:
        """
        @param terminal: the output.
        @param keys: the input, if it is the same terminal.
        """
        self.setName("console")
        self._reactor = reactor
        self._terminal = terminal
        self._keys = keys
        width = None if keys is None else lambda: terminal_size(terminal.fileno()).columns
        self.console = Console(daemon, width)
        self.console.ended.addCallback(self._give_back)
        self.observer = ConsoleLog(self.console, terminal)

    def startService(self) -> None:
        """Put the terminal into cbreak mode and start the console."""
        super().startService()
        if self._keys is not None:
            self._keys.continued = self._continued
            self._keys.take()
            # In case the process exits without stopService.
            atexit.register(self._keys.give_back)
        stdio.StandardIO(self.console, reactor=self._reactor)

    def stopService(self) -> Deferred[None]:
        """
        Restore the terminal.

        @return: fires when the output is flushed, or L{FLUSH_TIMEOUT} has expired.
        """
        super().stopService()
        if self.console.connected:
            self.console.transport.loseConnection()  # type: ignore[union-attr]
            self.console.ended.addTimeout(FLUSH_TIMEOUT, self._reactor, _give_up)
        else:
            self.console.end()
        return self.console.ended

    def _continued(self) -> None:
        self._reactor.callFromThread(self.console.redraw)

    def _give_back(self, result: None) -> None:
        if self._keys is not None:
            self._keys.give_back()


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


def _give_up(result: object, timeout: float) -> None:
    """Stop waiting for a terminal that does not drain."""
