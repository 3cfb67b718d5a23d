"""A client transport over TLS without TLS, whose keys are those of the tests."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import connectionDone

from tests.protocols.clock.nts_client import TO_CLIENT, TO_SERVER
from tests.support.client_fakes import MemoryTransport


@define(eq=False)
class Secured:
    """What is known of a connection over TLS; its own handle."""

    negotiatedProtocol: bytes | None = b"ntske/1"
    peer: Any = IPv4Address("TCP", "192.0.2.7", 4460)

    def getHandle(self) -> Secured:
        return self

    def getPeer(self) -> Any:
        return self.peer

    def export_keying_material(self, label: bytes, length: int, context: bytes) -> bytes:
        """Export the keys that both ends have."""
        assert (label, length) == (b"EXPORTER-network-time-security", 32)
        contexts = bytes.fromhex("0000000f00"), bytes.fromhex("0000000f01")
        return (TO_SERVER, TO_CLIENT)[contexts.index(context)]


class SecureTransport(MemoryTransport):
    """A client transport over TLS; an abort ends it at once."""

    def __init__(self, secured: Secured | None = None) -> None:
        super().__init__()
        self.transport = secured or Secured()
        self.receiver: Any = None

    def connect(self, receiver: Any) -> None:
        self.receiver = receiver
        super().connect(receiver)

    def abortConnection(self) -> None:
        super().abortConnection()
        self.receiver.connectionLost(connectionDone)
