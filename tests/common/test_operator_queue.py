"""Tests for L{socketd.common.operator_queue}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.common.operator_queue import MAX_WAITING, OperatorQueue, Question


class OperatorQueueTests(SynchronousTestCase):
    """Tests for L{OperatorQueue}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = OperatorQueue(self.clock)
        self.words: list[tuple[str, bytes]] = []
        self.changes: list[int] = []

    def looking_on(self) -> None:
        """Record the number of waiting connections, as an operator does at each change."""
        self.changes.append(len(self.queue.waiting))

    def ask(self, name: str, timeout: float = 60.0) -> Question:
        """Add a connection."""
        question = self.queue.ask(name, timeout, lambda word: self.words.append((name, word)))
        assert question is not None
        return question

    def names(self) -> list[str]:
        """List the waiting connections."""
        return [question.transport for question in self.queue.waiting]

    def test_empty(self) -> None:
        """At first no connection waits and no operator is attached."""
        self.assertEqual((self.queue.waiting, self.queue.attended), ((), False))

    def test_oldest_first(self) -> None:
        """Connections wait in the order of their questions."""
        self.ask("a")
        self.clock.advance(5)
        self.ask("b")
        self.assertEqual(self.names(), ["a", "b"])

    def test_awaits(self) -> None:
        """A connection is found by its id while it waits."""

        class Transport:
            connection_id = 7

        question = self.queue.ask(Transport(), 60.0, lambda word: None)
        assert question is not None
        self.assertEqual([self.queue.awaits(number) for number in (6, 7)], [False, True])
        self.queue.answer(question, b"")
        self.assertFalse(self.queue.awaits(7))

    def test_said(self) -> None:
        """What waits for an answer is kept, printable and short."""
        said = b"\x1b[2J" + b"x" * 10_000
        question = self.queue.ask("a", 60.0, lambda word: None, said)
        assert question is not None
        self.assertTrue(question.said.startswith(r"\x1b[2Jxxx"))
        self.assertTrue(question.said.endswith("... (10004 bytes)"))

    def test_watch(self) -> None:
        """Who watches learns of each change, of the operators too, and is none."""
        self.queue.watch(self.looking_on)
        self.ask("a")
        operator = lambda: None  # noqa: E731
        self.queue.attach(operator, "operator uid 0")
        self.assertEqual(self.queue.names, ["operator uid 0"])
        self.queue.detach(operator)
        self.assertEqual((self.changes, self.queue.attended), ([1, 1, 1], False))
        self.queue.unwatch(self.looking_on)
        self.ask("b")
        self.assertEqual(len(self.changes), 3)

    def test_answer(self) -> None:
        """Any of them can be answered, once."""
        first, second = self.ask("a"), self.ask("b")
        self.queue.answer(second, b"two")
        self.assertEqual((self.words, self.names()), ([("b", b"two")], ["a"]))
        self.assertRaises(ValueError, self.queue.answer, second, b"again")
        self.queue.answer(first, b"")
        self.assertEqual((self.words, self.names()), ([("b", b"two"), ("a", b"")], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """At its timeout a question is answered with no bytes."""
        question = self.ask("a", 3.0)
        self.ask("b", 5.0)
        self.clock.advance(2.9)
        self.assertEqual(self.words, [])
        self.clock.advance(0.1)
        self.assertEqual((self.words, self.names()), ([("a", b"")], ["b"]))
        self.assertRaises(ValueError, self.queue.answer, question, b"late")
        self.clock.advance(2)
        self.assertEqual(self.words, [("a", b""), ("b", b"")])

    def test_withdraw(self) -> None:
        """A withdrawn question is not answered, not even at its timeout."""
        first = self.ask("a", 1.0)
        self.ask("b", 2.0)
        self.queue.withdraw(first)
        self.clock.advance(3)
        self.assertEqual((self.words, self.names()), ([("b", b"")], []))
        self.assertRaises(ValueError, self.queue.answer, first, b"late")

    def test_withdraw_twice(self) -> None:
        """Withdrawing an answered question changes nothing."""
        question = self.ask("a")
        self.queue.answer(question, b"x")
        self.queue.attach(self.looking_on)
        self.queue.withdraw(question)
        self.assertEqual((self.words, self.changes), ([("a", b"x")], []))

    def test_changes(self) -> None:
        """Operators are called after each change."""
        self.queue.attach(self.looking_on)
        first, second = self.ask("a"), self.ask("b")
        self.ask("c", 1.0)
        self.queue.answer(second, b"x")
        self.queue.withdraw(first)
        self.clock.advance(1)
        self.assertEqual(self.changes, [1, 2, 3, 2, 1, 0])

    def test_attended(self) -> None:
        """The queue is attended while an operator is attached."""
        other: list[bool] = []

        def changed() -> None:
            other.append(True)

        self.queue.attach(self.looking_on)
        self.queue.attach(changed)
        self.queue.detach(self.looking_on)
        self.assertTrue(self.queue.attended)
        self.ask("a")
        self.assertEqual((self.changes, other), ([], [True]))
        self.queue.detach(changed)
        self.assertFalse(self.queue.attended)
        self.assertEqual(self.names(), ["a"])

    def test_detach_when_told(self) -> None:
        """An operator may detach when called; the others are called, too."""

        def leave() -> None:
            self.queue.detach(leave)

        self.queue.attach(leave)
        self.queue.attach(self.looking_on)
        self.ask("a")
        self.assertEqual(self.changes, [1])

    def test_ask_again_when_answered(self) -> None:
        """A connection may ask again as soon as it is answered; it is then the last."""

        def again(word: bytes) -> None:
            self.words.append(("a", word))
            self.ask("a again")

        question = self.queue.ask("a", 60.0, again)
        assert question is not None
        self.ask("b")
        self.queue.answer(question, b"x")
        self.assertEqual(self.names(), ["b", "a again"])

    def test_full(self) -> None:
        """A full queue rejects a connection, until another leaves it."""
        questions = [self.ask(str(number)) for number in range(MAX_WAITING)]
        self.assertIdentical(self.queue.ask("late", 60.0, self.fail), None)
        self.queue.withdraw(questions[7])
        self.ask("late")
        self.assertEqual(len(self.queue.waiting), MAX_WAITING)
