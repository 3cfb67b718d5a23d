"""C{discard}: discards all received data until the peer closes (RFC 863), and reports if asked."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.options import STREAM, option
from socketd.settings.value_types import YES_NO

_BITS = 8


@frozen
class DiscardOptions:
    """The options of C{discard}."""

    report: bool = option(
        YES_NO,
        False,
        "Answer a client that ends its sending with one line: bytes, seconds and rate.",
        form=STREAM,
    )


def report_line(size: int, seconds: float) -> bytes:
    """Write what came in how long, and the rate in units of 1000, as links are sold."""
    rate = size * _BITS / seconds / 1e6 if seconds > 0 else 0.0
    return f"{size} bytes, {seconds:.3f} s, {rate:.3f} Mbit/s\n".encode("ascii")


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
        seconds = self._clock.seconds() - self._began if self._size else 0.0
        self.transport.write(report_line(self._size, seconds))
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""


def _make_stream(options: DiscardOptions, context: ProtocolContext) -> Protocol:
    # Twisted's base classes ignore all that they receive.
    return ReportingDiscard(context.clock) if options.report else Protocol()


declaration = ProtocolSpec(
    options=DiscardOptions,
    stream=_make_stream,
    datagram=lambda options, context: DatagramProtocol(),
)
