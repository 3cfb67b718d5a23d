"""The local addresses of this host."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from socketd.access.addresses import IPV4_BYTES, packed
from socketd.access.datagram_guard import LocalAddresses
from socketd.access.rates import Clock

if TYPE_CHECKING:
    from ifaddr import Adapter

#: Refresh interval (seconds), since addresses change (DHCP, link up and down); one scan
#: takes about 100 us.
REFRESH = 30.0


def collect(adapters: Iterable[Adapter]) -> LocalAddresses:
    """Collect the addresses of network interfaces."""
    addresses, broadcasts = set(), set()
    for adapter in adapters:
        for ip in adapter.ips:
            address = packed(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            addresses.add(address)
            # A /31 and a /32 have none (RFC 3021).
            if len(address) == IPV4_BYTES and ip.network_prefix < 31:
                network = IPv4Network((address, ip.network_prefix), strict=False)
                broadcasts.add(network.broadcast_address.packed)
    return LocalAddresses(frozenset(addresses), frozenset(broadcasts))


def scan() -> LocalAddresses:
    """Scan the addresses of this host."""
    # Lazy: a daemon without datagrams from elsewhere needs none of it.
    from ifaddr import get_adapters

    return collect(get_adapters())


class HostAddresses:
    """Scans the addresses of this host again when they are older than L{REFRESH}."""

    def __init__(self, clock: Clock, read: Callable[[], LocalAddresses] = scan) -> None:
        """@param read: scans them; when it raises, the previous result stays."""
        self._clock = clock
        self._read = read
        self._found = LocalAddresses()
        self._read_at: float | None = None

    def current(self) -> LocalAddresses:
        """The addresses that the last scan found; old ones are scanned again."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= REFRESH:
            # Set first, so that a failing scan is not repeated for every datagram.
            self._read_at = now
            # Any exception (ifaddr uses assert): old addresses are better than none.
            with suppress(Exception):
                self._found = self._read()
        return self._found
