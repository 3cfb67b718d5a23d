"""C{echo}: sends all received data back (RFC 862)."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec


class Echo(Protocol):
    """Send all received bytes back until the peer closes."""

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoDatagrams(DatagramProtocol):
    """Send each datagram, even an empty one, back to its source."""

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)


declaration = ProtocolSpec(
    stream=lambda options, context: Echo(),
    datagram=lambda options, context: EchoDatagrams(),
)
