"""C{discard}: discards all received data until the peer closes (RFC 863)."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol, Protocol

from socketd.protocols.spec import ProtocolSpec

# Twisted's base classes ignore all that they receive.
declaration = ProtocolSpec(
    stream=lambda options, context: Protocol(),
    datagram=lambda options, context: DatagramProtocol(),
)
