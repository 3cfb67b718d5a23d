"""The lines of a systemd unit that follow from the listeners: privileges, ports and networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from socketd.settings.listeners import Listener, is_local
from socketd.settings.model import ServiceSettings, Settings
from socketd.settings.networks import ANY, INTERNAL, Network, network_words

#: Lower ports need C{CAP_NET_BIND_SERVICE}, unless ip_unprivileged_port_start is changed.
LOW_PORTS = 1024

#: Limit on C{SocketBindAllow=} rules; with more, systemd ignores all of them.
MAX_RULES = 128


def privilege_lines(settings: Settings) -> Iterator[str]:
    """List the lines for capabilities, users and memory."""
    is_low = any(0 < listener.port < LOW_PORTS for listener in _bound(settings))
    capability = "CAP_NET_BIND_SERVICE" if is_low else ""
    yield f"AmbientCapabilities={capability}"
    yield f"CapabilityBoundingSet={capability}"
    if not is_low and settings.control is None:
        # A private user namespace removes the capabilities, and maps the uid of every
        # operator to the overflow uid.
        yield "PrivateUsers=yes"
    if not any(one.tls for service in settings.services for one in service.listeners):
        # The TLS library's callbacks use code generated at run time (cffi).
        yield "MemoryDenyWriteExecute=yes"


def network_lines(settings: Settings) -> Iterator[str]:
    """List the lines for address families, ports and networks."""
    listeners = _bound(settings)
    # sd_notify uses a UNIX socket; by netlink the local addresses are listed, for datagrams from
    # them are not answered.
    families = ["AF_UNIX", *sorted({listener.family.name for listener in listeners})]
    families += ["AF_NETLINK"] * any(not listener.is_stream for listener in listeners)
    yield f"RestrictAddressFamilies={' '.join(families)}"
    yield "SocketBindDeny=any"
    for rule in _rules(list(_ports(settings))):
        yield f"SocketBindAllow={rule}"
    if not listeners:
        yield "PrivateNetwork=yes"
    networks = _peers(settings)
    if networks is not None:
        yield "IPAddressDeny=any"
        for network in sorted(networks, key=lambda one: (one.version, one)):
            yield f"IPAddressAllow={network}"


def needs_addresses(settings: Settings) -> bool:
    """Whether a listener has an address that may exist only after the network is up."""
    addresses = map(_address_of, _bound(settings))
    return any(not one or not (one.is_loopback or one.is_unspecified) for one in addresses)


def _bound(settings: Settings) -> list[Listener]:
    """List the network listeners that the daemon binds itself."""
    listeners = [listener for service in settings.services for listener in service.listeners]
    if settings.http is not None:
        listeners.append(settings.http)
    return [one for one in listeners if _is_bound(one)]


def _is_bound(listener: Listener) -> bool:
    return not listener.is_inherited and not listener.path


def _address_of(listener: Listener) -> IPv4Address | IPv6Address | None:
    """Return its address; C{None} for a host name, which may need a DNS lookup."""
    try:
        return ip_address(listener.interface or "::")
    except ValueError:
        return None


def _rules(ports: Sequence[tuple[str, str]]) -> Iterable[str]:
    """
    Return the C{SocketBindAllow=} rules, such as C{ipv4:tcp:7}, of transports with a port, a
    range, or none where the kernel chooses it; without ports where there are more than
    L{MAX_RULES}.
    """
    exact = dict.fromkeys(f"{name}:{port}" if port else name for name, port in ports)
    if len(exact) > MAX_RULES:
        return dict.fromkeys(name for name, _ in ports)
    return exact


def _ports(settings: Settings) -> Iterator[tuple[str, str]]:
    """List the ports of the listeners, and the ranges that protocols open ports of."""
    for listener in _bound(settings):
        yield _transport(listener), str(listener.port or "")
    for service in settings.services:
        ports = service.declared.further_ports(service.options)
        for listener in filter(_is_bound, service.listeners):
            if ports and not listener.is_stream:
                yield _transport(listener), f"{ports[0]}-{ports[-1]}"


def _transport(listener: Listener) -> str:
    family = "ipv6" if listener.family.name == "AF_INET6" else "ipv4"
    return f"{family}:{'tcp' if listener.is_stream else 'udp'}"


def _peers(settings: Settings) -> set[Network] | None:
    """
    Return the networks of the C{IPAddressAllow=} rules; C{None} if none can be excluded. The
    daemon itself enforces C{deny}: in systemd, allow rules take precedence.
    """
    found: set[Network] = set()
    for service in settings.services:
        for listener in filter(_is_bound, service.listeners):
            found.update(_peers_of(service, listener))
    if settings.http is not None and not settings.http.path:
        found.update(network_words("loopback") if is_local(settings.http) else ANY)
    # The DNS servers that a host name needs may be anywhere.
    has_names = any(_address_of(listener) is None for listener in _bound(settings))
    return None if found & set(ANY) or has_names else found


def _peers_of(service: ServiceSettings, listener: Listener) -> Iterable[Network]:
    if is_local(listener):
        return network_words("loopback")
    if listener.proxied:
        # The TCP peer is the load balancer; allow lists networks of its clients.
        return service.policy.proxy_from
    if service.policy.allow is not None:
        return service.policy.allow
    return ANY if listener.is_stream else INTERNAL
