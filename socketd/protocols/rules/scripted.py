"""The protocols that answer by rule."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socketd.common.counters import DELAY_QUEUE, TOO_LONG
from socketd.common.timer import Timer
from socketd.protocols.frames import parse_framing
from socketd.protocols.framing import MessageProtocol
from socketd.protocols.rules.conversation import Conversation, Script, Silence
from socketd.protocols.rules.rule import Rule
from socketd.protocols.spec import IDrainable

#: The steps of expressions that count as a byte of answer, so that a batch ends with them, too:
#: those of a whole batch take some 20 ms.
STEPS_PER_BYTE = 32

#: The datagrams of a port whose answers may be delayed at a time; further ones are dropped.  A
#: client that waits has few on the way.
MAX_DELAYED = 512


@implementer(IDrainable)
class ScriptedReply(MessageProtocol):
    """
    Answer each message of a connection by the first rule that matches.

    While an answer is delayed, the next message waits.
    """

    def __init__(
        self, script: Script, framing: str, max_message: int, clock: IReactorTime
    ) -> None:
        super().__init__(framing, max_message, clock)
        self._script = script
        self._conversation = Conversation(script)
        self._silence = Silence(self._conversation, clock, self._break_silence, self._is_busy)
        self._delayed = Timer(clock)
        self._registering = False

    @property
    def waiting(self) -> bool:
        return self._delayed.is_running

    def connectionMade(self) -> None:
        self.answer(self._script.greeting)
        self._silence.start()

    def message_received(self, message: bytes) -> None:
        message = self.framing.unterminated(message)
        self._batch_bytes += len(message) * self._script.rules.matcher.size // STEPS_PER_BYTE
        rule = self._conversation.choose(message)
        if rule is not None:
            self._follow(rule, rule.answer_to(message))

    def dataReceived(self, data: bytes) -> None:
        if self._script.rules.idle:
            self._silence.end()
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._silence.stop()
        self._delayed.stop()

    def drain(self) -> None:
        """Close once a delayed answer is sent, and those of the messages that wait behind it."""
        if not self.waiting:
            self.transport.loseConnection()
        elif not self.ended:
            self.ended = True
            self.framing.stop()

    def _follow(self, rule: Rule, answer: bytes) -> None:
        if rule.after:
            self._delayed.start(rule.after, self._act_late, rule, answer)
        else:
            self._act(rule, answer)

    def _act(self, rule: Rule, answer: bytes) -> None:
        self.answer(answer)
        if rule.close or rule.reset or (self._script.close and answer):
            self.finish()
        if rule.reset:
            self.transport.abortConnection()

    def _act_late(self, rule: Rule, answer: bytes) -> None:
        self._silence.end()
        self._act_unasked(rule, answer)

    def _act_unasked(self, rule: Rule, answer: bytes) -> None:
        """
        Act at a time of this side's choice; what follows waits until the answer is sent, or else
        answers to a peer that reads nothing would pile up.
        """
        if self.transport.disconnecting:
            return
        if answer and not rule.reset:
            # A producer is asked at once when it is registered, which is too early here.
            self._registering = True
            self._produce(True)
            self._registering = False
        self._act(rule, answer)
        if not answer:
            self.go_on()

    def resumeProducing(self) -> None:
        if not self._registering:
            super().resumeProducing()

    def _break_silence(self, rule: Rule) -> None:
        if rule.after:
            self._follow(rule, rule.answer_to(b""))
        else:
            self._act_unasked(rule, rule.answer_to(b""))

    def _is_busy(self) -> bool:
        return self.waiting or self._producing or self.ended


class ScriptedDatagrams(DatagramProtocol):
    """
    Answer each datagram by the first rule that matches; those of a port are one conversation.

    Closing and resetting mean nothing here. A datagram that is longer than a message is dropped.
    """

    transport: Any

    def __init__(
        self, script: Script, framing: str, max_message: int, clock: IReactorTime
    ) -> None:
        self._conversation = Conversation(script)
        self._framing = parse_framing(framing)(max_message)
        self._clock = clock
        self._delayed: dict[Any, IDelayedCall] = {}

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if len(datagram) > self._framing.max_message:
            self.transport.drop(TOO_LONG)
            return
        message = self._framing.unterminated(datagram)
        rule = self._conversation.choose(message)
        if rule is None or rule.answer is None:
            return
        answer = rule.answer_to(message)
        if not rule.after:
            self.transport.write(answer, addr)
        elif len(self._delayed) < MAX_DELAYED:
            question = self.transport.question()
            late = self._clock.callLater(rule.after, self._answer_late, question, answer)
            self._delayed[question] = late
        else:
            self.transport.drop(DELAY_QUEUE)

    def stopProtocol(self) -> None:
        for late in self._delayed.values():
            late.cancel()
        self._delayed.clear()

    def _answer_late(self, question: Any, answer: bytes) -> None:
        del self._delayed[question]
        question.answer(answer)
