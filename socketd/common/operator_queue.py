"""
The queue of connections that wait for the operator's word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: More than a person will ever answer; beyond it a connection is not made to
#: wait for its turn.
MAX_WAITING = 1000


@define(eq=False)
class Question:
    """
    One connection that waits.

    @ivar transport: the connection.
    @ivar asked: when it began to wait, on the queue's clock.
    """

    transport: Any
    asked: float
    _answered: Callable[[bytes], None]
    _timeout: IDelayedCall | None = None

    def settle(self, word: bytes) -> None:
        """
        Hand the word to the connection; the empty word is none.
        """
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        self._answered(word)


@define(eq=False)
class OperatorQueue:
    """
    The waiting connections, oldest first, and the operators who look at them.

    @ivar clock: measures how long each may wait.
    """

    clock: IReactorTime
    _waiting: deque[Question] = field(factory=deque, init=False)
    _attached: list[Callable[[], None]] = field(factory=list, init=False)

    @property
    def attended(self) -> bool:
        """
        Whether an operator is attached.
        """
        return bool(self._attached)

    @property
    def operators(self) -> int:
        """
        How many operators are attached.
        """
        return len(self._attached)

    @property
    def waiting(self) -> tuple[Question, ...]:
        """
        The connections that wait, oldest first.
        """
        return tuple(self._waiting)

    def awaits(self, connection_id: int) -> bool:
        """
        Say whether a connection waits, by its id.
        """
        return any(one.transport.connection_id == connection_id for one in self._waiting)

    def attach(self, changed: Callable[[], None]) -> None:
        """
        Let an operator look on.

        @param changed: called after each change of the queue.
        """
        self._attached.append(changed)

    def detach(self, changed: Callable[[], None]) -> None:
        """
        Let an operator go; what waits goes on waiting.
        """
        self._attached.remove(changed)

    def ask(
        self, transport: Any, timeout: float, answered: Callable[[bytes], None]
    ) -> Question | None:
        """
        Put a connection into the queue.

        @param timeout: seconds after which the empty word is the answer.
        @param answered: called once with the word, unless withdrawn.
        @return: the question; C{None} where the queue is full.
        """
        if len(self._waiting) >= MAX_WAITING:
            return None
        question = Question(transport, self.clock.seconds(), answered)
        question._timeout = self.clock.callLater(timeout, self._expire, question)
        self._waiting.append(question)
        self._changed()
        return question

    def answer(self, question: Question, word: bytes) -> None:
        """
        Answer a waiting connection.

        @raise ValueError: if it does not wait any more.
        """
        self._waiting.remove(question)
        question.settle(word)
        self._changed()

    def withdraw(self, question: Question) -> None:
        """
        Take a question back, because its connection is gone.
        """
        if question in self._waiting:
            self._waiting.remove(question)
            question._answered = _nobody
            question.settle(b"")
            self._changed()

    def _expire(self, question: Question) -> None:
        self.answer(question, b"")

    def _changed(self) -> None:
        for changed in tuple(self._attached):
            changed()


def _nobody(word: bytes) -> None:
    """
    Take the place of a connection that is gone.
    """
