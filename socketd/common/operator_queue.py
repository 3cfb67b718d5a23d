"""The queue of connections that wait for an answer from the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from socketd.common.text import escaped

#: Limit of waiting connections: more than a person can answer; further ones are not queued.
MAX_WAITING = 1000

#: Waiting connections of which operators are told; C{waiting} lists all of them.
TOLD_WAITING = 16


@define(eq=False)
class Question:
    """
    One waiting connection.

    @ivar transport: the connection.
    @ivar answered: called with the answer; empty bytes mean that there is none.
    @ivar said: the message that waits for an answer, escaped and cut.
    @ivar asked: when it began to wait.
    @ivar until: when it has waited for too long.
    @ivar timer: ends the wait then; C{None}: that is elsewhere.
    """

    transport: Any
    answered: Callable[[bytes], None]
    said: str
    asked: float
    until: float
    timer: IDelayedCall | None = None


@define(eq=False)
class OperatorQueue:
    """
    The waiting connections, oldest first, and the attached operators.

    @ivar clock: runs the timeouts.
    """

    clock: IReactorTime
    _waiting: list[Question] = field(factory=list, init=False)
    _attached: dict[Callable[[], None], str] = field(factory=dict, init=False)
    _watchers: list[Callable[[], None]] = field(factory=list, init=False)

    @property
    def attended(self) -> bool:
        """Whether an operator is attached."""
        return bool(self._attached)

    @property
    def names(self) -> list[str]:
        """The attached operators, as the log names them."""
        return list(self._attached.values())

    @property
    def waiting(self) -> tuple[Question, ...]:
        """The waiting connections, oldest first."""
        return tuple(self._waiting)

    @property
    def count(self) -> int:
        """The number of waiting connections."""
        return len(self._waiting)

    def find(self, connection_id: int) -> Question | None:
        """Find a waiting connection."""
        found = (one for one in self._waiting if one.transport.connection_id == connection_id)
        return next(found, None)

    def awaits(self, connection_id: int) -> bool:
        """Tell whether a connection is waiting."""
        return self.find(connection_id) is not None

    def attach(self, changed: Callable[[], None], who: str = "operator") -> None:
        """Attach an operator: C{changed} is called after each change of the queue."""
        self._attached[changed] = who
        self._tell_watchers()

    def detach(self, changed: Callable[[], None]) -> None:
        """Detach an operator; connections keep waiting."""
        del self._attached[changed]
        self._tell_watchers()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call C{changed} after each change of the queue or its operators; it is none itself."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Undo L{watch}."""
        self._watchers.remove(changed)

    def ask(
        self, transport: Any, timeout: float, answered: Callable[[bytes], None], said: bytes = b""
    ) -> Question | None:
        """
        Add a connection to the queue.

        @param timeout: seconds after which the answer is empty.
        @param answered: called once with the answer, unless withdrawn.
        @param said: the message that waits for it.
        @return: the question; C{None} if the queue is full.
        """
        if len(self._waiting) >= MAX_WAITING:
            return None
        now = self.clock.seconds()
        timer = self.clock.callLater(timeout, lambda: self.answer(question, b""))
        question = Question(transport, answered, escaped(said), now, now + timeout, timer)
        self._waiting.append(question)
        self._changed()
        return question

    def answer(self, question: Question, reply: bytes) -> None:
        """Answer a waiting connection; C{ValueError}: it no longer waits."""
        self._remove(question)
        question.answered(reply)
        self._changed()

    def withdraw(self, question: Question) -> None:
        """Remove a question whose connection has ended."""
        if question in self._waiting:
            self._remove(question)
            self._changed()

    def _remove(self, question: Question) -> None:
        self._waiting.remove(question)
        if question.timer is not None and question.timer.active():
            question.timer.cancel()

    def _changed(self) -> None:
        for changed in tuple(self._attached):
            changed()
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for changed in tuple(self._watchers):
            changed()
