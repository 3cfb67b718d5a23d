"""
Feeding a stream protocol in every way that a network can.

What a peer sends may arrive in any pieces.  So a case of a protocol that does not
care where the pieces end is fed whole, byte by byte, and split in two at every
index, and has to come out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import frozen
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport

Make = Callable[[], Protocol]


@frozen
class Outcome:
    """
    What came of a connection.

    @ivar sent: all that the protocol sent.
    @ivar closed: whether it closed, or had the end of the input close.
    """

    sent: bytes
    closed: bool


def ways(data: bytes) -> Iterator[Sequence[bytes]]:
    """Cut data into pieces: whole, bytes, and two at every index."""
    yield [data]
    yield [data[index : index + 1] for index in range(len(data))]
    for index in range(1, len(data)):
        yield [data[:index], data[index:]]


def feed(make: Make, pieces: Sequence[bytes], then_end: bool = False) -> Outcome:
    """
    Feed pieces to a new protocol, as its transport would: not beyond its close.

    @param then_end: whether the peer shuts down its writing side at last.
    """
    protocol, transport = make(), StringTransport()
    protocol.makeConnection(transport)
    for piece in pieces:
        if not transport.disconnecting:
            protocol.dataReceived(piece)
    if then_end and not transport.disconnecting:
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
        else:
            transport.loseConnection()
    return Outcome(transport.value(), transport.disconnecting)


def outcomes(make: Make, data: bytes, then_end: bool = False) -> set[Outcome]:
    """
    Feed data in all L{ways}, each to a new protocol.

    @return: the different outcomes; one, if all is well.
    """
    return {feed(make, pieces, then_end) for pieces in ways(data)}
