"""C{upper}: sends each message back in upper case (ASCII letters only)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from socketd.protocols.framing import MessageProtocol, framing_option, max_message_option
from socketd.protocols.spec import ProtocolSpec


@frozen
class UpperOptions:
    """The options of C{upper}."""

    framing: str = framing_option(timed=True)
    max_message: int = max_message_option()


class Upper(MessageProtocol):
    """Send each message back in upper case; a length in front of it stays as it is."""

    def message_received(self, message: bytes) -> None:
        header = self.framing.header
        self.answer(message[:header] + message[header:].upper() if header else message.upper())


class UpperDatagrams(DatagramProtocol):
    """Send each datagram back in upper case."""

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram.upper(), addr)


declaration = ProtocolSpec(
    options=UpperOptions,
    stream=lambda options, context: Upper(options.framing, options.max_message, context.clock),
    datagram=lambda options, context: UpperDatagrams(),
)
