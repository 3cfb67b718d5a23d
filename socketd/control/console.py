"""
The terminal as a console: what happens is shown, and what is typed is done.

While a connection waits for the operator's word, C{input the word:} is shown, and the
line that is begun then is the word for that connection and for no other.  A line that
begins with a slash is always a command; where no word is asked for the slash can be
left out.
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

from socketd.common.events import CATALOGUE, Event, escaped
from socketd.common.operator_queue import Question
from socketd.control.commands import COMMANDS, answer, execute, report
from socketd.control.forms import TEXT, Form, form_of
from socketd.control.results import CommandError, Reply, event_text, reply_text
from socketd.daemon.daemon import Daemon
from socketd.terminal.addressee import PROMPT, Addressee, gone, prompt_for, taken_for_word, waits
from socketd.terminal.device import Keys, terminal_size
from socketd.terminal.prompt_line import PromptLine

#: What a terminal hands over as one line at most (N_TTY, termios(3)).
MAX_LINE = 4096

#: How long a stopping daemon waits for a terminal that takes nothing (seconds).
FLUSH_TIMEOUT = 1.0

Width = Callable[[], int]


class Prompter(Protocol):
    """
    Where the prompt stands: L{PromptLine} at a terminal, else L{PlainPrompt}.

    @ivar prompt: the prompt, from the next L{draw} on.
    @ivar is_held: whether nothing is written, because the terminal takes nothing.
    """

    prompt: str
    is_held: bool

    def draw(self) -> None:
        """
        Have the prompt stand there.
        """

    def above(self, text: str) -> None:
        """
        Show lines above it.
        """


class PlainPrompt:
    """
    A prompt in a pipe or a file, where nothing can be taken back.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self.prompt = self._shown = ""
        self.is_held = False
        self._write = write

    def entered(self) -> None:
        """
        Take note that a line has come, which ends that of the prompt.
        """
        self._shown = ""

    def draw(self) -> None:
        """
        Have the prompt stand there.
        """
        if not self.is_held and self.prompt != self._shown:
            self._write("\n" * bool(self._shown) + self.prompt)
            self._shown = self.prompt

    def above(self, text: str) -> None:
        """
        End the prompt's line, write others, and ask again.
        """
        self._write("\n" * bool(self._shown) + f"{text}\n")
        self._shown = ""
        self.draw()


@implementer(IPushProducer, IHalfCloseableProtocol)
class Console(LineReceiver):
    """
    One operator, at a terminal that hands over keys, or at a pipe that has lines.

    @ivar who: how the log names the operator.
    @ivar daemon: what is watched and commanded.
    @ivar ended: fires when the terminal is closed.
    """

    who = "operator"
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, daemon: Daemon, width: Width | None) -> None:
        """
        @param width: gives the columns of the terminal; C{None} where there is none.
        """
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
        """
        Go on showing: only the operator has left (Ctrl-D).
        """
        if self._attached:
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
            self._addressee.stop()
            self.daemon.operator.detach(self._update)

    def end(self) -> None:
        """
        Fire C{ended}, once.
        """
        if not self.ended.called:
            self.ended.callback(None)

    # What is typed

    def dataReceived(self, data: bytes) -> None:
        """
        Take keys, or lines and pieces of them.
        """
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
        """
        Take a line of a pipe.
        """
        self._plain.entered()
        if self._skipping:
            self._skipping = False
        else:
            self._enter(line.removesuffix(b"\r"))
        self._update()

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Refuse a line that no terminal would send.
        """
        if not self._skipping:
            self.show(f"a line is at most {MAX_LINE} bytes long; it was not used")
        self._skipping = not line.endswith(b"\n")

    def _enter(self, line: bytes) -> None:
        """
        Take a word for the connection that the prompt named, or a command.
        """
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

    # What is shown

    def show(self, text: str) -> None:
        """
        Write lines, and the prompt again behind them.

        A terminal that takes nothing costs lines, not memory.
        """
        if self._line.is_held:
            self._left_out += 1
        else:
            self._line.prompt = self._prompt()
            self._line.above(text.rstrip("\n"))

    def redraw(self) -> None:
        """
        Write the prompt again: another program has had the terminal.
        """
        if self._keys is not None:
            self._keys.redraw()

    def pauseProducing(self) -> None:
        """
        Show nothing more: the terminal does not take it.
        """
        self._line.is_held = True

    def resumeProducing(self) -> None:
        """
        Go on, and say how much was left out.
        """
        self._line.is_held = False
        count, self._left_out = self._left_out, 0
        if count:
            self.show(f"{count} lines were left out")
        self._update()

    def stopProducing(self) -> None:
        """
        Nothing: L{connectionLost} follows.
        """

    def _update(self) -> None:
        """
        Ask for the word of the connection that waits the longest, unless a line is
        begun already.
        """
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
        """
        Say what has changed while a line is begun, which stays for the one it was for.
        """
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
        # Where there is one connection and one operator, all know which one it is.
        alone = len(self.daemon.connection_table) == self.daemon.operator.operators == 1
        return PROMPT if alone and not addressee.is_gone else prompt_for(self._name)

    def _name_of(self, question: Question | None) -> str:
        number = 0 if question is None else question.transport.connection_id
        found = self.daemon.connection_table.get(number)
        if found is None:
            return f"connection {number}"
        return f"{found.service_state.name} {number} ({found.peer})"

    def watch(self, service: str | None) -> None:
        """
        Show only what happens at one service, or everything again.
        """
        self._service = service

    def attend(self) -> None:
        """
        Nothing: who sits here is asked for words as long as there is input.
        """

    def leave(self) -> None:
        """
        Take no more input, behind the answer to this command.
        """
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
            # A person sees that it is no answer.
            self.show("\n".join((str(problem), *problem.details)))
        else:
            self.show(form.error(problem))

    def _show_event(self, event: Event, facts: dict[str, Any]) -> None:
        if self._service in (None, facts.get("service")):
            self.show(event_text(event, facts))

    def _write(self, text: str) -> None:
        self.transport.write(text.encode("utf-8", "backslashreplace"))  # type: ignore[union-attr]


def _complete(before: str) -> list[str]:
    """
    Complete a command that stands alone, or behind its slash.
    """
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
        @param terminal: what is written to.
        @param keys: the terminal that is typed at, where it is the same.
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
        """
        Take the terminal over.
        """
        super().startService()
        if self._keys is not None:
            self._keys.continued = self._continued
            self._keys.take()
            # For an end without a stop.
            atexit.register(self._keys.give_back)
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

    def _continued(self) -> None:
        self._reactor.callFromThread(self.console.redraw)

    def _give_back(self, result: None) -> None:
        if self._keys is not None:
            self._keys.give_back()


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
