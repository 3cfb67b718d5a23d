"""C{reply}: a fixed reply to each message."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from socketd.protocols.framing import MessageProtocol, framing_option, max_message_option
from socketd.protocols.spec import ProtocolSpec, udp_amplify_option
from socketd.settings.options import REQUIRED, option
from socketd.settings.value_types import TEXT, YES_NO


@frozen
class ReplyOptions:
    """The options of C{reply}."""

    reply: bytes = option(TEXT, REQUIRED, "The answer to each message.")
    close: bool = option(YES_NO, False, "Whether to close after the first answer.")
    framing: str = framing_option(timed=True)
    max_message: int = max_message_option()
    udp_amplify: int = udp_amplify_option()


class Reply(MessageProtocol):
    """Answer each message, or answer the first one and close."""

    def __init__(self, options: ReplyOptions, clock: IReactorTime) -> None:
        super().__init__(options.framing, options.max_message, clock)
        self._reply = options.reply
        self._close = options.close

    def message_received(self, message: bytes) -> None:
        self.answer(self._reply)
        if self._close:
            self.finish()


class ReplyDatagrams(DatagramProtocol):
    """
    Answer each datagram; the transport drops and counts a reply that is longer than both the
    datagram and C{udp_amplify}.
    """

    transport: IUDPTransport

    def __init__(self, options: ReplyOptions) -> None:
        self._reply = options.reply

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(self._reply, addr)


declaration = ProtocolSpec(
    options=ReplyOptions,
    stream=lambda options, context: Reply(options, context.clock),
    datagram=lambda options, context: ReplyDatagrams(options),
    reply_floor=lambda options: options.udp_amplify,
    shortest_reply=lambda options: len(options.reply),
)
