"""C{echo}: sends all received data back (RFC 862), and counts numbered datagrams if asked."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import ITransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol
from zope.interface import implementer

from socketd.protocols.batches import IBatchProtocol, IDatagramBatch
from socketd.protocols.measure.sequence import NumberedSources, NumberField
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from socketd.settings.options import DATAGRAM, option
from socketd.settings.value_types import ValueType

#: The longest payload of a UDP datagram over IPv4, in bytes.
MAX_PAYLOAD = 65507

_SEQUENCE = re.compile(r"(\d{1,5}):([1248])", re.ASCII)


def parse_sequence(text: str) -> NumberField:
    """Parse where the number of a datagram stands: C{OFFSET:SIZE}, in bytes."""
    match = _SEQUENCE.fullmatch(text)
    if match is None:
        raise ValueError("is no place of a number; write OFFSET:SIZE, of 1, 2, 4 or 8 bytes: 0:4")
    found = NumberField(int(match[1]), int(match[2]))
    if found.end > MAX_PAYLOAD:
        raise ValueError(f"is behind the end of any datagram; they have {MAX_PAYLOAD} bytes")
    return found


@frozen
class EchoOptions:
    """The options of C{echo}."""

    sequence: NumberField | None = option(
        ValueType("offset:size (0:4)", parse_sequence),
        None,
        "Where each datagram has its number, most significant byte first: loss, duplicates and"
        " reordering are counted by source (0:4 is the first four bytes).",
        form=DATAGRAM,
    )


class Echo(Protocol):
    """Send all received bytes back until the peer closes."""

    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@implementer(IBatchProtocol)
class EchoDatagrams(DatagramProtocol):
    """Send each datagram, even an empty one, back to its source."""

    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)

    def batch_received(self, batch: IDatagramBatch) -> None:
        batch.echo()


class NumberedEchoDatagrams(DatagramProtocol):
    """The same, with the numbers in the datagrams counted."""

    transport: IUDPTransport

    def __init__(self, place: NumberField, context: ProtocolContext) -> None:
        self._sources = NumberedSources(place, context)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)
        self._sources.add(datagram, addr)


declaration = ProtocolSpec(
    options=EchoOptions,
    stream=lambda options, context: Echo(),
    datagram=lambda options, context: (
        NumberedEchoDatagrams(options.sequence, context) if options.sequence else EchoDatagrams()
    ),
)
