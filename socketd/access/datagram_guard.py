"""
The rules that a datagram must pass before a service replies to it.

The source address of a datagram can be spoofed. A service that replies to every datagram
can be used to flood a third party, or can enter an endless loop with another server
(CVE-1999-0103, CVE-2024-2169). A datagram that fails a rule is dropped silently and
counted by reason; docs/DROPS.md lists the reasons.

There is no loop detection. In a loop one source sends as fast as it gets replies, so it
exceeds the rate limit per source, and the first dropped datagram ends the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import random

from attrs import frozen

from socketd.access.addresses import IPV4_BYTES, canonical, is_loopback, make_source_key, packed
from socketd.access.bans import BANNED, NO_BANS, Bans
from socketd.access.networks import Networks
from socketd.access.rates import SOURCE_RATE, Buckets, Clock
from socketd.settings.model import AccessOptions, ProtocolSpec
from socketd.settings.networks import ANY, network_words

#: Why a datagram is dropped, in the order of the rules.
SOURCE_PORT = "source_port"
SOURCE_ADDRESS = "source_address"
DESTINATION = "destination"
NETWORK = "network"
REPLY_SIZE = "reply_size"
NETWORK_RATE = "network_rate"
SERVICE_RATE = "service_rate"
REASONS = (
    BANNED, SOURCE_PORT, SOURCE_ADDRESS, DESTINATION, NETWORK, REPLY_SIZE, SOURCE_RATE,
    NETWORK_RATE, SERVICE_RATE,
)  # fmt: skip

#: Networks that are allowed by default, besides the addresses of this host.
DATAGRAM_NETWORKS = network_words("loopback", "private")

#: Ports below this belong to servers, not to clients (RFC 6335, 6).
FIRST_UNRESERVED_PORT = 1024

#: Services that reply to any source: echo, systat, daytime, qotd, chargen, time, domain,
#: tftp, snmp, ldap, ssdp, nfs, ws-discovery, mdns, memcached.
REFLECTOR_PORTS = frozenset(
    {7, 11, 13, 17, 19, 37, 53, 69, 161, 389, 1900, 2049, 3702, 5353, 11211}
)

#: A datagram over the rate limit of its source is allowed with this probability (chrony's
#: default), so that spoofing an address does not lock out its owner.
LEAK = 0.25

#: Bytes of the prefix that datagrams are aggregated by: an IPv4 /24, an IPv6 /64. Each
#: such network has its own rate limit, so that spoofing its addresses in turn does not
#: flood it.
IPV4_NETWORK = 3
IPV6_NETWORK = 8

#: Default rate of a network, as a multiple of the rate of one source: with a burst of 8
#: each of 256 hosts may send two requests at once, as after a power failure.
NETWORK_SHARE = 64

#: Burst of a service, in seconds of its rate.
SERVICE_BURST = 1.0

_LIMITED_BROADCAST = b"\xff" * 4
# 224/4 is multicast (RFC 5771), 240/4 is reserved (RFC 1112, section 4).
_FIRST_MULTICAST_IPV4 = 224
_FIRST_RESERVED_IPV4 = 240
_MULTICAST_IPV6 = 255


@frozen
class LocalAddresses:
    """The host's addresses, packed, and the broadcast ones of its subnets (RFC 919, 7)."""

    addresses: frozenset[bytes] = frozenset()
    broadcasts: frozenset[bytes] = frozenset()


class Guard:
    """
    Applies the rules to the datagrams of one socket.

    Addresses are packed; IPv4-mapped ones are IPv4.
    """

    def __init__(
        self,
        options: AccessOptions,
        declared: ProtocolSpec,
        clock: Clock,
        own_ports: Callable[[], Collection[int]],
        local_addresses: Callable[[], LocalAddresses],
        bound: str,
        random: Callable[[], float] = random,
        bans: Bans = NO_BANS,
    ) -> None:
        """
        @param declared: what the protocol asks for: its own rates, and source ports that are
            allowed although they are reserved or are ports of this daemon.
        @param own_ports: returns the ports of all datagram listeners of the daemon.
        @param local_addresses: returns the addresses that the host has now.
        @param bound: the address that the socket is bound to, as the kernel writes it.
        @raise OSError: when C{bound} is not an address.
        """
        allow, deny = options.allow, options.deny
        self._allowed = Networks(DATAGRAM_NETWORKS if allow is None else allow, deny)
        self._own_allowed = Networks(ANY if allow is None else (), deny)
        self._guards_loopback = options.guard_loopback
        self._source_ports = declared.source_ports
        self._clock = clock
        self._random = random
        self._own_ports = own_ports
        self._local = local_addresses
        self._bans = bans
        address = packed(bound)
        # The kernel drops packets from outside with a source in 127/8 or ::1 (RFC 1122,
        # 3.2.1.3; RFC 4291, 2.5.3), so on a wildcard socket such a source is local.
        self._hears_loopback = is_loopback(address) or not any(address)
        self._source_key = make_source_key(options.source_prefix)
        rate = options.udp_rate or declared.udp_rate
        burst = options.udp_burst or declared.udp_burst
        self._sources = Buckets(rate, burst)
        network_rate = options.udp_network_rate
        share = NETWORK_SHARE if network_rate is None else network_rate / rate
        self._networks = Buckets(rate * share, burst * share)
        served = options.udp_service_rate
        self._service = Buckets(served, served * SERVICE_BURST)

    def check_static(self, address: bytes, port: int) -> str | None:
        """
        Find the reason to drop datagrams of a source, by the rules without state: it is valid
        while the daemon's ports, the host's addresses and the bans do not change.
        """
        if not self._bans.admits(address):
            return BANNED
        if not self._may_ask_from(port, address):
            return SOURCE_PORT
        if not self._can_be_source(address):
            return SOURCE_ADDRESS
        return None if self._serves(address) else NETWORK

    def is_exempt(self, address: bytes) -> bool:
        """
        Say whether a source is exempt from the rules for ports and rates: loopback is,
        for manual tests, unless C{guard_loopback} is set. An exempt source can start a
        loop between two services on this host.
        """
        if self._guards_loopback or not self._hears_loopback:
            return False
        return is_loopback(address)

    def refuses_destination(self, address: bytes) -> bool:
        """Whether it is multicast or broadcast: a reply would amplify to a spoofed source."""
        address = canonical(address)
        if len(address) != IPV4_BYTES:
            return address[0] == _MULTICAST_IPV6
        return (
            _FIRST_MULTICAST_IPV4 <= address[0] < _FIRST_RESERVED_IPV4
            or address == _LIMITED_BROADCAST
            or address in self._local().broadcasts
        )

    def rate_keys(self, address: bytes) -> tuple[bytes, bytes]:
        """The keys of a source and of its network, for the rate limits."""
        size = IPV4_NETWORK if len(address) == IPV4_BYTES else IPV6_NETWORK
        return self._source_key(address), address[:size]

    def check_rate(self, keys: tuple[bytes, bytes]) -> str | None:
        """Find the reason to drop a datagram, by the rates, which count it; no exempt one."""
        source, network = keys
        now = self._clock()
        # An over-limit datagram does not consume the network's bucket; one leak decision
        # covers both buckets.
        if not self._sources.spend(source, now):
            if self._random() >= LEAK:
                return SOURCE_RATE
        elif not self._networks.spend(network, now) and self._random() >= LEAK:
            return NETWORK_RATE
        return None if self._service.spend(b"", now) else SERVICE_RATE

    def _serves(self, address: bytes) -> bool:
        if self._allowed.admits(address):
            return True
        return self._own_allowed.admits(address) and address in self._local().addresses

    def _may_ask_from(self, port: int, address: bytes) -> bool:
        # No reply can be sent to port 0.
        if port == 0:
            return False
        if port in self._source_ports or self.is_exempt(address):
            return True
        return (
            port >= FIRST_UNRESERVED_PORT
            and port not in REFLECTOR_PORTS
            and port not in self._own_ports()
        )

    def _can_be_source(self, address: bytes) -> bool:
        if is_loopback(address):
            return self._hears_loopback
        # This host's own addresses are valid sources: local monitoring uses them. From
        # outside the kernel accepts a spoofed one over IPv6 only; the reply then goes to a
        # port of this host, which the attacker can reach directly.
        return _is_unicast(address) and address not in self._local().broadcasts


def _is_unicast(address: bytes) -> bool:
    """
    Say whether an address is unicast: not in 0/8 ("this network"), multicast, reserved,
    unspecified, or IPv4-compatible (::192.0.2.1, obsolete by RFC 4291, 2.5.5.1).
    """
    if len(address) == IPV4_BYTES:
        return 0 < address[0] < _FIRST_MULTICAST_IPV4
    return address[0] != _MULTICAST_IPV6 and any(address[:12])
