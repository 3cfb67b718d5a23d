"""A test with a datagram port that has a guard."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from socketd.access.addresses import packed
from socketd.access.datagram_guard import Guard, LocalAddresses
from socketd.net.datagram.port import DatagramTerms
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY
from tests.net.datagram.case import DatagramCase

#: What is sent to it reaches all of 127/8.
LOOPBACK_BROADCAST = "127.255.255.255"


def broadcasts(*hosts: str) -> LocalAddresses:
    """Make the addresses of a machine that has these broadcast addresses."""
    return LocalAddresses(broadcasts=frozenset(map(packed, hosts)))


class GuardedCase(DatagramCase):
    """A guarded port, whose clients are on loopback and are guarded, as remote ones are."""

    def setUp(self) -> None:
        super().setUp()
        self.local_addresses = broadcasts(LOOPBACK_BROADCAST)
        self.own_ports: set[int] = set()

    def serve(
        self,
        protocol: DatagramProtocol | None = None,
        host: str = "127.0.0.1",
        floor: float = 0,
        timestamped: bool = False,
        guarded: bool = True,
        **rules: Any,
    ) -> None:
        """
        Begin to serve.

        @param host: what the socket is bound to.
        @param guarded: whether there is a guard at all.
        @param rules: other than the usual ones.
        """
        guard = self.guard(host, **rules) if guarded else None
        terms = DatagramTerms(guard, floor, timestamped)
        self.number = self.listen(protocol, (host, 0), terms)[1]

    def guard(self, host: str, lot: float = 0.99, **rules: Any) -> Guard:
        """Make a guard that nothing leaks through, but for a low C{lot}."""
        return Guard(
            AccessOptions(**{"allow": ANY, "guard_loopback": True, **rules}),
            ProtocolSpec(),
            self.reactor.seconds,
            lambda: self.own_ports,
            lambda: self.local_addresses,
            host,
            lambda: lot,
        )

    def client(self, source: str = "127.0.0.1") -> socket.socket:
        """Make a client at an address of this machine; it may send to broadcast addresses."""
        client = self.bound((source, 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return client

    def ask(
        self, client: socket.socket, *datagrams: bytes, host: str = "127.0.0.1"
    ) -> list[tuple[bytes, str]]:
        """
        Send datagrams, let the port have its turn, and read what has come back.

        @return: each answer with the address that it came from.
        """
        for datagram in datagrams:
            client.sendto(datagram, (host, self.number))
        self.reactor.turn(1 + len(datagrams) // 32)
        return [(answer, source[0]) for answer, source in self.replies(client)]

    def answered(self, client: socket.socket, *datagrams: bytes) -> list[bytes]:
        """Do as L{ask} does, and leave out the addresses."""
        return [answer for answer, _ in self.ask(client, *datagrams)]

    def check_dropped(self, **reasons: int) -> None:
        """Check what was dropped, and for which reasons."""
        self.assertEqual(+self.service_state.counters.datagrams_dropped, reasons)
