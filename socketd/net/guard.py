"""
What a datagram has to pass before it is answered.

The sender of a datagram can be forged. Whoever answers everybody can be made to
flood somebody else, or to talk with another server without end (CVE-1999-0103,
CVE-2024-2169). What fails a rule is dropped in silence and counted by its reason.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from random import random
from typing import Protocol

from attrs import frozen

from socketd.admission import (
    BANNED,
    MAX_SOURCES,
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
SERVICE_RATE = "service_rate"
LOOP = "loop"
REASONS = (
    BANNED,
    SOURCE_PORT,
    SOURCE_ADDRESS,
    DESTINATION,
    NETWORK,
    REPLY_SIZE,
    SOURCE_RATE,
    SERVICE_RATE,
    LOOP,
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

#: Bytes of an IPv4 address that make a neighbourhood, and how many sources' rate it
#: has: forging the addresses of one network in turn does not flood that network.
NEIGHBOURHOOD = 3
NEIGHBOURHOOD_SHARE = 8

#: How much of a service's rate may come at once (seconds).
SERVICE_BURST = 1.0

#: The same datagram of the same address more than so many times again within so long
#: is an answer to an answer, and the address is not answered for so long (seconds).
LOOP_REPEATS = 3
LOOP_WINDOW = 1.0
LOOP_BAN = 60.0

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

    @ivar networks: who is served.
    @ivar udp_rate: datagrams of one source (per second).
    @ivar udp_burst: how many of them may come at once.
    @ivar service_rate: datagrams of all sources together (per second).
    @ivar prefixes: how many bits of an address make a source.
    @ivar guard_loopback: whether loopback has to keep to the rules for ports and
        rates, too.
    @ivar source_ports: ports that may ask although they are reserved, or one of our
        own: an NTP server asks others from port 123. Its protocol must not answer
        answers.
    """

    networks: Networks
    udp_rate: float
    udp_burst: float
    service_rate: float
    prefixes: Prefixes = Prefixes()
    guard_loopback: bool = False
    source_ports: frozenset[int] = frozenset()


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
        @param bans: whom an operator has banned.
        @raise OSError: when C{bound} is no address.
        """
        self._rules = rules
        self._clock = clock
        self._own_ports = own_ports
        self._interfaces = interfaces
        self._bans = Bans(clock) if bans is None else bans
        address = packed(bound)
        self._is_on_loopback = _is_loopback(address)
        # The kernel drops what comes from outside and says it is from 127/8 or ::1
        # (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3), so on a wildcard socket it is local.
        self._hears_loopback = self._is_on_loopback or not any(address)
        self._source_key = make_source_key(rules.prefixes)
        rate, burst = rules.udp_rate, rules.udp_burst
        self._sources = Buckets(rate, burst, clock, leak=LEAK, random=random)
        share = NEIGHBOURHOOD_SHARE
        self._neighbourhoods = Buckets(rate * share, burst * share, clock)
        self._service = Bucket(rules.service_rate, rules.service_rate * SERVICE_BURST, clock)
        self._loops = LoopBreaker()

    def judge(self, host: str, port: int) -> str | None:
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
        if not self._rules.networks.admits(address):
            return NETWORK
        return None

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

    def admit(self, host: str, datagram: bytes) -> str | None:
        """
        Apply the rules that depend on what was sent before, and note this one. It is
        not asked for a source that is exempt.

        @return: why it is dropped, or C{None}.
        @raise OSError: when C{host} is no address.
        """
        address = packed(host)
        now = self._clock()
        loops = self._loops
        if loops.banned and loops.has_banned(address, now):
            return LOOP
        # What is above the rate of its source costs the neighbours nothing; the lot is
        # drawn once for both.
        fits = self._sources.spend(self._source_key(address), now)
        if fits and len(address) == _IPV4_BYTES:
            fits = self._neighbourhoods.spend(address[:NEIGHBOURHOOD], now)
        if not fits and not self._sources.leaks():
            return SOURCE_RATE
        if not self._service.spend(now):
            return SERVICE_RATE
        return LOOP if loops.finds(address, datagram, now) else None

    def _is_exempt(self, address: bytes) -> bool:
        if self._rules.guard_loopback or not self._hears_loopback:
            return False
        return _is_loopback(address)

    def _may_ask_from(self, port: int, address: bytes) -> bool:
        # Nobody can be answered at port 0.
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
        if not _is_unicast(address) or address in self._interfaces.broadcasts:
            return False
        return self._is_on_loopback or address not in self._interfaces.addresses


class LoopBreaker:
    """
    Finds who sends the same datagram again and again, and bans him for a while.

    It keeps one hash for each address, of 64 bits and with a random key of the
    process (PEP 456). Both tables are bounded; the oldest entry makes place.

    @ivar banned: until when each address is banned, which may be over.
    """

    def __init__(self, max_entries: int = MAX_SOURCES) -> None:
        self._max_entries = max_entries
        # The hash, when that datagram came first, and how often it came again.
        self._seen: OrderedDict[bytes, tuple[int, float, int]] = OrderedDict()
        # A table of its own: to be in it takes more than one forged datagram.
        self.banned: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """
        Count the addresses that are remembered.
        """
        return len(self._seen) + len(self.banned)

    def has_banned(self, address: bytes, now: float) -> bool:
        """
        Say whether an address is banned now.
        """
        until = self.banned.get(address)
        if until is None:
            return False
        if now < until:
            return True
        del self.banned[address]
        return False

    def finds(self, address: bytes, datagram: bytes, now: float) -> bool:
        """
        Note a datagram, and ban its address if it is one of a loop.
        """
        mark = hash(datagram)
        seen = self._seen.get(address)
        if seen is None or seen[0] != mark or now - seen[1] > LOOP_WINDOW:
            self._seen[address] = (mark, now, 0)
            if seen is None and len(self._seen) > self._max_entries:
                self._seen.popitem(last=False)
            return False
        if seen[2] < LOOP_REPEATS:
            self._seen[address] = (mark, seen[1], seen[2] + 1)
            return False
        del self._seen[address]
        self.banned[address] = now + LOOP_BAN
        if len(self.banned) > self._max_entries:
            self.banned.popitem(last=False)
        return True


def _is_loopback(address: bytes) -> bool:
    if len(address) == _IPV4_BYTES:
        return address[0] == _LOOPBACK_IPV4
    return address == _LOOPBACK_IPV6


def _is_unicast(address: bytes) -> bool:
    """
    Say whether an address is that of one machine: not this network (0/8), multicast,
    reserved, unspecified, or of the kind ::192.0.2.1, which nobody has any more
    (RFC 4291, 2.5.5.1).
    """
    if len(address) == _IPV4_BYTES:
        return 0 < address[0] < _FIRST_MULTICAST_IPV4
    return address[0] != _MULTICAST_IPV6 and any(address[:12])
