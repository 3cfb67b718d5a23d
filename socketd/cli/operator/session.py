"""The session of C{socketd console}: lines become requests, answers and events become lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.cli.operator.control_socket import MAX_ANSWER, NO_ANSWER, read_answer, render
from socketd.cli.operator.views import IView
from socketd.cli.transport.interface import Receiver
from socketd.common.answers import Answer
from socketd.common.commands import ALIASES, COMMANDS
from socketd.common.errors import CommandError
from socketd.common.lines import LineBuffer
from socketd.common.text import one_line
from socketd.terminal.addressee import Addressee, gone, prompt_for, taken_for_word, waits

#: Connections offered for completion; Tab is of no use in a longer list.
MAX_IDS = 1000

_SURPRISES = (AttributeError, IndexError, KeyError, TypeError, ValueError)

AnswerCallback = Callable[[Answer], object]


class ConsoleSession(Receiver):
    """
    An attending session: shows events and waiting connections, and sends what the operator types.

    While a connection waits, a line is the answer for the connection that the prompt names; a
    line that begins with a slash is always a command, as at the daemon's own console.

    @ivar done: fires when the session has ended; fails unless the operator ended it.
    """

    def __init__(self, view: IView, clock: IReactorTime) -> None:
        """@param clock: schedules timeouts."""
        super().__init__()
        self._view = view
        view.typed, view.edited, view.ended = self.typed, self._show_state, self.ended
        self._addressee: Addressee[Any] = Addressee(clock, self._show_state)
        self._told = False
        self._received = LineBuffer(MAX_ANSWER)
        self._expected: deque[AnswerCallback] = deque()
        self._waiting: list[Any] = []
        self._count = self._connections = 0
        self._ids: dict[str, None] = {}
        self._services: Sequence[str] = ()
        self._is_leaving = False

    def connectionMade(self) -> None:
        self._view.begin(self.complete)
        self._ask("attend", lambda answer: self._view.show("attending; help lists the commands"))
        self._ask("services", self._learn_services)
        self._ask("status", self._learn_status)
        self._ask("connections", self._learn_connections)

    # Callbacks of the view.

    def typed(self, line: str) -> None:
        """Process a line, without its end: an answer for a waiting connection, or a command."""
        line = line.removesuffix("\r")
        one, is_gone = self._addressee.enter()
        if line.startswith("/") or one is None:
            self._command(line.removeprefix("/"))
        elif not is_gone:
            self._ask(f"answer {one['id']} {line}", self._show_problem)
            command = line.split(" ")[0]
            if command in COMMANDS:
                self._view.show(taken_for_word(command))
        elif line:
            self._view.show(gone(_name(one)))

    def _command(self, line: str) -> None:
        name = line.strip()
        if ALIASES.get(name, name) == "quit":
            # If the daemon executed it, the closed session would look like a failure.
            self.ended()
        elif name:
            self._ask(line, self._show_answer)

    def ended(self) -> None:
        """Leave, after all commands are answered."""
        self._is_leaving = True
        self._leave()

    def complete(self, before: str) -> list[str]:
        """
        Complete the last word before the cursor.

        @return: the matching words.
        """
        *words, word = before.removeprefix("/").split(" ")
        slash = "/" * (before.startswith("/") and not words)
        return [slash + one for one in self._choices(words) if one.startswith(word)]

    def _choices(self, words: list[str]) -> Iterable[str]:
        """List what may follow these words."""
        if not words:
            return COMMANDS
        command = COMMANDS.get(words[0])
        if command is None or len(words) > len(command.arguments):
            return ()
        argument = command.arguments[len(words) - 1]
        known = {"ID": self._ids, "SERVICE": self._services}
        return known.get(argument.name, argument.choices)

    # Callbacks of the transport.

    def dataReceived(self, data: bytes) -> None:
        lines = self._received.feed(data)
        try:
            while lines:
                self._take(read_answer(lines.popleft()))
            if self._received.is_too_long:
                raise CommandError(f"an answer is longer than {MAX_ANSWER} bytes")
        except (CommandError, *_SURPRISES) as error:
            self._fail(error)
        self._leave()

    def readConnectionLost(self) -> None:
        """EOF from the daemon: end the session."""
        if not self._is_leaving:
            self._fail(CommandError("the daemon has ended the session"))
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._addressee.stop()
        self._view.close()
        super().connectionLost(reason)

    def _take(self, found: Answer) -> None:
        if "event" in found:
            self._take_event(found)
        else:
            self._expected.popleft()(found)
        self._show_state()

    def _take_event(self, event: Answer) -> None:
        name, facts = event["event"], event.get("facts", {})
        if name == "waiting":
            self._count, self._waiting = event["count"], list(event["oldest"])
            return
        if name == "connection_made":
            self._connections += 1
            if len(self._ids) < MAX_IDS:
                self._ids[str(facts["connection"])] = None
        elif name == "connection_lost":
            self._connections -= 1
            self._ids.pop(str(facts["connection"]), None)
        elif name == "left_out":
            self._ask("status", self._learn_status)
            self._ask("connections", self._learn_connections)
        self._view.show(render(event))

    # Requests and answers.

    def _ask(self, command: str, expecting: AnswerCallback) -> None:
        if self.transport is None or self._is_leaving:
            return
        line = f"json {command}".encode("utf-8", "surrogateescape")
        if b"\n" in line or not command.strip():
            self._view.show("this cannot be sent")
            return
        self._expected.append(expecting)
        self.transport.write(line + b"\n")

    def _show_answer(self, answer: Answer) -> None:
        self._view.show(render(answer, self._view.columns))

    def _show_problem(self, answer: Answer) -> None:
        if not answer.get("ok"):
            self._show_answer(answer)

    def _learn_services(self, answer: Answer) -> None:
        self._services = [str(row["service"]) for row in answer["rows"]]

    def _learn_status(self, answer: Answer) -> None:
        self._connections = int(answer["connections"])

    def _learn_connections(self, answer: Answer) -> None:
        self._ids = dict.fromkeys(str(row["id"]) for row in answer["rows"][:MAX_IDS])

    def _show_state(self) -> None:
        was_gone = self._addressee.is_gone
        # An outstanding command may change the queue, so the addressee is fixed until its answer.
        self._addressee.update(self._waiting, self._view.is_begun or bool(self._expected))
        self._tell(was_gone)
        status = f"{self._connections} connections, {self._count} waiting"
        if self._waiting:
            listed = (f"{one['id']} {one['service']} {one['peer']}" for one in self._waiting)
            status += f": {one_line(', '.join(listed))}"
        self._view.set_state(self._prompt(), status)

    def _tell(self, was_gone: bool) -> None:
        """Report changes while a line is begun; its addressee stays the same."""
        addressee = self._addressee
        if not self._view.is_begun:
            self._told = False
        elif addressee.is_gone and not was_gone:
            self._view.show(gone(_name(addressee.current)))
        elif addressee.current is None and self._waiting and not self._told:
            self._told = True
            self._view.show(waits(_name(self._waiting[0])))

    def _prompt(self) -> str:
        addressee = self._addressee
        if addressee.current is None or (addressee.is_gone and not self._view.is_begun):
            return ""
        return prompt_for(_name(addressee.current))

    # Closing.

    def _leave(self) -> None:
        if self._is_leaving and not self._expected and self.transport is not None:
            self.transport.loseConnection()

    def _fail(self, failure: Exception) -> None:
        if not isinstance(failure, CommandError):
            failure = CommandError(NO_ANSWER)
        self._failure = self._failure or failure
        self._is_leaving = True
        self._waiting = []
        self._expected.clear()
        if self.transport is not None:
            self.transport.loseConnection()


def _name(one: Any) -> str:
    return one_line(f"{one['service']} {one['id']} ({one['peer']})")
