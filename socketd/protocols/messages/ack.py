"""C{ack}: echoes each message, then sends an acknowledgement, then the operator's reply."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from socketd.common.operator_queue import Question
from socketd.protocols.framing import MessageProtocol, framing_option, max_message_option
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.options import option
from socketd.settings.value_types import DURATION, TEXT, choice


@frozen
class AckOptions:
    """The options of C{ack}."""

    reply: bytes = option(TEXT, b"\nI get it!\n", "The acknowledgement of each message.")
    operator: str = option(
        choice("auto", "always", "never"),
        "auto",
        "Ask the operator for a word: while one is attached, always or never.",
    )
    operator_timeout: float = option(DURATION, 60.0, "How long to wait for the operator's word.")
    framing: str = framing_option(timed=True)
    max_message: int = max_message_option()


class Ack(MessageProtocol):
    """
    Acknowledge each message, then send the operator's reply.

    Replies are in message order; the next message waits for the operator.
    """

    def __init__(self, options: AckOptions, context: ProtocolContext) -> None:
        super().__init__(options.framing, options.max_message, context.clock)
        self._options = options
        self._operator = context.operator
        self._question: Question | None = None

    @property
    def waiting(self) -> bool:
        """Whether the connection waits for the operator's reply."""
        return self._question is not None

    def message_received(self, message: bytes) -> None:
        self.answer(self.framing.unterminated(message) + self._options.reply)
        wanted = self._options.operator
        if wanted == "always" or (wanted == "auto" and self._operator.attended):
            self._question = self._operator.ask(
                self.transport, self._options.operator_timeout, self._answered, message
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._question is not None:
            self._operator.withdraw(self._question)

    def _answered(self, reply: bytes) -> None:
        """Send the operator's reply, then process the messages that waited for it."""
        self._question = None
        self.answer(reply)
        self.go_on()


declaration = ProtocolSpec(options=AckOptions, stream=Ack)
