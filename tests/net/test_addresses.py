"""Tests of C{socketd.net.addresses}."""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import InvalidAddressError
from twisted.trial.unittest import SynchronousTestCase

from socketd.net.addresses import check_host, from_pair, to_address, to_pair

#: The loopback interface of every Linux.
LOOPBACK = "lo"


class PairTests(SynchronousTestCase):
    """Tests for L{to_pair} and L{from_pair}."""

    def test_there_and_back(self) -> None:
        """
        An address is a host and a port for protocols, and is found again of these; only
        the scope of a link-local one needs more than two parts.
        """
        index = socket.if_nametoindex(LOOPBACK)
        for family, name, pair, back in (
            (socket.AF_INET, ("127.0.0.1", 7), ("127.0.0.1", 7), ("127.0.0.1", 7)),
            (socket.AF_INET6, ("::1", 7, 0, 0), ("::1", 7), ("::1", 7)),
            (
                socket.AF_INET6,
                ("fe80::1", 7, 0, index),
                (f"fe80::1%{LOOPBACK}", 7),
                ("fe80::1", 7, 0, index),
            ),
            (socket.AF_UNIX, "/run/x", "/run/x", "/run/x"),
            (socket.AF_UNIX, None, None, None),
            (socket.AF_UNIX, b"\0x", b"\0x", b"\0x"),
        ):
            made: Any = to_pair(family, name)
            self.assertEqual(made, pair)
            self.assertEqual(from_pair(family, made), back)

    def test_interface_that_is_gone(self) -> None:
        """A scope without a name is written as its number, and read as that."""
        with mock.patch("socket.if_indextoname", side_effect=OSError):
            pair = to_pair(socket.AF_INET6, ("fe80::1", 7, 0, 9))
        self.assertEqual(pair, ("fe80::1%9", 7))
        self.assertEqual(from_pair(socket.AF_INET6, pair), ("fe80::1", 7, 0, 9))

    def test_unknown_scope(self) -> None:
        """The name of no interface is an error, as an address that cannot be reached is."""
        self.assertRaises(OSError, from_pair, socket.AF_INET6, ("fe80::1%nosuch0", 7))


class ToAddressTests(SynchronousTestCase):
    """Tests for L{to_address}."""

    def test_kinds(self) -> None:
        """
        Each family has its own; a link-local one has its scope in the host, too, as
        Twisted's have.
        """
        index = socket.if_nametoindex(LOOPBACK)
        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        for family, kind, name, address in (
            (socket.AF_INET, stream, ("127.0.0.1", 7), IPv4Address("TCP", "127.0.0.1", 7)),
            (socket.AF_INET6, datagram, ("::1", 7, 0, 0), IPv6Address("UDP", "::1", 7)),
            (
                socket.AF_INET6,
                stream,
                ("fe80::1", 7, 0, index),
                IPv6Address("TCP", f"fe80::1%{LOOPBACK}", 7, 0, index),
            ),
            (socket.AF_UNIX, stream, "/run/x", UNIXAddress("/run/x")),
            (socket.AF_UNIX, stream, "", UNIXAddress(None)),
        ):
            made: Any = to_address(family, kind, name)
            self.assertEqual(made, address)


class CheckHostTests(SynchronousTestCase):
    """Tests for L{check_host}."""

    def test_addresses(self) -> None:
        """Addresses of the family pass."""
        for family, hosts in (
            (socket.AF_INET, ("127.0.0.1", "255.255.255.255", "<broadcast>")),
            (socket.AF_INET6, ("::1", "fe80::1%eth0", "fe80::1%2", "::ffff:127.0.0.1")),
        ):
            for host in hosts:
                check_host(family, host)

    def test_others(self) -> None:
        """All else is refused, a name too."""
        for family, hosts in (
            (socket.AF_INET, ("::1", "localhost", "", "127.1", "127.0.0.1%lo")),
            (socket.AF_INET6, ("127.0.0.1", "localhost", "", "<broadcast>", "1::2::3")),
        ):
            for host in hosts:
                self.assertRaises(InvalidAddressError, check_host, family, host)
