"""Tests of what C{socketd.net.stream.port} asks of a connection before it serves it."""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import Any

from socketd.access.capacity import Capacity
from socketd.access.policy import ACCEPT_RATE, MAX_PER_SOURCE, AccessPolicy, make_policy
from socketd.settings.model import AccessOptions
from socketd.settings.networks import parse_networks
from tests.net.port_case import PortCase
from tests.support.fakes import HandReactor, read_all


class AccessTests(PortCase):
    """A port keeps to the limits of its service."""

    def serve(self, daemon: Capacity | None = None, **options: Any) -> None:
        """Begin to serve with these options of a service."""
        policy = make_policy(AccessOptions(**options), daemon or Capacity(None), self.reactor)
        self.listen(policy, self.make_factory())

    def served(self, client: socket.socket) -> bool:
        """Ask whether a client is answered; one that waits or was reset is not."""
        self.reactor.turn(2)
        try:
            client.send(b"x")
            self.reactor.turn(2)
            return read_all(client)[0] == b"X"
        except ConnectionError:
            return False

    def test_denied(self) -> None:
        """Who may not come in is reset and counted, and the protocol never hears of it."""
        self.serve(deny=parse_networks("127.0.0.2"))
        self.assertTrue(self.was_reset(self.connect("127.0.0.2")))
        self.assertTrue(self.served(self.connect("127.0.0.1")))
        self.assertEqual(self.service_state.counters.refused, {"network": 1})
        self.assertEqual(self.service_state.counters.connections, 1)

    def test_allowed_only(self) -> None:
        """With C{allow} all others are refused."""
        self.serve(allow=parse_networks("127.0.0.2, 192.0.2.0/24"))
        self.assertTrue(self.was_reset(self.connect("127.0.0.1")))
        self.assertTrue(self.served(self.connect("127.0.0.2")))

    def test_max_per_source(self) -> None:
        """
        A source has so many connections; another one does not notice, and a place
        that is given back can be taken.
        """
        self.serve(max_per_source=2)
        first, second = self.connect(), self.connect()
        self.assertTrue(self.served(first) and self.served(second))
        self.assertTrue(self.was_reset(self.connect()))
        self.assertTrue(self.served(self.connect("127.0.0.2")))
        self.assertEqual(self.service_state.counters.refused, {"source_limit": 1})
        first.close()
        self.reactor.turn(3)
        self.assertTrue(self.served(self.connect()))

    def test_accept_rate(self) -> None:
        """
        Over its rate a source is reset; another one is served, and so is the first
        one a little later: the service is never switched off.
        """
        self.serve(accept_rate=1.0, accept_burst=3)
        clients = [self.connect() for _ in range(6)]
        self.assertEqual([self.served(client) for client in clients], [True] * 3 + [False] * 3)
        self.assertTrue(self.served(self.connect("127.0.0.2")))
        self.assertEqual(self.service_state.counters.refused, {"source_rate": 3})
        self.reactor.advance(1.1)
        self.assertTrue(self.served(self.connect()))

    def test_loopback_default(self) -> None:
        """Where nothing is said, loopback may have as many as it likes."""
        self.serve()
        clients = [self.connect() for _ in range(MAX_PER_SOURCE * 3)]
        self.assertTrue(all(map(self.served, clients)))

    def test_other_default(self) -> None:
        """Where nothing is said, others have the default limits."""
        self.serve()
        admit = partial(
            self.service_state.policy.admit_connection, socket.AF_INET, ("192.0.2.1", 1)
        )
        asked = [admit() for _ in range(MAX_PER_SOURCE)]
        self.assertEqual([reason for reason, _ in asked], [None] * MAX_PER_SOURCE)
        self.assertEqual(admit()[0], "source_limit")
        for _, slot in asked:
            assert slot is not None
            slot.leave()
        self.assertEqual(admit()[0], "source_rate")
        self.reactor.advance(1.0 / ACCEPT_RATE)
        self.assertEqual(admit()[0], None)

    def test_prefix(self) -> None:
        """A whole IPv6 /64 is one source, and a mapped IPv4 address is an IPv4 one."""
        self.serve(max_per_source=1)
        policy = self.service_state.policy
        peers = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1"]
        reasons = [policy.admit_connection(socket.AF_INET6, (peer, 1, 0, 0))[0] for peer in peers]
        self.assertEqual(reasons, [None, "source_limit", None, None, "source_limit"])

    def test_full(self) -> None:
        """
        At the limit the next ones wait in the kernel's queue; they are served, not
        refused, when others have gone.
        """
        self.serve(max_connections=2)
        first, second, third = (self.connect() for _ in range(3))
        self.assertTrue(self.served(first) and self.served(second))
        self.assertFalse(self.served(third))
        self.assertEqual(
            (self.service_state.counters.full, len(self.service_state.connection_table)), (1, 2)
        )
        first.close()
        self.reactor.turn(4)
        self.assertEqual(read_all(third), (b"X", False))
        self.assertEqual(self.service_state.counters.refused, {})

    def test_daemon_full(self) -> None:
        """The limit of the daemon counts for each service."""
        daemon = Capacity(1)
        daemon.enter()
        self.serve(daemon)
        client = self.connect()
        self.assertFalse(self.served(client))
        daemon.leave()
        self.reactor.turn(3)
        self.assertEqual(read_all(client), (b"X", False))

    def test_stopped_while_full(self) -> None:
        """A port that waits for room can be stopped, and does not come back."""
        self.serve(max_connections=1)
        first, _ = self.connect(), self.connect()
        self.assertTrue(self.served(first))
        self.port.stopListening()
        first.close()
        self.reactor.turn(3)
        self.assertNotIn(self.port, self.reactor.readers)

    def test_refused_leaves_nothing(self) -> None:
        """A refused connection is reset, so that no TIME_WAIT is left of it here."""
        self.serve(deny=parse_networks("127.0.0.2"))
        client = self.connect("127.0.0.2")
        self.reactor.turn(2)
        state = struct.unpack_from("B", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))
        self.assertEqual(state, (7,), "TCP_CLOSE")

    def test_unix(self) -> None:
        """A UNIX socket has its permissions, and no address to be refused."""
        policy = make_policy(AccessOptions(allow=()), Capacity(None), HandReactor())
        self.assertEqual(policy.admit_connection(socket.AF_UNIX, ""), (None, None))

    def test_open(self) -> None:
        """A policy without options admits all."""
        self.assertEqual(
            AccessPolicy().admit_connection(socket.AF_INET, ("192.0.2.1", 1)), (None, None)
        )
