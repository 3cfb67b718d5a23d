"""
C{echo}: what comes in goes out (RFC 862).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec


class Echo(Protocol):
    """
    Send all received bytes back, until the peer closes.
    """

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoDatagrams(DatagramProtocol):
    """
    Send each datagram back to where it came from, an empty one too.
    """

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)


declaration = ProtocolSpec(
    stream=lambda options, context: Echo(),
    datagram=lambda options, context: EchoDatagrams(),
)
