"""What a protocol is handed, in memory."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyClass

from socketd.common.operator_queue import OperatorQueue
from socketd.protocols.registry import installed
from socketd.protocols.spec import ProtocolContext, ProtocolSpec
from tests.settings.refusals import diagnostics

#: Where the datagrams of these tests come from.
PEER = ("192.0.2.1", 54321)


@frozen(eq=False)
class FakeQuestion:
    """A datagram that is answered later, as L{socketd.net.datagram.batch_port.Question} is."""

    transport: FakeDatagramTransport
    allowance: float

    def answer(self, datagram: bytes) -> None:
        """Send an answer if it is short enough."""
        if len(datagram) > self.allowance:
            self.transport.refused.append(datagram)
        else:
            self.transport.sent.append((datagram, PEER))


@implementer(IUDPTransport)
class FakeDatagramTransport:
    """
    A datagram transport that keeps what is written to it.

    @ivar sent: each datagram with its address.
    @ivar allowance: how many bytes a datagram may have; the port of the daemon sets it
        for each datagram that it delivers.
    @ivar received_at: the kernel's time of arrival; without one as with a port that has none.
    @ivar destination: where the current datagram was sent to.
    @ivar refused: the datagrams that had more.
    @ivar dropped: the reasons for which the protocol dropped datagrams.
    """

    allowance: float = math.inf
    received_at: int | None = None
    destination: Any = IPv4Address("UDP", "127.0.0.1", 7)

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.refused: list[bytes] = []
        self.dropped: list[str] = []

    def drop(self, reason: str) -> None:
        """Note that a datagram is dropped."""
        self.dropped.append(reason)

    def write(self, packet: bytes, addr: Any = None) -> None:
        if not isinstance(packet, bytes):
            raise TypeError("data must be bytes")
        if len(packet) > self.allowance:
            self.refused.append(packet)
            return
        self.sent.append((packet, addr))

    def question(self) -> FakeQuestion:
        """Return what answers a datagram later."""
        return FakeQuestion(self, self.allowance)

    def connect(self, host: str, port: int) -> None:
        """Refuse: a server answers many."""
        raise AssertionError(f"connected to {host}:{port}")

    def getHost(self) -> IPv4Address:
        return IPv4Address("UDP", "127.0.0.1", 7)

    def stopListening(self) -> Deferred[None]:
        return succeed(None)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Refuse: socket options are no protocol's concern."""
        raise AssertionError("set broadcast")

    def getBroadcastAllowed(self) -> bool:
        return False


verifyClass(IUDPTransport, FakeDatagramTransport)


def context(now: float = 0.0) -> ProtocolContext:
    """Make what a daemon lends to its protocols, at a time of day."""
    return ProtocolContext(wall_clock=lambda: now, operator=OperatorQueue(Clock()))


@cache
def declaration_of(name: str) -> ProtocolSpec:
    """Look an installed protocol up."""
    return installed()[name]


def make_stream(name: str, around: ProtocolContext | None = None, **options: Any) -> Any:
    """Make the protocol of one connection, as the daemon does."""
    declaration = declaration_of(name)
    assert declaration.stream is not None
    return declaration.stream(declaration.options(**options), around or context())


def told(protocol: Any) -> bytes:
    """Connect a protocol that closes at once, whatever a peer says; return what it sent."""
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"another one")
    assert transport.disconnecting
    return bytes(transport.value())


def answers(name: str, *datagrams: bytes, now: float = 0.0, **options: Any) -> list[bytes]:
    """
    Send datagrams to a protocol, on the terms of its port.

    @return: what it sent back, all of it to where the datagrams came from.
    """
    declaration, transport = declaration_of(name), FakeDatagramTransport()
    assert declaration.datagram is not None
    protocol = declaration.datagram(declaration.options(**options), context(now))
    assert isinstance(protocol, DatagramProtocol)
    protocol.noisy = False
    protocol.makeConnection(transport)
    floor = declaration.reply_floor(declaration.options(**options))
    for datagram in datagrams:
        transport.allowance = max(len(datagram), floor)
        protocol.datagramReceived(datagram, PEER)
    protocol.doStop()
    assert all(addr == PEER for _, addr in transport.sent)
    return [packet for packet, _ in transport.sent]


def complaints(ini: str) -> str:
    """Say what is wrong with a configuration of installed protocols."""
    return "\n".join(diagnostics(ini, installed()))


class Wire(StringTransport):
    """A string transport with the id that a daemon's connections have."""

    connection_id = 1

    @property
    def paused(self) -> bool:
        """Whether the protocol wants nothing to be read."""
        return bool(self.producerState == "paused")

    def taken(self) -> bytes:
        """Take what was written since the last time."""
        written = self.value()
        self.clear()
        return bytes(written)
