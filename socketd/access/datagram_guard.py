"""
What a datagram has to pass before it is answered.

The sender of a datagram can be forged. A service that answers every datagram can be
made to flood a third party, or to exchange answers with another server without end
(CVE-1999-0103, CVE-2024-2169). What fails a rule is dropped in silence and counted by
its reason; docs/DROPS.md has all reasons.

Nothing here looks for loops. A loop is one source that asks as fast as it is answered,
so it meets the rate of its source, and the first datagram that is dropped ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from random import random
from typing import Protocol

from attrs import frozen

from socketd.access.rates import (
    BANNED,
    Bans,
    Bucket,
    Buckets,
    Clock,
    Networks,
    canonical,
    make_source_key,
    packed,
)
from socketd.settings.networks import Prefixes

#: Why a datagram is dropped, in the order of the rules.
SOURCE_PORT = "source_port"
SOURCE_ADDRESS = "source_address"
DESTINATION = "destination"
NETWORK = "network"
REPLY_SIZE = "reply_size"
SOURCE_RATE = "source_rate"
NETWORK_RATE = "network_rate"
SERVICE_RATE = "service_rate"
REASONS = (
    BANNED,
    SOURCE_PORT,
    SOURCE_ADDRESS,
    DESTINATION,
    NETWORK,
    REPLY_SIZE,
    SOURCE_RATE,
    NETWORK_RATE,
    SERVICE_RATE,
)

#: Ports below it belong to services, not to who asks one (RFC 6335, 6).
FIRST_UNRESERVED_PORT = 1024

#: Services that answer anybody: echo, systat, daytime, qotd, chargen, time, domain,
#: tftp, snmp, ldap, ssdp, nfs, ws-discovery, mdns, memcached.
REFLECTOR_PORTS = frozenset(
    {7, 11, 13, 17, 19, 37, 53, 69, 161, 389, 1900, 2049, 3702, 5353, 11211}
)

#: A datagram above the rate of its source is let through with this probability
#: (chrony's default), so that forging an address does not silence who has it.
LEAK = 0.25

#: Bytes of an address that make a network: an IPv4 /24, an IPv6 /64. A network has a rate
#: of its own, so that forging its addresses in turn does not flood it.
IPV4_NETWORK = 3
IPV6_NETWORK = 8

#: How many sources' rate a network has where the configuration does not say: with a burst
#: of 8 each of 256 hosts may ask twice at once, as after a power failure.
NETWORK_SHARE = 64

#: How much of a service's rate may come at once (seconds).
SERVICE_BURST = 1.0

_IPV4_BYTES = 4
_LOOPBACK_IPV4 = 127
_LOOPBACK_IPV6 = bytes(15) + b"\1"
_LIMITED_BROADCAST = b"\xff" * 4
# 224/4 is multicast (RFC 5771), 240/4 is reserved (RFC 1112, section 4).
_FIRST_MULTICAST_IPV4 = 224
_FIRST_RESERVED_IPV4 = 240
_MULTICAST_IPV6 = 255


class LocalAddresses(Protocol):
    """
    The addresses of this machine, packed.
    """

    @property
    def addresses(self) -> frozenset[bytes]:
        """
        The machine's own addresses.
        """

    @property
    def broadcasts(self) -> frozenset[bytes]:
        """
        The broadcast addresses of its subnets.
        """


@frozen
class Rules:
    """
    What a service asks of datagrams.

    @ivar networks: the sources that are served.
    @ivar udp_rate: datagrams of one source (per second).
    @ivar udp_burst: how many of them may come at once.
    @ivar service_rate: datagrams of all sources together (per second).
    @ivar network_rate: datagrams of one network (per second), with a burst in the same
        proportion; C{None}: L{NETWORK_SHARE} times that of a source.
    @ivar own_networks: where this machine's own addresses are served, too.
    @ivar prefixes: how many bits of an address make a source.
    @ivar guard_loopback: whether loopback has to keep to the rules for ports and
        rates, too.
    @ivar source_ports: ports that may ask although they are reserved, or one of our
        own. The protocol must not answer answers.
    """

    networks: Networks
    udp_rate: float
    udp_burst: float
    service_rate: float
    network_rate: float | None = None
    own_networks: Networks = Networks((), ())
    prefixes: Prefixes = Prefixes()
    guard_loopback: bool = False
    source_ports: Container[int] = frozenset()


class Guard:
    """
    The rules, applied to the datagrams of one socket.
    """

    def __init__(
        self,
        rules: Rules,
        clock: Clock,
        own_ports: Callable[[], Collection[int]],
        interfaces: LocalAddresses,
        bound: str,
        random: Callable[[], float] = random,
        bans: Bans | None = None,
    ) -> None:
        """
        @param clock: gives monotonic seconds.
        @param own_ports: gives the ports of all our datagram listeners.
        @param bound: the address that the socket is bound to, as the kernel names it.
        @param random: gives numbers from 0 up to 1.
        @param bans: the networks that an operator has banned.
        @raise OSError: when C{bound} is no address.
        """
        self._rules = rules
        self._clock = clock
        self._own_ports = own_ports
        self._interfaces = interfaces
        self._bans = Bans(clock) if bans is None else bans
        address = packed(bound)
        # The kernel drops what comes from outside and says it is from 127/8 or ::1
        # (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3), so on a wildcard socket it is local.
        self._hears_loopback = _is_loopback(address) or not any(address)
        self._source_key = make_source_key(rules.prefixes)
        rate, burst = rules.udp_rate, rules.udp_burst
        self._sources = Buckets(rate, burst, clock, leak=LEAK, random=random)
        share = NETWORK_SHARE if rules.network_rate is None else rules.network_rate / rate
        self._networks = Buckets(rate * share, burst * share, clock)
        self._service = Bucket(rules.service_rate, rules.service_rate * SERVICE_BURST, clock)

    def check_static(self, host: str, port: int) -> str | None:
        """
        Apply the rules that do not depend on what was sent before: the answer holds
        while our own ports and addresses, and the bans, stay as they are.

        @return: why its datagrams are dropped, or C{None}.
        @raise OSError: when C{host} is no address.
        """
        address = packed(host)
        if not self._bans.admits(address):
            return BANNED
        if not self._may_ask_from(port, address):
            return SOURCE_PORT
        if not self._can_be_source(address):
            return SOURCE_ADDRESS
        return None if self._serves(address) else NETWORK

    def is_exempt(self, host: str) -> bool:
        """
        Say whether a source is free of the rules for ports and rates: loopback is, so
        that a person can try things, unless the rules guard it. It can then start a
        loop of two services on one machine.

        @raise OSError: when C{host} is no address.
        """
        return self._is_exempt(packed(host))

    def refuses_destination(self, address: bytes) -> bool:
        """
        Say whether a datagram was sent to many machines: one answer of each would go
        to whoever the sender says he is.

        @param address: where it was sent to, packed.
        """
        address = canonical(address)
        if len(address) != _IPV4_BYTES:
            return address[0] == _MULTICAST_IPV6
        return (
            _FIRST_MULTICAST_IPV4 <= address[0] < _FIRST_RESERVED_IPV4
            or address == _LIMITED_BROADCAST
            or address in self._interfaces.broadcasts
        )

    def admit(self, host: str) -> str | None:
        """
        Apply the rules that depend on what was sent before, and note this one. It is
        not asked for a source that is exempt.

        @return: why it is dropped, or C{None}.
        @raise OSError: when C{host} is no address.
        """
        address = packed(host)
        now = self._clock()
        # What is above the rate of its source costs its network nothing; the lot is drawn
        # once for both.
        if not self._sources.spend(self._source_key(address), now):
            if not self._sources.leaks():
                return SOURCE_RATE
        else:
            size = IPV4_NETWORK if len(address) == _IPV4_BYTES else IPV6_NETWORK
            if not self._networks.spend(address[:size], now) and not self._sources.leaks():
                return NETWORK_RATE
        return None if self._service.spend(now) else SERVICE_RATE

    def _is_exempt(self, address: bytes) -> bool:
        if self._rules.guard_loopback or not self._hears_loopback:
            return False
        return _is_loopback(address)

    def _serves(self, address: bytes) -> bool:
        if self._rules.networks.admits(address):
            return True
        return self._rules.own_networks.admits(address) and address in self._interfaces.addresses

    def _may_ask_from(self, port: int, address: bytes) -> bool:
        # No answer reaches port 0.
        if port == 0:
            return False
        if port in self._rules.source_ports or self._is_exempt(address):
            return True
        return (
            port >= FIRST_UNRESERVED_PORT
            and port not in REFLECTOR_PORTS
            and port not in self._own_ports()
        )

    def _can_be_source(self, address: bytes) -> bool:
        if _is_loopback(address):
            return self._hears_loopback
        # This machine's own addresses are sources, too: a monitor asks by them. From
        # outside the kernel lets in a forged one by IPv6 only, and then the answer goes to
        # a port of this machine, which the forger reaches without us.
        return _is_unicast(address) and address not in self._interfaces.broadcasts


def _is_loopback(address: bytes) -> bool:
    if len(address) == _IPV4_BYTES:
        return address[0] == _LOOPBACK_IPV4
    return address == _LOOPBACK_IPV6


def _is_unicast(address: bytes) -> bool:
    """
    Say whether an address is that of one machine: not this network (0/8), multicast,
    reserved, unspecified, or of the kind ::192.0.2.1, which is obsolete (RFC 4291,
    2.5.5.1).
    """
    if len(address) == _IPV4_BYTES:
        return 0 < address[0] < _FIRST_MULTICAST_IPV4
    return address[0] != _MULTICAST_IPV6 and any(address[:12])
