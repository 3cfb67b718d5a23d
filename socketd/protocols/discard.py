"""C{discard}: discards all received data (RFC 863)."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec


class Discard(Protocol):
    """Discard all received bytes until the peer closes."""

    def dataReceived(self, data: bytes) -> None:
        """Discard the data."""


class DiscardDatagrams(DatagramProtocol):
    """Discard each datagram."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Discard the data."""


declaration = ProtocolSpec(
    stream=lambda options, context: Discard(),
    datagram=lambda options, context: DiscardDatagrams(),
)
