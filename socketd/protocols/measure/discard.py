"""C{discard}: discards all received data until the peer closes (RFC 863), and reports if asked."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.protocols.spec import ProtocolSpec
from socketd.settings.options import STREAM, option
from socketd.settings.value_types import YES_NO


@frozen
class DiscardOptions:
    """The options of C{discard}."""

    report: bool = option(
        YES_NO,
        False,
        "Answer a client that ends its sending with one line: bytes, seconds and rate.",
        form=STREAM,
    )


@implementer(IHalfCloseableProtocol)
class ReportingDiscard(Protocol):
    """Discard all data; at the peer's EOF, say how much came, from the first byte to the end."""

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._size = 0
        self._began = 0.0

    def dataReceived(self, data: bytes) -> None:
        if not self._size:
            self._began = self._clock.seconds()
        self._size += len(data)

    def readConnectionLost(self) -> None:
        size, seconds = self._size, self._clock.seconds() - self._began if self._size else 0.0
        # In units of 1000, as links are sold.
        rate = size * 8 / seconds / 1e6 if seconds > 0 else 0.0
        text = f"{size} bytes, {seconds:.3f} s, {rate:.3f} Mbit/s\n"
        self.transport.write(text.encode("ascii"))
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""


# Twisted's base classes ignore all that they receive.
declaration = ProtocolSpec(
    options=DiscardOptions,
    stream=lambda options, context: (
        ReportingDiscard(context.clock) if options.report else Protocol()
    ),
    datagram=lambda options, context: DatagramProtocol(),
)
