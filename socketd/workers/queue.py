"""The connections of all workers that wait for an operator, as the master knows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import define, field, frozen

from socketd.common.operator_queue import TOLD_WAITING, OperatorQueue, Question
from socketd.net.service_state import ServiceState
from socketd.workers import checks
from socketd.workers.link import Malformed


@frozen
class Elsewhere:
    """A connection of a worker."""

    connection_id: int
    peer: str
    service_state: ServiceState


@define(eq=False)
class CrewQueue(OperatorQueue):
    """
    The queues of all workers in one, of each the oldest ones.

    @ivar say: says an answer to the worker of a connection; takes its id, since when it has
        waited, and the answer.
    """

    say: Callable[[int, float, bytes], object]
    _told: dict[int, tuple[int, list[Question]]] = field(factory=dict, init=False)
    _answered: set[tuple[int, float]] = field(factory=set, init=False)

    @property
    def count(self) -> int:
        return max(sum(count for count, _ in self._told.values()), len(self._waiting))

    def connection(self, connection_id: int) -> Elsewhere | None:
        """Find a connection that waits."""
        question = self.find(connection_id)
        return None if question is None else question.transport

    def tell(
        self, index: int, count: Any, oldest: Any, services: Mapping[str, ServiceState]
    ) -> None:
        """Take what a worker tells of its queue."""
        if not isinstance(oldest, list) or len(oldest) > TOLD_WAITING:
            raise Malformed("it told no queue")
        known = {(one.transport.connection_id, one.asked): one for one in self._waiting}
        found = [self._question(services, known, one) for one in oldest]
        kept = [question for question in found if question is not None]
        before = self.count, self._waiting
        self._told[index] = checks.count(count), kept
        told = [question for _, questions in self._told.values() for question in questions]
        # What was answered here is there until the worker has heard of it.
        self._answered &= {_key(question) for question in told}
        waiting = [question for question in told if _key(question) not in self._answered]
        self._waiting = sorted(waiting, key=lambda question: question.asked)
        if (self.count, self._waiting) != before:
            self._changed()

    def _question(
        self, services: Mapping[str, ServiceState], known: Mapping[Any, Question], told: Any
    ) -> Question | None:
        if not isinstance(told, dict):
            raise Malformed("it told nothing that waits")
        number, asked = checks.count(told.get("id")), checks.number(told.get("asked"))
        until, said = checks.number(told.get("until")), checks.text(told.get("said"))
        state = services.get(checks.text(told.get("service")))
        peer = checks.text(told.get("peer"))
        if state is None or (number, asked) in known:
            return known.get((number, asked))
        answered = partial(self._say, number, asked)
        return Question(Elsewhere(number, peer, state), answered, said, asked, until)

    def _say(self, number: int, asked: float, reply: bytes) -> None:
        self._answered.add((number, asked))
        self.say(number, asked, reply)


def _key(question: Question) -> tuple[int, float]:
    return question.transport.connection_id, question.asked
