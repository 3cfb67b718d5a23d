"""
C{reply}: a fixed reply to each message, or one by rule.

The rules are imported for services that have some only: it takes 15 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from socketd.protocols.framing import MessageProtocol, framing_option, max_message_option
from socketd.protocols.rules.options import GREETING, RULES
from socketd.protocols.spec import ProtocolContext, ProtocolSpec, udp_amplify_option
from socketd.settings.listeners import Listener
from socketd.settings.options import STREAM, option
from socketd.settings.value_types import TEXT, YES_NO

if TYPE_CHECKING:
    from socketd.protocols.rules.conversation import Script
    from socketd.protocols.rules.ruleset import RuleSet


@frozen
class ReplyOptions:
    """The options of C{reply}."""

    reply: bytes | None = option(
        TEXT, None, "The answer to each message; with rules, to each that no rule answers."
    )
    rules: RuleSet | None = option(
        RULES, None, "What answers which message: the first rule that matches; see docs/RULES.md."
    )
    greeting: bytes = option(
        GREETING, b"", "What is sent at the start of a connection.", form=STREAM
    )
    close: bool = option(YES_NO, False, "Whether to close after the first answer.")
    framing: str = framing_option(timed=True)
    max_message: int = max_message_option()
    udp_amplify: int = udp_amplify_option()

    @property
    def script(self) -> Script:
        """All that it says."""
        from socketd.protocols.rules.conversation import Script
        from socketd.protocols.rules.rule import Answer, Anything, Rule
        from socketd.protocols.rules.ruleset import RuleSet

        fallback = None if self.reply is None else Rule(Anything(), Answer((self.reply,)))
        return Script(self.rules or RuleSet(), fallback, self.greeting, self.close)


class Reply(MessageProtocol):
    """Answer each message, or answer the first one and close."""

    def __init__(self, options: ReplyOptions, clock: IReactorTime) -> None:
        super().__init__(options.framing, options.max_message, clock)
        self._reply = options.reply or b""
        self._close = options.close

    def message_received(self, message: bytes) -> None:
        self.answer(self._reply)
        if self._close:
            self.finish()


class ReplyDatagrams(DatagramProtocol):
    """Answer each datagram; the transport drops and counts what is longer than it may be."""

    transport: IUDPTransport

    def __init__(self, options: ReplyOptions) -> None:
        self._reply = options.reply or b""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(self._reply, addr)


def _make_stream(options: ReplyOptions, context: ProtocolContext) -> MessageProtocol:
    if options.rules is None and not options.greeting:
        return Reply(options, context.clock)
    from socketd.protocols.rules.scripted import ScriptedReply

    return ScriptedReply(options.script, options.framing, options.max_message, context.clock)


def _make_datagrams(options: ReplyOptions, context: ProtocolContext) -> DatagramProtocol:
    if options.rules is None:
        return ReplyDatagrams(options)
    from socketd.protocols.rules.scripted import ScriptedDatagrams

    return ScriptedDatagrams(options.script, options.framing, options.max_message, context.clock)


def _refusals(
    options: ReplyOptions, listeners: Sequence[Listener]
) -> Iterator[tuple[str, ValueError]]:
    if options.reply is None and options.rules is None:
        text = "has no reply and no rules; write reply = TEXT, or rules = PATTERN -> ANSWER"
        yield "", ValueError(text)
    if options.rules is not None:
        from socketd.protocols.rules.ruleset import refusals_of

        for error in refusals_of(options.rules, options.framing, options.max_message, listeners):
            yield "rules", error


def _shortest_reply(options: ReplyOptions) -> int:
    answers = [] if options.reply is None else [len(options.reply)]
    rules = options.rules.rules if options.rules else ()
    answers += (len(rule.answer.fixed) for rule in rules if rule.answer is not None)
    return min(answers, default=0)


declaration = ProtocolSpec(
    options=ReplyOptions,
    stream=_make_stream,
    datagram=_make_datagrams,
    shortest_reply=_shortest_reply,
    refusals=_refusals,
)
