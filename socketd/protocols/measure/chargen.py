"""C{chargen}: a rotating pattern of printable characters, endless if not cut (RFC 864)."""

from __future__ import annotations

import sys
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.protocols.spec import ProtocolSpec
from socketd.settings.options import STREAM, option
from socketd.settings.value_types import SIZE

#: The characters of a line without CR LF (RFC 864).
LINE_LENGTH = 72

#: The most bytes per write: one system call, below the write buffer's limit, and short
#: enough to be fair to other connections.
MAX_BLOCK = 16 * 1024

#: The longest reply to a datagram, in bytes (RFC 864).
MAX_ANSWER = 512

_PRINTABLE = bytes(range(0x20, 0x7F))

#: Line N begins with character N, so the pattern has as many lines as there are characters.
PATTERN = b"".join(
    (_PRINTABLE * 2)[start : start + LINE_LENGTH] + b"\r\n" for start in range(len(_PRINTABLE))
)

#: A whole number of patterns, so that each block begins with line 0.
BLOCK = PATTERN * (MAX_BLOCK // len(PATTERN))


@frozen
class ChargenOptions:
    """The options of C{chargen}."""

    bytes: int = option(
        SIZE, 0, "Close a connection after so many bytes; 0: send without end.", form=STREAM
    )


@implementer(IPullProducer, IHalfCloseableProtocol)
class Chargen(Protocol):
    """
    Send the pattern as fast as the peer reads it, until the peer or the daemon closes, or so many
    bytes are sent.

    Backpressure: the next block is produced when the last one is sent, so a peer that never reads
    holds one block, an object that all connections share.

    The peer's EOF is ignored like its data, since it may still read after a half-close. If it has
    closed entirely, it resets the connection at the next write.
    """

    transport: Any

    def __init__(self, size: int = 0) -> None:
        """@param size: the bytes to send; 0: without end."""
        # No connection lasts for sys.maxsize bytes.
        self._left = size or sys.maxsize

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, False)

    def dataReceived(self, data: bytes) -> None:
        """Discard the data (RFC 864)."""

    def resumeProducing(self) -> None:
        """
        Send one more block, or unregister if a close is pending, which waits for the producer.
        """
        if self.transport.disconnecting:
            self.transport.unregisterProducer()
            return
        block = BLOCK[: self._left]
        self._left -= len(block)
        self.transport.write(block)
        if not self._left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """No-op: the connection is lost and asks for no more data."""

    def readConnectionLost(self) -> None:
        """No-op: the peer may still read."""

    def writeConnectionLost(self) -> None:
        """No-op: this protocol never half-closes."""


class ChargenDatagrams(DatagramProtocol):
    """
    Answer each datagram with as many bytes of the pattern as it has, up to L{MAX_ANSWER}.

    RFC 864 specifies a random length up to 512; ours never exceeds the request, so that a spoofed
    source receives no amplified traffic. An empty datagram has no reply.
    """

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram:
            self.transport.write(PATTERN[: min(len(datagram), MAX_ANSWER)], addr)


declaration = ProtocolSpec(
    options=ChargenOptions,
    stream=lambda options, context: Chargen(options.bytes),
    datagram=lambda options, context: ChargenDatagrams(),
)
