"""Tests for L{socketd.workers.task}."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.sockets.group import Sharing
from socketd.net.sockets.rlimit import MAX_CONNECTIONS
from socketd.protocols.registry import installed
from socketd.settings.load import parse
from socketd.settings.model import Settings
from socketd.settings.networks import parse_networks
from socketd.workers.task import share_out, standing, take_standing
from tests.web.fakes import make_daemon

INI = """
[socketd]
max_connections = {daemon}
[echo]
listen = tcp:7, udp:7
max_connections = {service}
udp_service_rate = 100/s
{more}
[ipsla]
listen = udp:1967
udp_service_rate = 100/s
"""


def parsed(text: str) -> Settings:
    """Read a configuration."""
    return parse(text, "FILE", installed(), "/run/x")


def shares(sharing: Sharing, more: str = "", daemon: int = 11, service: int = 7) -> list[Settings]:
    """Share a configuration out to all workers."""
    settings = parsed(INI.format(daemon=daemon, service=service, more=more))
    return [share_out(settings, sharing, index, 100_000) for index in range(sharing.workers)]


class LimitTests(SynchronousTestCase):
    """Tests for L{share_out}."""

    @given(some.integers(2, 64), some.integers(0, 500), some.integers(1, 500))
    @settings_(max_examples=50, deadline=None)
    def test_connections(self, workers: int, beyond: int, service: int) -> None:
        """
        The shares make the operator's numbers, and none is 0: a service has no more workers than
        connections.
        """
        daemon, sharing = workers + beyond, Sharing(workers)
        found = shares(sharing, daemon=daemon, service=service)
        parts = [one.daemon.max_connections or 0 for one in found]
        self.assertEqual((sum(parts), max(parts) - min(parts) <= 1), (daemon, True))
        served = found[: min(workers, service)]
        parts = [one.services[0].policy.max_connections or 0 for one in served]
        self.assertEqual((sum(parts), min(parts) > 0), (service, True))

    def test_default(self) -> None:
        """What the daemon may have by default is shared out, too."""
        settings = parsed("[echo]\nlisten = tcp:7\n")
        found = [share_out(settings, Sharing(2), index, 100_000) for index in range(2)]
        self.assertEqual([one.daemon.max_connections for one in found], [MAX_CONNECTIONS // 2] * 2)
        few = [share_out(settings, Sharing(count), 0, 1000).daemon for count in (1, 2)]
        # Each process has its own descriptors.
        self.assertEqual(few[0].max_connections, few[1].max_connections)
        self.assertLess(few[0].max_connections or 0, 1000)
        unlimited = share_out(settings, Sharing(2), 0, None)
        self.assertIsNone(unlimited.daemon.max_connections)
        settings = parsed(INI.format(daemon=11, service=7, more=""))
        found = [share_out(settings, Sharing(2), index, None) for index in range(2)]
        self.assertEqual([one.daemon.max_connections for one in found], [6, 5])

    def test_rates(self) -> None:
        """The rate of a service is shared out, unless one worker serves it."""
        for one in shares(Sharing(2)):
            rates = [service.policy.udp_service_rate for service in one.services]
            self.assertEqual(rates, [50.0, 100.0])

    def test_network_rate(self) -> None:
        """
        So is that of a network, which has 64 sources by default, unless no source is smaller; by
        the kernel's hash each worker meets some of it.
        """
        flow, failed = Sharing(4, by_source=False), Sharing(4, unsteered="no such option")
        for sharing in (Sharing(4), flow, failed):
            for more, rate in (("udp_rate = 2/s", 32.0), ("udp_network_rate = 40/s", 10.0)):
                for one in shares(sharing, more):
                    self.assertEqual(one.services[0].policy.udp_network_rate, rate)
        whole = "source_prefix = 24:64\nudp_network_rate = 40/s"
        self.assertEqual(shares(Sharing(4), whole)[0].services[0].policy.udp_network_rate, 40.0)
        self.assertEqual(shares(flow, whole)[0].services[0].policy.udp_network_rate, 10.0)
        for prefix in ("25:64", "24:65"):
            split = whole.replace("24:64", prefix)
            self.assertEqual(shares(Sharing(4), split)[0].services[0].policy.udp_network_rate, 10)

    def test_few_connections(self) -> None:
        """A service that may have fewer connections than there are workers is given to so many."""
        found = [one.services[0].policy for one in shares(Sharing(4), service=2)]
        self.assertEqual([one.max_connections for one in found], [1, 1, 2, 2])
        self.assertEqual([one.udp_service_rate for one in found], [50, 50, 100, 100])

    def test_sources(self) -> None:
        """What is counted for a source stays as it is."""
        more = "max_per_source = 3\naccept_rate = 4/s\nudp_rate = 5/s"
        for one in shares(Sharing(2), more):
            policy = one.services[0].policy
            found = policy.max_per_source, policy.accept_rate, policy.udp_rate
            self.assertEqual(found, (3, 4.0, 5.0))


class StandingTests(SynchronousTestCase):
    """Tests for L{standing}."""

    def test_bans(self) -> None:
        """A worker that begins later has the rest of a ban, whatever its clock says."""
        daemon, later = make_daemon(), make_daemon()
        clocks: list[Any] = [daemon.reactor, later.reactor]
        clocks[0].advance(1000.0)
        for network, seconds in (("192.0.2.1/32", 60.0), ("2001:db8::/64", None)):
            daemon.bans.add(parse_networks(network)[0], seconds)
        clocks[0].advance(20.0)
        clocks[1].advance(7.0)
        found = standing(daemon)
        self.assertEqual({str(one): left for one, left in found["bans"]},
                         {"192.0.2.1/32": 40.0, "2001:db8::/64": None})  # fmt: skip
        take_standing(later, **found)
        self.assertEqual({str(one.network): one.ends for one in later.bans.current()},
                         {"192.0.2.1/32": 47.0, "2001:db8::/64": None})  # fmt: skip
