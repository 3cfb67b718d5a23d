"""Tests for L{socketd.workers.queue}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.events import EventBus
from socketd.common.operator_queue import TOLD_WAITING
from socketd.net.service_state import ConnectionTable, ServiceState
from socketd.workers.link import Malformed
from socketd.workers.queue import CrewQueue


def waits(number: int, asked: float, **other: Any) -> dict[str, Any]:
    """Make what a worker tells of a connection that waits."""
    found = {"id": number, "service": "ack", "peer": "192.0.2.1:7", "said": "hi", "asked": asked}
    return found | {"until": asked + 60.0} | other


class CrewQueueTests(SynchronousTestCase):
    """Tests for L{CrewQueue}."""

    def setUp(self) -> None:
        clock = Clock()
        self.state = ServiceState("ack", EventBus(clock), ConnectionTable())
        self.said: list[Any] = []
        self.queue = CrewQueue(clock, lambda *said: self.said.append(said))
        self.changes = 0
        self.queue.attach(self._changed)
        self.changes = 0

    def _changed(self) -> None:
        self.changes += 1

    def tell(self, index: int, *waiting: Any, count: Any = None) -> None:
        """Have a worker tell its queue."""
        services = {"ack": self.state}
        self.queue.tell(index, len(waiting) if count is None else count, list(waiting), services)

    def ids(self) -> list[int]:
        """List who waits."""
        return [question.transport.connection_id for question in self.queue.waiting]

    def test_merged(self) -> None:
        """The queues of all are one, by since when each waits."""
        self.tell(0, waits(1, 3.0), waits(5, 7.0))
        self.tell(1, waits(2, 1.0), waits(4, 5.0), count=30)
        self.assertEqual((self.ids(), self.queue.count, self.changes), ([2, 1, 4, 5], 32, 2))
        connection = self.queue.connection(4)
        assert connection is not None
        self.assertEqual((connection.peer, connection.service_state), ("192.0.2.1:7", self.state))
        question = self.queue.find(4)
        assert question is not None
        self.assertEqual((question.said, question.until), ("hi", 65.0))
        self.tell(1)
        self.assertEqual((self.ids(), self.queue.count), ([1, 5], 2))
        self.assertIsNone(self.queue.connection(4))

    def test_same(self) -> None:
        """A connection that still waits is the same one; one that waits again is another."""
        self.tell(0, waits(1, 3.0))
        (first,) = self.queue.waiting
        self.tell(0, waits(1, 3.0))
        self.assertIs(self.queue.waiting[0], first)
        self.assertEqual(self.changes, 1)
        self.tell(0, waits(1, 4.0))
        self.assertIsNot(self.queue.waiting[0], first)

    def test_answered(self) -> None:
        """An answer goes to the worker; what it told before it heard of that is outdated."""
        self.tell(0, waits(1, 3.0), waits(3, 4.0))
        self.queue.answer(self.queue.waiting[0], b"word")
        self.assertEqual((self.said, self.ids()), ([(1, 3.0, b"word")], [3]))
        self.tell(0, waits(1, 3.0), waits(3, 4.0))
        self.assertEqual(self.ids(), [3])
        self.tell(0, waits(3, 4.0), waits(1, 5.0))
        self.assertEqual(self.ids(), [3, 1])

    def test_unknown_service(self) -> None:
        """One of a service that a reload has just added is told again when it is known."""
        self.tell(0, waits(1, 3.0, service="new"))
        self.assertEqual(self.ids(), [])

    def test_untrue(self) -> None:
        """What no worker tells is refused."""
        for found in (
            7, {}, waits(-1, 1.0), waits(1, 1.0, said=None), waits(1, 1.0, peer=7),
            waits(1, 1.0, until="x"), waits(1, 1.0) | {"asked": []}, waits(1, 1.0, service={}),
        ):  # fmt: skip
            self.assertRaises(Malformed, self.tell, 0, found)
        self.assertRaises(Malformed, self.tell, 0, count=-1)
        problem = self.assertRaises(Malformed, self.tell, 0, 7)
        self.assertEqual(str(problem), "it told nothing that waits")
        many = [waits(number, 1.0) for number in range(TOLD_WAITING + 1)]
        problem = self.assertRaises(Malformed, self.tell, 0, *many)
        self.assertEqual((str(problem), self.ids()), ("it told no queue", []))
        self.tell(0, *many[1:])
        self.assertEqual(len(self.ids()), TOLD_WAITING)
