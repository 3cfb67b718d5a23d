"""
C{discard}: what comes in is thrown away (RFC 863).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec


class Discard(Protocol):
    """
    Throw all received bytes away, until the peer closes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Answer nothing.
        """


class DiscardDatagrams(DatagramProtocol):
    """
    Throw each datagram away.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Answer nothing.
        """


declaration = ProtocolSpec(
    stream=lambda options, context: Discard(),
    datagram=lambda options, context: DiscardDatagrams(),
)
