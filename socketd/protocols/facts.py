"""
What a service knows about a connection or a datagram, as C{whoami} and C{http} tell it.

The fields, in their order; what does not apply is C{None}:

  - C{service}: the name of the service;
  - C{transport}: C{tcp}, C{udp} or C{unix};
  - C{peer}: the client's address as seen here, or as the PROXY header named it;
  - C{local}: the address that the client reached: of a datagram its destination, also on a
    wildcard socket; behind a load balancer the one that the PROXY header named;
  - C{proxy}: the load balancer's own address, if its PROXY header named the client;
  - C{tls}: C{version}, C{cipher}, C{sni} (the server name asked for), C{alpn} (the protocol agreed
    on) and C{client} (the names in the client's certificate, its subject first);
  - C{host}: this machine's name;
  - C{time}: the time of day (ISO 8601, UTC);
  - C{connection}: the connection's id in logs and commands.

An address has C{address} and C{port}, or C{path} for a UNIX socket (C{@NAME} if it is abstract,
C{None} if it is unnamed).
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, INegotiated

from socketd.common.events import timestamp
from socketd.common.text import decoded
from socketd.protocols.spec import ProtocolContext

#: The most names of a client's certificate: usually it has one or two.
MAX_NAMES = 16

#: The most characters of a name; DNS names have 253.
MAX_NAME = 256


def connection_facts(
    transport: Any, context: ProtocolContext, hostname: bool = True
) -> dict[str, Any]:
    """Collect the facts about a connection, once it is made."""
    return _facts(
        context,
        hostname,
        transport.getPeer(),
        transport.getHost(),
        proxy=_address(getattr(transport, "proxy", None)),
        tls=_tls(transport) if INegotiated.providedBy(transport) else None,
        connection=getattr(transport, "connection_id", None),
    )


def datagram_facts(
    transport: Any, source: Any, context: ProtocolContext, hostname: bool = True
) -> dict[str, Any]:
    """Collect the facts about the datagram that is being received, from C{source}."""
    local = getattr(transport, "destination", None) or transport.getHost()
    peer: IAddress
    if isinstance(source, tuple):
        peer = type(local)("UDP", *source)
    else:
        peer = UNIXAddress(source)
    return _facts(context, hostname, peer, local)


def _facts(
    context: ProtocolContext,
    hostname: bool,
    peer: IAddress,
    local: IAddress,
    proxy: Any = None,
    tls: Any = None,
    connection: int | None = None,
) -> dict[str, Any]:
    return {
        "service": context.service,
        "transport": getattr(local, "type", "unix").lower(),
        "peer": _address(peer),
        "local": _address(local),
        "proxy": proxy,
        "tls": tls,
        "host": socket.gethostname() if hostname else None,
        "time": timestamp(context.wall_clock()),
        "connection": connection,
    }


def _address(address: IAddress | None) -> dict[str, Any] | None:
    if isinstance(address, IPv4Address | IPv6Address):
        return {"address": address.host, "port": address.port}
    if not isinstance(address, UNIXAddress):
        return None
    raw = None if address.name is None else os.fsencode(address.name)
    return {"path": raw and decoded(b"@" + raw[1:] if raw[:1] == b"\0" else raw)}


def _tls(transport: Any) -> dict[str, Any]:
    tls = transport.getHandle()
    sni, alpn = tls.get_servername(), transport.negotiatedProtocol
    names = transport.peer_names[:MAX_NAMES]
    return {
        "version": tls.get_protocol_version_name(),
        "cipher": tls.get_cipher_name(),
        "sni": decoded(sni) if sni else None,
        "alpn": decoded(alpn) if alpn else None,
        "client": [decoded(name.encode("utf-8", "surrogatepass"))[:MAX_NAME] for name in names],
    }
