"""Tests for L{socketd.daemon.reload.apply_settings}."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.bans import BANNED
from socketd.access.datagram_guard import NETWORK
from socketd.access.policy import MAX_PER_SOURCE, Slot
from socketd.access.rates import SOURCE_LIMIT
from socketd.daemon.reload import apply_settings
from socketd.net.service_state import Connection
from socketd.settings.model import ServiceSettings
from tests.control.fakes import FakeConnection, make_daemon
from tests.support.fakes import Recorder

PEER = "192.0.2.1:50001"
LOCAL = "127.0.0.1:50001"


class Live(FakeConnection):
    """
    A connection that records what comes of the second check.

    @ivar asked: a place and a reason, for each time.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[Slot | None, str | None]] = []

    def reapply_policy(self, slot: Slot | None, reason: str | None) -> None:
        self.asked.append((slot, reason))


class RenewTests(SynchronousTestCase):
    """Tests for L{apply_settings}."""

    def setUp(self) -> None:
        self.daemon = make_daemon("[socketd]\nmax_connections = 100\n[echo]\nlisten = tcp:7\n")
        (service,) = self.daemon.services
        self.service_state, self.service = service.service_state, service.settings

    def enter(self, peer: str = PEER) -> Live:
        connection = Live(self.daemon, self.service_state, peer)
        _: Connection = connection
        connection.begin(Recorder())
        return connection

    def renew(self, **policy: Any) -> ServiceSettings:
        """Apply a changed access policy."""
        service = evolve(self.service, policy=evolve(self.service.policy, **policy))
        apply_settings(self.service_state, service, self.daemon.reactor)
        return service

    def comes(self, peer: str = PEER) -> str | None:
        """Say why a peer is refused now."""
        found = Live(self.daemon, self.service_state, peer)
        return self.service_state.policy.admit_connection(*found.source)[0]

    def test_place(self) -> None:
        """Who may stay has one place under the new limits, and gives it back."""
        connection = self.enter()
        self.renew(max_per_source=2)
        ((slot, reason),) = connection.asked
        self.assertIs(reason, None)
        assert slot is not None and self.service_state.policy.sources is not None
        self.assertEqual(len(self.service_state.policy.sources), 1)
        self.assertIs(self.comes(), None)
        self.assertEqual(self.comes(), SOURCE_LIMIT)
        slot.leave()
        self.assertIs(self.comes(), None)

    def test_too_many(self) -> None:
        """
        No connection is reset because its source has more than it may have now; another one
        is refused.
        """
        inside = [self.enter() for _ in range(MAX_PER_SOURCE + 5)]
        self.renew()
        self.assertEqual([one.asked[0][1] for one in inside], [None] * len(inside))
        self.assertEqual(self.comes(), SOURCE_LIMIT)
        for connection in inside[:5]:
            slot, _ = connection.asked[0]
            assert slot is not None
            slot.leave()
        self.assertEqual(self.comes(), SOURCE_LIMIT)
        slot, _ = inside[5].asked[0]
        assert slot is not None
        slot.leave()
        self.assertIs(self.comes(), None)

    def test_no_limit(self) -> None:
        """Loopback needs no place where the configuration gives it no limit."""
        connection = self.enter(LOCAL)
        self.renew()
        self.assertEqual(connection.asked, [(None, None)])
        self.renew(max_per_source=1)
        self.assertIsInstance(connection.asked[1][0], Slot)

    def test_network(self) -> None:
        """Who may no longer come in has no place, and the reason."""
        stays, goes = self.enter("[2001:db8::1]:7"), self.enter()
        self.renew(deny=(ip_network("192.0.2.0/24"),))
        self.assertEqual(goes.asked, [(None, NETWORK)])
        self.assertIs(stays.asked[0][1], None)
        self.assertEqual(self.comes(), NETWORK)

    def test_allow(self) -> None:
        """So it is with who is not in the networks that are served now."""
        stays, goes = self.enter(), self.enter(LOCAL)
        self.renew(allow=(ip_network("192.0.2.0/24"),))
        self.assertEqual((stays.asked[0][1], goes.asked[0][1]), (None, NETWORK))

    def test_unix(self) -> None:
        """Peers of UNIX sockets are in no network and have no limit of a source."""
        connection = self.enter("unix")
        self.renew(deny=(ip_network("0.0.0.0/0"), ip_network("::/0")), max_per_source=1)
        self.assertEqual(connection.asked, [(None, None)])

    def test_others(self) -> None:
        """Connections of other services are not asked."""
        other = make_daemon("[echo]\nlisten = tcp:7\n[upper]\nlisten = tcp:8\n")
        echo, upper = other.services
        connection = Live(other, upper.service_state, PEER)
        connection.begin(Recorder())
        apply_settings(echo.service_state, echo.settings, other.reactor)
        self.assertEqual(connection.asked, [])

    def test_capacity(self) -> None:
        """Live connections still count, here and for the daemon, under the new limit."""
        capacity = self.service_state.policy.capacity
        for _ in range(3):
            self.enter()
        self.renew(max_connections=2)
        self.assertIs(self.service_state.policy.capacity, capacity)
        self.assertEqual((capacity.limit, capacity.occupancy, capacity.is_full), (2, 3, True))
        self.assertEqual(self.daemon.shared.capacity.occupancy, 3)
        self.renew(max_connections=4)
        self.assertFalse(capacity.is_full)
        self.renew(max_connections=None)
        self.assertIs(capacity.limit, None)
        self.daemon.shared.capacity.limit = 3
        self.assertTrue(capacity.is_full)

    def test_bans(self) -> None:
        """The bans of all services hold under the new policy, too."""
        self.renew(max_per_source=7)
        self.assertIs(self.service_state.policy.bans, self.daemon.bans)
        self.daemon.bans.add(ip_network("192.0.2.1/32"))
        self.assertEqual(self.comes(), BANNED)

    def test_deadlines(self) -> None:
        """The deadlines are those of the new rules, and are known when connections are asked."""
        seen = []
        connection = self.enter()
        connection.reapply_policy = lambda *asked: seen.append(  # type: ignore[method-assign]
            self.service_state.policy.deadlines.idle
        )
        service = self.renew(idle_timeout=7.0, stall_timeout=8.0, lifetime=9.0)
        found = self.service_state.policy.deadlines
        self.assertEqual((found.idle, found.stall, found.lifetime), (7.0, 8.0, 9.0))
        self.assertEqual(found.handshake, service.tls.handshake_timeout)
        self.assertEqual(seen, [7.0])

    def test_logging(self) -> None:
        """What is logged is what the new settings say."""
        common = evolve(self.service.common, log_connections=False, log_messages="hex")
        service = evolve(self.service, common=common)
        apply_settings(self.service_state, service, self.daemon.reactor)
        state = self.service_state
        self.assertEqual((state.log_connections, state.log_messages), (False, "hex"))
        self.assertEqual((state.announced, state.observed), (False, True))

    def test_rates(self) -> None:
        """The rate is counted by the reactor's clock."""
        self.renew(accept_rate=1.0, accept_burst=1)
        self.assertIs(self.comes(), None)
        self.assertIsNot(self.comes(), None)
        self.daemon.reactor.advance(1.0)
        self.assertIs(self.comes(), None)

    def test_key(self) -> None:
        """Sources are those of the new prefix."""
        self.enter()
        self.renew(max_per_source=1, source_prefix=type(self.service.policy.source_prefix)(24, 56))
        sources = self.service_state.policy.sources
        assert sources is not None
        self.assertEqual(self.comes("192.0.2.200:7"), SOURCE_LIMIT)
        key = sources.key(packed("192.0.2.99"))
        self.assertEqual(key, sources.key(packed("192.0.2.1")))
