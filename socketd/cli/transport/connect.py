"""Connects a receiver to an address."""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import socket
import sys
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    clientFromString,
    connectProtocol,
)
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IResolutionReceiver, IStreamClientEndpoint
from zope.interface import implementer

from socketd.cli.common.address import ENDPOINT, Address
from socketd.cli.transport.datagram import DatagramTransport
from socketd.cli.transport.interface import Receiver
from socketd.cli.transport.stream import StreamTransport
from socketd.cli.transport.tls_options import tls_options
from socketd.common.errors import CommandError

if TYPE_CHECKING:
    from socketd.cli.transport.tls import ClientTls

#: Default connect timeout of a stream in seconds, as in Twisted's endpoints.
CONNECT_SECONDS = 30

RESOLVED_FAMILIES: dict[str, list[type]] = {
    "tcp6": [IPv6Address],
    "tls6": [IPv6Address],
    "udp": [IPv4Address, IPv6Address],
    "udp6": [IPv6Address],
}


def load_tls(arguments: argparse.Namespace) -> ClientTls | None:
    """Prepare TLS, if the arguments ask for it; the TLS modules are imported only then."""
    options = tls_options(arguments)
    if options is None:
        return None
    from socketd.cli.transport import tls

    return tls.load(options)


async def connect(
    reactor: Any,
    address: Address,
    receiver: Receiver,
    seconds: float = 0,
    tls: ClientTls | None = None,
) -> None:
    """
    Connect a receiver over a stream, TLS handshake included, or over datagrams.

    @param seconds: the timeout of a stream; 0 for L{CONNECT_SECONDS}.
    @param tls: adds TLS to a stream; an endpoint string of Twisted may bring its own.
    """
    transport: Any
    if address.is_datagram:
        connected = await _connected_socket(reactor, address)
        transport = DatagramTransport(reactor, connected, receiver)
    else:
        transport = StreamTransport(receiver)
        await _connect_stream(reactor, address, transport, seconds or CONNECT_SECONDS, tls)
    receiver.makeConnection(transport)


async def _connect_stream(
    reactor: Any, address: Address, stream: StreamTransport, seconds: float, tls: ClientTls | None
) -> None:
    def give_up(_: object, limit: float) -> None:
        what = "TLS handshake" if stream.is_connected else "connection"
        stream.abortConnection()
        raise CommandError(f"no {what} within {limit:g} s")

    endpoint = await _stream_endpoint(reactor, address)
    if tls is not None:
        endpoint = tls.wrap(endpoint)
    attempt = connectProtocol(endpoint, stream)
    attempt.addCallback(lambda _: stream.ready)
    attempt.addTimeout(seconds, reactor, give_up)
    try:
        await attempt
    except Exception as error:
        if tls is None:
            raise
        raise tls.explained(error, stream.is_connected) from error
    if tls is not None:
        tls.report(stream.transport)


async def _stream_endpoint(reactor: Any, address: Address) -> IStreamClientEndpoint:
    if address.scheme == ENDPOINT:
        return _described_endpoint(reactor, address.path)
    if address.scheme == "unix":
        return UNIXClientEndpoint(reactor, address.path)
    _interface_index(address)
    if isIPv6Address(address.host):
        return TCP6ClientEndpoint(reactor, address.host, address.port)
    if address.scheme in ("tcp6", "tls6"):
        return TCP6ClientEndpoint(reactor, await _resolve(reactor, address), address.port)
    if isIPAddress(address.host):
        return TCP4ClientEndpoint(reactor, address.host, address.port)
    return HostnameEndpoint(reactor, address.host, address.port)


def _described_endpoint(reactor: Any, description: str) -> IStreamClientEndpoint:
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, description)
        return endpoint
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        why = str(error) or type(error).__name__
        raise CommandError(f"Twisted takes no such client endpoint: {why}") from error


async def _connected_socket(reactor: Any, address: Address) -> socket.socket:
    """Create a datagram socket that is connected to one peer."""
    if address.scheme == "unixgram":
        return open_socket(socket.AF_UNIX, address.path, _reply_path())
    index = _interface_index(address)
    host = (await _resolve(reactor, address)).partition("%")[0]
    if isIPv6Address(host):
        return open_socket(socket.AF_INET6, (host, address.port, 0, index))
    return open_socket(socket.AF_INET, (host, address.port))


def open_socket(family: int, peer: Any, local: str | None = None) -> socket.socket:
    """Create a datagram socket, bind it if it has a local address, and connect it."""
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if local is not None:
            opened.bind(local)
        opened.connect(peer)
    except OSError:
        opened.close()
        raise
    return opened


def _reply_path() -> str:
    """
    Make a name to bind a UNIX datagram client to, which could get no reply without one. An
    abstract name needs no cleanup and no permission, and works with a server that has a private
    C{/tmp}.
    """
    if sys.platform != "linux":
        raise CommandError("unixgram needs the abstract socket names that only Linux has")
    return f"\0socketd-client-{secrets.token_hex(8)}"


def _interface_index(address: Address) -> int:
    """Find the index of an address's zone (RFC 4007, section 11.2); 0 if it needs none."""
    host, _, zone = address.host.partition("%")
    if not zone:
        if isIPv6Address(host) and ipaddress.IPv6Address(host).is_link_local:
            right = f"[{host}%eth0]:{address.port}"
            raise CommandError(f"a link-local address needs its interface, as in {right}")
        return 0
    try:
        if zone.isdigit():
            socket.if_indextoname(int(zone))
            return int(zone)
        return socket.if_nametoindex(zone)
    except (OSError, OverflowError):
        raise CommandError(f"no network interface {zone}") from None


async def _resolve(reactor: Any, address: Address) -> str:
    """
    Resolve a host, preferring IPv4 if both families are allowed: a UDP client cannot try addresses
    in turn, because an unreachable one may give no error.
    """
    families = RESOLVED_FAMILIES[address.scheme]
    if isIPAddress(address.host) and IPv4Address in families or isIPv6Address(address.host):
        return address.host
    resolution = Resolution()
    reactor.nameResolver.resolveHostName(resolution, address.host, address.port, families, "UDP")
    hosts = sorted(await resolution.hosts, key=isIPv6Address)
    if not hosts:
        raise DNSLookupError(address.host)
    return hosts[0]


@implementer(IResolutionReceiver)
class Resolution:
    """Collects the resolver's results; C{hosts} fires with the IP addresses in its order."""

    def __init__(self) -> None:
        self.hosts: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: object) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self._found.append(address.host)

    def resolutionComplete(self) -> None:
        if not self.hosts.called:
            self.hosts.callback(self._found)
