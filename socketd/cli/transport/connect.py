"""Connects a client transport to an address."""

from __future__ import annotations

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
from socketd.cli.transport.datagram import DatagramLink
from socketd.cli.transport.interface import IReceiver
from socketd.cli.transport.stream import StreamLink
from socketd.cli.transport.tls_options import TlsOptions
from socketd.common.errors import CommandError

if TYPE_CHECKING:
    from socketd.cli.transport.tls import Security

#: Default connect timeout of a stream in seconds, as in Twisted's endpoints.
CONNECT_SECONDS = 30

#: Maximum bytes of a datagram by the UDP length field; Twisted's default would truncate at 8192.
MAX_DATAGRAM = 65535

RESOLVED_FAMILIES: dict[str, list[type]] = {
    "tcp6": [IPv6Address],
    "tls6": [IPv6Address],
    "udp": [IPv4Address, IPv6Address],
    "udp6": [IPv6Address],
}


async def connect(
    reactor: Any, address: Address, talker: IReceiver, security: Security | None = None
) -> DatagramLink | StreamLink:
    """
    Connect a receiver over a stream or datagrams, as the address says.

    @param reactor: the reactor.
    @param address: the peer.
    @param talker: the receiver of data and connection events.
    @param security: adds TLS to a stream; C{None} for plain text.
    @return: the transport, connected.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    if address.is_datagram:
        datagrams = DatagramLink(talker)
        await open_datagrams(reactor, address, datagrams)
        return datagrams
    stream = StreamLink(talker)
    await connect_stream(reactor, address, stream, security=security)
    return stream


async def connect_stream(
    reactor: Any,
    address: Address,
    link: StreamLink,
    seconds: float = 0,
    security: Security | None = None,
) -> None:
    """
    Connect a stream, including the TLS handshake.

    @param reactor: the reactor.
    @param address: the peer.
    @param link: the transport to connect.
    @param seconds: the timeout; 0 for L{CONNECT_SECONDS}.
    @param security: adds TLS; C{None} for plain text, or for an endpoint string of Twisted, which
        may bring its own TLS.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    endpoint = await _stream_endpoint(reactor, address)
    if security is None:
        await _connect(reactor, endpoint, link, seconds)
        return
    try:
        await _connect(reactor, security.over(endpoint), link, seconds)
    except Exception as error:
        raise security.explained(error, link.is_connected) from error
    security.established(link.transport)


def secure(options: TlsOptions | None) -> Security | None:
    """
    Prepare TLS; the TLS modules are imported only here.

    @param options: the TLS options; C{None} for no TLS.
    @return: the C{security} argument of L{connect_stream}.
    @raise CommandError: when a file cannot be used.
    """
    if options is None:
        return None
    from socketd.cli.transport import tls

    return tls.secure(options)


async def open_datagrams(reactor: Any, address: Address, link: DatagramLink) -> None:
    """
    Open a datagram socket, connected to one peer.

    @param reactor: the reactor.
    @param address: the peer.
    @param link: the transport to connect.
    @raise Exception: any error that L{socketd.cli.transport.error_text.explain} describes.
    """
    if address.scheme == "unixgram":
        reactor.connectUNIXDatagram(
            address.path, link, maxPacketSize=MAX_DATAGRAM, bindAddress=_reply_path()
        )
        if link.failed is not None:
            raise link.failed
        return
    index = _interface_index(address)
    host = await _resolve(reactor, address)
    interface = "::" if isIPv6Address(host) else "0.0.0.0"
    port = reactor.listenUDP(0, link, interface=interface, maxPacketSize=MAX_DATAGRAM)
    bare = host.partition("%")[0]
    if index:
        # Twisted would connect without the interface index; the kernel keeps it from this
        # connect(2).
        port.getHandle().connect((bare, address.port, 0, index))
    port.connect(bare, address.port)


def _interface_index(address: Address) -> int:
    """
    Find the interface index of an address from its zone (RFC 4007, section 11.2).

    @param address: any address.
    @return: the interface index; 0 if the address has no zone and needs none.
    @raise CommandError: when there is no such interface, or a link-local address has no zone.
    """
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


async def _connect(
    reactor: Any, endpoint: IStreamClientEndpoint, link: StreamLink, seconds: float
) -> None:
    def give_up(_: object, limit: float) -> None:
        what = "TLS handshake" if link.is_connected else "connection"
        link.abandon()
        raise CommandError(f"no {what} within {limit:g} s")

    attempt = connectProtocol(endpoint, link)
    attempt.addCallback(lambda _: link.ready)
    attempt.addTimeout(seconds or CONNECT_SECONDS, reactor, give_up)
    await attempt


async def _stream_endpoint(reactor: Any, address: Address) -> IStreamClientEndpoint:
    if address.scheme == ENDPOINT:
        return _described_endpoint(reactor, address)
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


def _described_endpoint(reactor: Any, address: Address) -> IStreamClientEndpoint:
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, address.path)
        return endpoint
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        why = str(error) or type(error).__name__
        raise CommandError(f"Twisted takes no such client endpoint: {why}") from error


def _reply_path() -> str:
    """
    Make a name to bind a UNIX datagram client to; without one it could get no reply.

    @return: a name in the abstract namespace of Linux: it needs no cleanup and no directory
        permission, and works with a server that has a private C{/tmp}.
    @raise CommandError: on systems without abstract names.
    """
    if sys.platform != "linux":
        raise CommandError("unixgram needs the abstract socket names that only Linux has")
    return f"\0socketd-client-{secrets.token_hex(8)}"


async def _resolve(reactor: Any, address: Address) -> str:
    """
    Resolve a host, preferring IPv4 if both families are allowed: a UDP client cannot try addresses
    in turn, because an unreachable one may give no error.

    @param reactor: provides the resolver.
    @param address: the address whose host is resolved.
    @return: an IP address.
    @raise DNSLookupError: when the host has no address.
    """
    families = RESOLVED_FAMILIES[address.scheme]
    if isIPAddress(address.host) and IPv4Address in families or isIPv6Address(address.host):
        return address.host
    found: Deferred[list[str]] = Deferred()
    reactor.nameResolver.resolveHostName(
        Resolution(found), address.host, address.port, families, "UDP"
    )
    hosts = sorted(await found, key=isIPv6Address)
    if not hosts:
        raise DNSLookupError(address.host)
    return hosts[0]


@implementer(IResolutionReceiver)
class Resolution:
    """Collects the resolver's results."""

    def __init__(self, found: Deferred[list[str]]) -> None:
        """
        Start with no results.

        @param found: fires with the addresses, in the resolver's order, when resolution is
            complete.
        """
        self._found = found
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self._hosts.append(address.host)

    def resolutionComplete(self) -> None:
        if not self._found.called:
            self._found.callback(self._hosts)
