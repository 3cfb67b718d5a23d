"""A reflector in memory."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from socketd.common.system_clock import ClockState
from socketd.net.datagram.cmsg import IpHeader
from socketd.protocols.spec import NoRecord
from tests.protocols.fakes import FakeDatagramTransport, context, declaration_of

#: The time of day when an answer is sent, and when its packet came (ns since 1970).
NOW = 1_780_000_000.5
CAME = 1_780_000_000_400_000_000

#: A sender of a private network.
PRIVATE = ("10.0.0.1", 4711)


class FakeTransport(FakeDatagramTransport):
    """
    A datagram transport that tells what the kernel does.

    @ivar marks: the TOS of each answer.
    """

    received_at: int | None = CAME
    ip_header = IpHeader(60, 46 << 2 | 1)
    destination = IPv4Address("UDP", "10.0.0.9", 862)

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[int] = []

    def mark(self, tos: int) -> None:
        self.marks.append(tos)


class Reflector:
    """C{stamp} with these options, on the terms of its port."""

    def __init__(self, state: ClockState = ClockState(), **options: Any) -> None:
        self.record = NoRecord()
        self.clock = Clock()
        self.transport = FakeTransport()
        declaration = declaration_of("stamp")
        around = evolve(context(NOW), clock=self.clock, record=self.record)
        around = evolve(around, clock_state=lambda: state)
        chosen = declaration.options(**options)
        assert declaration.datagram is not None
        self.protocol: Any = declaration.datagram(chosen, around)
        self.protocol.noisy = False
        self.protocol.makeConnection(self.transport)
        self.floor = declaration.reply_floor(chosen)

    def ask(self, packet: bytes, source: Any = PRIVATE) -> bytes | None:
        """Send a packet, and return the answer."""
        self.transport.sent.clear()
        self.transport.allowance = max(len(packet), self.floor)
        self.protocol.datagramReceived(packet, source)
        assert [to for _, to in self.transport.sent] in ([], [source])
        return self.transport.sent[0][0] if self.transport.sent else None
