"""Tests for L{socketd.access.bans}."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from socketd.access.addresses import packed
from socketd.access.bans import Bans, BansFull
from socketd.settings.networks import parse_networks


class BansTests(SynchronousTestCase):
    """Tests for L{Bans}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bans = Bans(self.clock.seconds, max_entries=3)

    def ban(self, text: str, seconds: float | None = None) -> None:
        """Ban one network."""
        (network,) = parse_networks(text)
        self.bans.add(network, seconds)

    def admits(self, *hosts: str) -> list[bool]:
        """Ask about some addresses."""
        return [self.bans.admits(packed(host)) for host in hosts]

    def test_none(self) -> None:
        """No address is banned at first."""
        self.assertEqual(self.admits("192.0.2.1", "2001:db8::1"), [True, True])
        self.assertEqual((len(self.bans), self.bans.current()), (0, []))

    def test_networks(self) -> None:
        """An address in any banned network is banned, in its own family only."""
        self.ban("192.0.2.0/24")
        self.ban("::c000:0/104")
        self.ban("198.51.100.7")
        hosts = ("192.0.2.0", "192.0.2.255", "192.0.3.0", "198.51.100.7", "198.51.100.8")
        self.assertEqual(self.admits(*hosts), [False, False, True, False, True])
        self.assertEqual(self.admits("::c012:3456", "::c112:3456"), [False, True])

    def test_nested(self) -> None:
        """A ban within another one changes nothing, nor does its end."""
        self.ban("192.0.2.0/24")
        self.ban("192.0.2.7", 10.0)
        self.clock.advance(11.0)
        self.assertEqual(self.admits("192.0.2.7"), [False])
        self.assertTrue(self.bans.sweep())
        self.assertEqual(self.admits("192.0.2.7"), [False])

    def test_end(self) -> None:
        """A ban ends in time, swept or not."""
        self.ban("192.0.2.1", 10.0)
        self.clock.advance(9.9)
        self.assertEqual((self.admits("192.0.2.1"), self.bans.sweep()), ([False], False))
        self.clock.advance(0.1)
        self.assertEqual((self.admits("192.0.2.1"), self.bans.current()), ([True], []))
        self.assertEqual((self.bans.sweep(), self.bans.sweep(), len(self.bans)), (True, False, 0))

    def test_again(self) -> None:
        """A later ban of the same network replaces the earlier one."""
        self.ban("192.0.2.1", 10.0)
        self.ban("192.0.2.1", 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.admits("192.0.2.1"), [True])
        self.ban("192.0.2.1")
        self.clock.advance(1e9)
        self.assertEqual(self.admits("192.0.2.1"), [False])

    def test_remove(self) -> None:
        """To remove a ban says whether there was one."""
        (network,) = parse_networks("192.0.2.1")
        self.ban("192.0.2.1", 1.0)
        self.assertEqual((self.bans.remove(network), self.admits("192.0.2.1")), (True, [True]))
        self.assertFalse(self.bans.remove(network))
        self.ban("192.0.2.1", 1.0)
        self.clock.advance(1.0)
        self.assertFalse(self.bans.remove(network))

    def test_full(self) -> None:
        """A full table takes no more, until one ends; one that it has can be changed."""
        self.ban("192.0.2.1")
        self.ban("192.0.2.2", 5.0)
        self.ban("192.0.2.3")
        problem = self.assertRaises(BansFull, self.ban, "192.0.2.4")
        self.assertEqual(str(problem), "there are 3 bans already")
        self.ban("192.0.2.3", 100.0)
        self.assertEqual(self.admits("192.0.2.1", "192.0.2.4"), [False, True])
        self.clock.advance(5.0)
        self.ban("192.0.2.4")
        self.assertEqual((len(self.bans), self.admits("192.0.2.4")), (3, [False]))

    @given(
        some.lists(
            some.tuples(
                some.sampled_from("+-?"),
                some.integers(0, 7),
                some.integers(29, 32),
                some.sampled_from([None, 1.0, 3.0]),
            ),
            max_size=30,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_as_a_list(self, steps: list[tuple[str, int, int, float | None]]) -> None:
        """It says what a plain list of bans would."""
        clock, plain = Clock(), dict[Any, float]()
        bans = Bans(clock.seconds)
        for what, host, length, seconds in steps:
            network = ip_network((0xC0000200 + host, length), strict=False)
            if what == "+":
                bans.add(network, seconds)
                plain[network] = clock.seconds() + (seconds or 1e9)
            elif what == "-":
                there = plain.pop(network, 0.0) > clock.seconds()
                self.assertEqual(bans.remove(network), there)
            else:
                clock.advance(1.0)
            live = [one for one, ends in plain.items() if ends > clock.seconds()]
            for number in range(8):
                address = ip_address(0xC0000200 + number)
                expected = not any(address in one for one in live)
                self.assertEqual(bans.admits(address.packed), expected)
