"""The access policy of a service: which peers may connect, and for how long."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from typing import Any

from attrs import define, field, frozen

from socketd.access.addresses import is_loopback, packed
from socketd.access.bans import BANNED, NO_BANS, Bans
from socketd.access.capacity import Capacity
from socketd.access.datagram_guard import NETWORK, Guard, LocalAddresses
from socketd.access.networks import Networks
from socketd.access.rates import Sources
from socketd.settings.model import AccessOptions, ServiceSettings
from socketd.settings.networks import ANY

#: Default connections and rate (per second) of one source: xinetd's sample configuration
#: has 10 and 10/s, but one address may be the NAT of a whole office.
MAX_PER_SOURCE = 20
ACCEPT_RATE = 10.0

#: Checks within one deadline: it is accurate to an eighth of its length.
CHECKS_PER_DEADLINE = 8


@frozen
class Deadlines:
    """
    The timeouts of a connection (seconds; 0: no limit).

    @ivar first_byte: until the first byte is received.
    @ivar idle: without a byte in either direction.
    @ivar stall: without the peer taking a byte of pending output.
    @ivar handshake: until the PROXY header is read and the TLS handshake is done.
    @ivar first_check: until the first deadline check after accept.
    """

    first_byte: float = 0.0
    idle: float = 0.0
    stall: float = 0.0
    lifetime: float = 0.0
    handshake: float = 0.0
    first_check: float = field(init=False)

    @first_check.default
    def _find_first_check(self) -> float:
        spans = (
            self.first_byte,
            self.idle / CHECKS_PER_DEADLINE,
            self.stall / CHECKS_PER_DEADLINE,
            self.lifetime,
        )
        return min((span for span in spans if span), default=0.0)


@define(eq=False)
class AccessPolicy:
    """
    The limits that apply to the connections of a service.

    @ivar capacity: how many connections may be open.
    @ivar networks: the networks that are served.
    @ivar sources: quota and rate limit per source; C{None}: no limit.
    @ivar local_sources: the same for loopback.
    """

    capacity: Capacity = field(factory=lambda: Capacity(None))
    networks: Networks = field(factory=lambda: Networks(ANY, ()))
    sources: Sources | None = None
    local_sources: Sources | None = None
    deadlines: Deadlines = Deadlines()
    bans: Bans = NO_BANS

    def admit_connection(self, family: int, peer: Any) -> tuple[str | None, Slot | None]:
        """
        Decide whether a peer may connect.

        @return: the reason to reject it, or C{None}; and the slot to free at its end, if any.
        """
        if family == socket.AF_UNIX:
            return None, None
        address = packed(peer[0])
        if not self.bans.admits(address):
            return BANNED, None
        if not self.networks.admits(address):
            return NETWORK, None
        sources = self._sources_of(address)
        if sources is None:
            return None, None
        key = sources.key(address)
        reason = sources.enter(key)
        return reason, None if reason else Slot(sources, key)

    def readmit(self, address: bytes) -> Slot | None:
        """Take a slot for a connection that is already open, regardless of the limits."""
        sources = self._sources_of(address)
        if sources is None:
            return None
        key = sources.key(address)
        sources.readmit(key)
        return Slot(sources, key)

    def _sources_of(self, address: bytes) -> Sources | None:
        return self.local_sources if is_loopback(address) else self.sources


@frozen(eq=False)
class Slot:
    """One connection's slot in its source's quota."""

    _sources: Sources
    _key: bytes

    def leave(self) -> None:
        """Free the slot."""
        self._sources.leave(self._key)


def make_policy(
    options: AccessOptions,
    daemon: Capacity,
    clock: Any,
    handshake_timeout: float = 0.0,
    bans: Bans = NO_BANS,
) -> AccessPolicy:
    """
    Make the access policy of a service's stream listeners.

    @param daemon: the capacity that all services share.
    """
    per_source, rate = options.max_per_source, options.accept_rate
    return AccessPolicy(
        capacity=Capacity(options.max_connections, daemon),
        networks=Networks(ANY if options.allow is None else options.allow, options.deny),
        sources=_sources(per_source or MAX_PER_SOURCE, rate or ACCEPT_RATE, options, clock),
        local_sources=_sources(per_source, rate, options, clock),
        deadlines=Deadlines(
            options.first_byte_timeout,
            options.idle_timeout,
            options.stall_timeout,
            options.lifetime,
            handshake_timeout,
        ),
        bans=bans,
    )


def _sources(
    per_source: int | None, rate: float | None, options: AccessOptions, clock: Any
) -> Sources | None:
    if per_source is None and rate is None:
        return None
    burst, prefixes = options.accept_burst, options.source_prefix
    return Sources(per_source, rate, burst, prefixes, clock.seconds)


def make_guard(
    service: ServiceSettings,
    sock: socket.socket,
    clock: Any,
    own_ports: Callable[[], Collection[int]],
    local_addresses: Callable[[], LocalAddresses],
    bans: Bans = NO_BANS,
) -> Guard | None:
    """
    Make the guard of a datagram socket; a UNIX socket needs none.

    @param own_ports: returns the ports of all datagram listeners of the daemon.
    """
    if sock.family == socket.AF_UNIX:
        return None
    terms = service.policy, service.declared
    bound = sock.getsockname()[0]
    return Guard(*terms, clock.seconds, own_ports, local_addresses, bound, bans=bans)
