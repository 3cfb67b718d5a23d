"""
C{chargen}: a rotating pattern of printable characters, without end (RFC 864).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.protocols.spec import ProtocolSpec

#: RFC 864: the characters of a line, without its CR LF.
LINE_LENGTH = 72

#: What a connection is sent at a time, at most: it costs one call to the kernel, is
#: less than a connection may hold unsent, and gives the others their turn.
MAX_BLOCK = 16 * 1024

#: RFC 864: the longest answer to a datagram.
MAX_ANSWER = 512

_PRINTABLE = bytes(range(0x20, 0x7F))

#: Line N begins with character N, so that the lines begin again after as many as
#: there are characters.
PATTERN = b"".join(
    (_PRINTABLE * 2)[start : start + LINE_LENGTH] + b"\r\n" for start in range(len(_PRINTABLE))
)

#: Whole patterns: each block begins where the last one ended, with line 0.
BLOCK = PATTERN * (MAX_BLOCK // len(PATTERN))


@implementer(IPullProducer, IHalfCloseableProtocol)
class Chargen(Protocol):
    """
    Send the pattern as fast as the peer reads it, until the peer is gone or the
    daemon closes.

    A connection asks for more only when all is sent, so that one whose peer never
    reads holds one block, and that is the same object for all.

    A peer that shuts down its writing side may read on, and is served: what is
    received is of no interest, so neither is its end.  A peer that is gone refuses
    the next bytes, and that ends the connection.
    """

    transport: Any

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, False)

    def dataReceived(self, data: bytes) -> None:
        """
        Answer nothing (RFC 864: received data is thrown away).
        """

    def resumeProducing(self) -> None:
        """
        Send one more block; or let a close go on, which waits for its producer.
        """
        if self.transport.disconnecting:
            self.transport.unregisterProducer()
        else:
            self.transport.write(BLOCK)

    def stopProducing(self) -> None:
        """
        Nothing: the connection is lost, and asks for no more.
        """

    def readConnectionLost(self) -> None:
        """
        Nothing: the peer may still read.
        """

    def writeConnectionLost(self) -> None:
        """
        Nothing: this side is shut down by closing only.
        """


class ChargenDatagrams(DatagramProtocol):
    """
    Answer each datagram with as much of the pattern as it was long.

    RFC 864 has a random length up to 512; ours never makes a forged source
    receive more than its forger sent.  So an empty datagram has no answer.
    """

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram:
            self.transport.write(PATTERN[: min(len(datagram), MAX_ANSWER)], addr)


declaration = ProtocolSpec(
    stream=lambda options, context: Chargen(),
    datagram=lambda options, context: ChargenDatagrams(),
)
