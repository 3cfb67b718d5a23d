"""The session of C{socketd console}: lines become requests, answers and events become lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.cli.client.stdio import IInputReceiver
from socketd.cli.operator.control_socket import MAX_ANSWER, NO_ANSWER, read_answer, render
from socketd.cli.transport.interface import Receiver
from socketd.common.answers import Answer
from socketd.common.commands import ALIASES
from socketd.common.errors import CommandError
from socketd.common.lines import LineBuffer
from socketd.common.text import one_line
from socketd.settings.faults.profile import OFF
from socketd.terminal.operator_prompt import MAX_IDS, OperatorConsole, complete
from socketd.terminal.view import View

_SURPRISES = (AttributeError, IndexError, KeyError, TypeError, ValueError)

#: What tells waiting connections apart, and what the operator reads of them.
_IDENTITY = ("id", "service", "peer")

AnswerCallback = Callable[[Answer], object]


@implementer(IInputReceiver)
class ConsoleSession(OperatorConsole, Receiver):
    """
    An attending session: shows events and waiting connections, and sends what the operator types.

    While a connection waits, a line is the answer for the connection that the prompt names; a
    line that begins with a slash is always a command, as at the daemon's own console.

    @ivar done: fires when the session has ended; fails unless the operator ended it.
    """

    def __init__(self, view: View, clock: IReactorTime) -> None:
        """@param clock: schedules timeouts."""
        super().__init__(view, clock)
        Receiver.__init__(self)
        view.complete = lambda before: complete(before, self._known)
        self._received = LineBuffer(MAX_ANSWER)
        self._expected: deque[AnswerCallback] = deque()
        self._waiting: list[Any] = []
        self._count = self._connections = 0
        self._known: dict[str, dict[str, None]] = {"ID": {}, "SERVICE": {}, "PROFILE": {}}
        self._is_leaving = False

    def connectionMade(self) -> None:
        self._view.start()
        self._ask("attend", lambda answer: self._view.show("attending; help lists the commands"))
        self._ask("services", partial(self._learn, "SERVICE", "service"))
        self._ask("faults", partial(self._learn, "PROFILE", "profile"))
        self._ask_counts()

    # What the operator types.

    def input_received(self, data: bytes) -> None:
        for line in self._view.feed(data):
            self.enter(line)
            self.refresh()
        self.refresh()
        if self._view.has_ended:
            self.leave()

    def input_ended(self) -> None:
        for line in self._view.feed_eof():
            self.enter(line)
        self.leave()

    def input_failed(self, error: Exception) -> None:
        # The terminal has hung up.
        self.leave()

    def leave(self) -> None:
        """Leave, after all commands are answered."""
        self._is_leaving = True
        self._leave()

    # What the prompt uses.

    def name_of(self, waiting: Any) -> str:
        return one_line(f"{waiting['service']} {waiting['id']} ({waiting['peer']})")

    def execute(self, line: str) -> None:
        name = line.strip()
        if ALIASES.get(name, name) == "quit":
            # If the daemon executed it, the closed session would look like a failure.
            self.leave()
        elif name:
            self._ask(line, self._show_answer)

    def answer(self, waiting: Any, word: str) -> None:
        self._ask(f"answer {waiting['id']} {word}", self._show_problem)

    def refresh(self) -> None:
        # An outstanding command may change the queue, so the addressee is fixed until its answer.
        self.update_prompt(self._waiting, is_fixed=bool(self._expected))
        status = f"{self._connections} connections, {self._count} waiting"
        if self._waiting:
            listed = (f"{one['id']} {one['service']} {one['peer']}" for one in self._waiting)
            status += f": {one_line(', '.join(listed))}"
        self._view.prompt, self._view.status = self.prompt(), status
        self._view.draw()

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
        self.forget()
        self._view.clear()
        super().connectionLost(reason)

    def _take(self, found: Answer) -> None:
        if "event" in found:
            self._take_event(found)
        else:
            self._expected.popleft()(found)
        self.refresh()

    def _take_event(self, event: Answer) -> None:
        name, facts = event["event"], event.get("facts", {})
        if name == "waiting":
            # Without what changes while they wait, for the prompt compares them.
            told = [{key: one[key] for key in _IDENTITY} for one in event["oldest"]]
            self._count, self._waiting = event["count"], told
            return
        if name == "connection_made":
            self._connections += 1
            if len(self._known["ID"]) < MAX_IDS:
                self._known["ID"][str(facts["connection"])] = None
        elif name == "connection_lost":
            self._connections -= 1
            self._known["ID"].pop(str(facts["connection"]), None)
        elif name == "left_out":
            self._ask_counts()
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

    def _ask_counts(self) -> None:
        self._ask("status", self._learn_status)
        self._ask("connections", partial(self._learn, "ID", "id"))

    def _learn(self, name: str, column: str, answer: Answer) -> None:
        # A daemon before the first release with profiles does not know their command.
        rows = answer["rows"][:MAX_IDS] if name != "PROFILE" else answer.get("rows", ())
        self._known[name] = dict.fromkeys(str(row[column]) for row in rows)
        self._known["PROFILE"][OFF] = None

    def _learn_status(self, answer: Answer) -> None:
        self._connections = int(answer["connections"])

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
